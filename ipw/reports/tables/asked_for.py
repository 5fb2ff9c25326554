"""What was asked for beside the usual figures, in a line below the table: perplexity (--logprobs), goodput (--slo)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipw.metrics.definitions import DEFINITIONS, PERPLEXITY
from ipw.metrics.derived import Derived
from ipw.reports.text import quantity
from ipw.runs.readings import is_estimate
from ipw.runs.recorded import part_of

GOODPUT = ("goodput_per_s",)


def asked_for(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield each of these figures with its interval, or with the reason why it is absent."""
    workload, metrics = Derived(summary).workload, Derived(summary).metrics
    names = tuple(d.name for d in PERPLEXITY) if part_of(workload, "parameters").get("logprobs") is True else ()
    estimated = is_estimate(summary.get("method"))
    for name in names + (GOODPUT if workload.get("slo") else ()):
        metric = metrics.get(name, {})
        if metric:
            mark = ", estimated" if estimated and DEFINITIONS[name].is_energy else ""
            yield f"{DEFINITIONS[name].label}{mark}: {_value(name, metric)}"


def _value(name: str, metric: Mapping[str, Any]) -> str:
    if name != "perplexity" or metric.get("value") is None:
        return quantity(metric)
    low, high = metric.get("low"), metric.get("high")
    interval = "" if low is None or high is None else f" [{low:.4g}, {high:.4g}]"
    return f"{metric['value']:.4g}{interval}"  # of a number without a unit, `quantity` would make percent
