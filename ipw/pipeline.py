"""From raw to report: what every verb does once a workload has ended, and what `--recompute` does again."""

from __future__ import annotations

from typing import Any

from ipw.errors import UsageError
from ipw.rundir import PAGE, RunDir

Metrics = dict[str, dict[str, Any]]


def derive(run: RunDir) -> dict[str, Any]:
    """Make tables and summary from the raw files of `run`, write them, and return the summary."""
    from ipw.reports.metrics import summarize

    metrics = _derive_tables(run)
    summary = summarize(run)
    summary["metrics"] |= metrics
    run.write_summary(summary)
    run.pack_readings()
    return summary


def finish(run: RunDir) -> dict[str, Any]:
    """Derive everything and write the run's own page."""
    from ipw.reports.page import write_page

    summary = derive(run)
    write_page([run], run.path / PAGE)
    return summary


def _derive_tables(run: RunDir) -> Metrics:
    """Write the workload's own tables; returns the metrics that only this workload has."""
    kind = run.manifest().get("workload", {}).get("kind")
    if kind == "lm":
        from ipw.workloads.lm.derive import derive_lm

        derive_lm(run)
        return {}
    if kind == "command":
        from ipw.workloads.derive import derive_window

        derive_window(run)
        return {}
    if kind == "routing":
        from ipw.workloads.routing.derive import derive_routing

        return derive_routing(run)
    raise UsageError(f"{run.path} holds a workload of unknown kind {kind!r}", "pip install -U ipw")
