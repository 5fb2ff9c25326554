"""A run that another tool measured: the manifest and the summary that let it stand beside our own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipw.errors import UsageError
from ipw.metrics.accounting import MOST_FAILED_PERCENT
from ipw.metrics.definitions import COUNTS, QUANTILES, RATES, RATIOS, WINDOW, Definition
from ipw.metrics.metric import IMPORTED, Metric, metric
from ipw.metrics.metric import number as finite
from ipw.metrics.validity.check import Check, made
from ipw.printable import clean
from ipw.runs.schema import SCHEMA_VERSION

OF_MODELS = (*RATIOS, *WINDOW, *RATES, *QUANTILES, *COUNTS)
"""What the summary of a language model's run lists; of any other, WINDOW."""
ESTIMATE, AS_TOLD = "model_estimate", "imported"


@dataclass(frozen=True, slots=True)
class Imported:
    """One run as its tool tells it."""

    source: str
    version: str | None
    kind: str
    """Of the workload: `lm` or `command`."""
    name: str
    metrics: dict[str, Metric]
    caveat: str
    """What these figures cannot tell, or tell otherwise than ours."""
    method: str = AS_TOLD
    """Of its joules: AS_TOLD or ESTIMATE."""
    started: str | None = None
    model: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    """The tool's own fields, as they were."""
    tokens: tuple[float | None, float | None] = (None, None)
    """Of all prompts and of all answers."""
    asked: int | None = None
    """Questions or requests, where it counts them."""
    failed: int | None = None
    failed_because: str | None = None
    stopped: str | None = None
    """Why it ended before its end."""
    basis: str | None = None
    """Whose joules these are, where they come from a run of ours."""
    checks: tuple[Check, ...] = ()
    """What else is to be said of it."""

    @property
    def its_basis(self) -> str:
        """What a group of such runs is called by."""
        return IMPORTED + self.source + (f", joules of {self.basis}" if self.basis else "")

    @property
    def valid(self) -> bool:
        """Whether it can be believed as far as it tells."""
        return all(check["ok"] or check["level"] != "error" for check in self.all_checks())

    def all_checks(self) -> list[Check]:
        """All that is to be said of it."""
        detail = f"from {' '.join(filter(None, (self.source, self.version)))}; {self.caveat}"
        found = [made("imported", ok=True, detail=detail), *self.checks]
        if self.failed:
            because = f": {clean(self.failed_because, 200)}" if self.failed_because else ""
            many = self.asked is None or 100 * self.failed > MOST_FAILED_PERCENT * self.asked
            text = f"{self.failed}{'' if self.asked is None else f' of {self.asked}'} failed{because}"
            found.insert(0, made("questions", ok=False, detail=text, level="error" if many else "warning"))
        if self.stopped:
            found.insert(
                0, made("whole", ok=False, detail=f"it is not whole: {clean(self.stopped, 200)}", level="error")
            )
        return found


def metrics_of(
    definitions: Iterable[Definition],
    values: Mapping[str, float | None],
    why: Callable[[Definition], str],
    *,
    n: int | None = None,
    method: str = AS_TOLD,
) -> dict[str, Metric]:
    """Make an entry for each definition: what was told, without an interval, or why it is absent."""
    found = {}
    for definition in definitions:
        value = values.get(definition.name)
        if value is not None and not math.isfinite(value):
            raise UsageError(f"{definition.name} is beyond all numbers", "was the file copied whole?")
        made = method if definition.is_energy else AS_TOLD
        reason = why(definition) if value is None else None
        found[definition.name] = metric(definition, value, n=n, method=made, reason=reason)
    return found


def manifest_of(run: Imported, run_id: str, file: str) -> dict[str, Any]:
    """Make the manifest of an imported run; it has no sensors of ours."""
    return {
        "run_id": run_id,
        "status": "imported",
        "imported": {"from": run.source, "file": file, "version": run.version, "caveat": run.caveat, "told": run.told},
        "workload": {"kind": run.kind, "parameters": dict(run.parameters)},
        "model": run.model,
        "basis": run.its_basis,
        "method": run.method,
        "sensors": [],
        "host": dict(run.host),
        "software": {run.source: run.version},
        "started": run.started,
    }


def summary_of(run: Imported, run_id: str) -> dict[str, Any]:
    """Make the summary of an imported run."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "workload": {"kind": run.kind, "parameters": dict(run.parameters)},
        "model": run.model,
        "basis": run.its_basis,
        "method": run.method,
        "devices": [],
        "valid": run.valid,
        "validity": run.all_checks(),
        "metrics": run.metrics,
        "by_subject": {},
    }


LARGEST = 1e100
"""Of what is told; sums and changes of unit stay far from the largest double."""


def amount(x: object, what: str) -> float | None:
    """Read a number from 0 on; `None` where nothing is said. Raises UsageError, which begins with `what`."""
    if x is None or x == "":
        return None
    try:
        value = float(x) if isinstance(x, str) else finite(x)
    except ValueError:
        value = None
    if value is None or not math.isfinite(value) or value < 0:
        raise UsageError(f"{what} is {str(x)[:40]!r}, not a number from 0 on", "was the file copied whole?")
    if value > LARGEST:
        raise UsageError(f"{what} is {str(x)[:40]!r}, more than anything can be", "was the file copied whole?")
    return value


def word(x: object) -> str | None:
    """`x` if it is a text that says something."""
    return x if isinstance(x, str) and x.strip() else None
