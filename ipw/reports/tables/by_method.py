"""Runs that compare methods within themselves, as training does: in a table each method is a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.text import quantity
from ipw.runs.recorded import part_of

Summary = Mapping[str, Any]
ENDED_WELL = {"complete", "stopped"}
"""How a method that did what was asked ends; of a run that is told, of a method it is its status."""


def by_method(summaries: Sequence[Summary]) -> list[Summary]:
    """Put one summary for each method in the place of a run that has several; others stay as they are."""
    return [part for summary in summaries for part in (_parted(summary) or [summary])]


def _parted(summary: Summary) -> list[Summary]:
    found = Derived(summary)
    if len(found.by_method) < 2:
        return []
    return [
        {
            **summary,
            "metrics": part_of(entry, "metrics"),
            "workload": {**found.workload, "parameters": {**found.parameters, "method": name}},
            "status": summary.get("status") if entry.get("status") in ENDED_WELL else _plain(entry.get("status")),
            "by_method": {name: entry},
            "whole_run": found.metrics,
        }
        for name, entry in found.by_method.items()
    ]


def to_one_loss(methods: Mapping[str, Mapping[str, Any]]) -> tuple[float, list[tuple[str, Mapping[str, Any]]]] | None:
    """Give the loss that methods are compared at, and the joules of each down to it, the thriftiest first.

    `None` where fewer than two came down to one.
    """
    joules = {name: part_of(part_of(entry, "metrics"), "energy_to_target_loss_j") for name, entry in methods.items()}
    known = [(name, metric) for name, metric in joules.items() if number(metric.get("value"))]
    target = next((t for entry in methods.values() if (t := number(entry.get("target_loss"))) is not None), None)
    if len(known) < 2 or target is None:
        return None
    return target, sorted(known, key=lambda pair: number(pair[1].get("value")) or 0.0)


def _plain(status: object) -> str:
    return clean(status, 30).replace("_", " ")


def method_notes(rows: Sequence[tuple[str, Summary]]) -> Iterator[str]:
    """Say why a method did not end well, to which loss joules are told, and what the whole run drew."""
    for name, summary in rows:
        for entry in Derived(summary).by_method.values():
            if entry.get("reason"):
                yield f"{name}: {clean(entry['reason'])}"
    shown = [s for _, s in rows if len(Derived(s).by_method) == 1]
    targets = {number(e.get("target_loss")) for s in shown for e in Derived(s).by_method.values()} - {None}
    if len(targets) == 1:
        yield f"To loss: down to a training loss of {targets.pop():.3g}."
    wholes = {str(summary.get("run_id")): summary for _, summary in rows if "whole_run" in summary}
    for run_id, summary in wholes.items():
        metrics, mark = summary["whole_run"], " (estimated)" if Derived(summary).is_estimated else ""
        total, seconds = (quantity(part_of(metrics, name)) for name in ("energy_j", "duration_s"))
        of = f"The whole of {clean(run_id, 60)}" if len(wholes) > 1 else "The whole run"
        yield f"{of}, with what is in no step: {total}{mark} in {seconds}."
