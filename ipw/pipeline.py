"""From raw to report: what every verb does once a workload has ended, and what `--recompute` does again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.processes import environment, python
from ipw.registry import load, workload
from ipw.runs.directory import PAGE, RunDir
from ipw.runs.owner import Owner

Metrics = dict[str, dict[str, Any]]


def derive(run: RunDir) -> dict[str, Any]:
    """Make tables and summary from the raw files of `run`, write them, and return the summary.

    Raises UsageError for a run that another tool measured, BusyError for one that another process works on.
    """
    from ipw.metrics.summary import summarize
    from ipw.metrics.validity.record import with_record
    from ipw.runs.checks.survey import survey_derived, tail_bytes
    from ipw.runs.sweep import sweep_parts

    if "imported" in run.manifest():
        raise UsageError(f"{run} was imported: it holds no raw data to derive from", f"ipw report {run}")
    with Owner(run.path, "derived"), run.keeping():
        before = run.manifest()
        sweep_parts(run.path)
        cut_bytes = tail_bytes(run)
        metrics, by_method = _derive_tables(run)
        summary = summarize(run)
        summary["metrics"] |= metrics
        if by_method:
            summary["by_method"] = by_method
        run.pack_readings()
        summary = with_record(summary, run, survey_derived(run, cut_bytes), before)
        run.write_summary(summary)
    return summary


def finish(run: RunDir) -> dict[str, Any]:
    """Derive everything and write the run's own page."""
    from ipw.reports.page.page import write_page

    summary = derive(run)
    write_page([run], run.path / PAGE)
    return summary


def finish_apart(run: RunDir) -> bool:
    """Do what `finish` does in a process of its own, whose memory and threads are not this one's; whether it could."""
    command = python("ipw.pipeline", str(run.path))
    return subprocess.run(command, env=environment(secrets=False), check=False).returncode == 0


def _derive_tables(run: RunDir) -> tuple[Metrics, dict[str, Any]]:
    """Write the workload's own tables; returns the metrics that only it has, of the whole and by method."""
    kind = run.manifest().get("workload", {}).get("kind")
    known = workload(kind)
    if known is None:
        raise UsageError(f"{run} holds a workload of unknown kind {kind!r}", "pip install -U ipw")
    found = load(known.derive)(run) or {}
    return found.get("metrics", {}), found.get("by_method", {})


if __name__ == "__main__":
    finish(RunDir(Path(sys.argv[1])))
