"""By what people look for a run on an index: its model, hardware, basis, load and data set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.names import model_name
from ipw.reports.text import MISSING
from ipw.runs.readings import is_estimate
from ipw.runs.recorded import part_of

Summary = Mapping[str, Any]
UUID = re.compile(r"\s*\b(GPU|MIG)-[\w-]+$")
LONGEST = 80


def facets(summary: Summary) -> dict[str, str]:
    """Each facet of a run as text; MISSING where it has none."""
    run = Derived(summary)
    return {
        "model": model_name(summary),
        "hardware": hardware(summary),
        "basis": clean(run.basis or MISSING, LONGEST),
        "load": load(summary),
        "data set": clean(run.parameters.get("dataset") or run.kind or MISSING, LONGEST),
    }


def questions(summary: Summary) -> str:
    """Say how many questions a run's accuracy is of."""
    n = number(Derived(summary).metric("accuracy").get("n")) or number(Derived(summary).metric("queries").get("value"))
    return MISSING if n is None else f"{n:,.0f} questions"


def hardware(summary: Summary) -> str:
    """Name what drew the joules, each device once with its number; where that is an estimate, the processor."""
    devices = summary.get("devices")
    named = [str(each).partition(": ")[2] or str(each) for each in devices] if isinstance(devices, list) else []
    counts = Counter(UUID.sub("", name).strip() for name in named)
    counts.pop("", None)
    cpu, gpu = (part_of(summary, "host").get(name) for name in ("cpu", "gpu"))
    if is_estimate(summary.get("method")) or not counts:
        return clean(gpu or cpu or MISSING, LONGEST)
    return clean(
        " + ".join(f"{n} \N{MULTIPLICATION SIGN} {name}" if n > 1 else name for name, n in counts.items()), LONGEST
    )


def load(summary: Summary) -> str:
    """Say how many requests are in flight, or how many come a second."""
    parameters = Derived(summary).parameters
    rate, in_flight = number(parameters.get("rate")), number(parameters.get("concurrency"))
    if rate:
        return f"{rate:g} a second"
    if in_flight is None and "concurrency" in parameters:
        in_flight = 1.0  # one after another, where nothing else was asked for
    return MISSING if in_flight is None else f"{in_flight:g} in flight"
