"""From raw to report: what every verb does once a workload has ended, and what `--recompute` does again."""

from __future__ import annotations

from typing import Any

from ipw.errors import UsageError
from ipw.rundir import PAGE, RunDir


def derive(run: RunDir) -> dict[str, Any]:
    """Make tables and summary from the raw files of `run`, write them, and return the summary."""
    kind = run.manifest().get("workload", {}).get("kind")
    if kind == "lm":
        from ipw.workloads.lm.derive import derive_lm as derive_tables
    elif kind == "command":
        from ipw.workloads.derive import derive_window as derive_tables
    else:
        raise UsageError(f"{run.path} holds a workload of unknown kind {kind!r}", "pip install -U ipw")
    derive_tables(run)
    from ipw.reports.metrics import summarize

    summary = summarize(run)
    run.write_summary(summary)
    run.pack_readings()
    return summary


def finish(run: RunDir) -> dict[str, Any]:
    """Derive everything and write the run's own page."""
    summary = derive(run)
    from ipw.reports.page import write_page

    write_page([run], run.path / PAGE)
    return summary
