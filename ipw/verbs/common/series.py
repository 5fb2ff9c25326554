"""What is done with the runs of a series that has ended: derive, tell, and choose the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ipw.errors import INTERRUPTED, INVALID, OK
from ipw.pipeline import finish
from ipw.verbs.common.terminal import console, show
from ipw.verbs.common.traces import trace
from ipw.workloads.series import Series


def conclude_series(measured: Series, out: Path, *, as_json: bool, strict: bool, otlp: str | None = None) -> int:
    """Derive all, write the page on which they stand side by side, tell, and choose the exit code.

    Raises IpwError when it has shown a series of which a server was lost.
    """
    from ipw.reports.page.page import write_page
    from ipw.reports.page.repeats import apart

    runs = measured.runs
    summaries = [finish(run) for run in runs]
    warnings, error = apart(summaries), measured.error()
    page = out / f"{runs[0].path.name}-series.html"
    write_page(runs, page)
    if as_json:
        told = {"page": str(page), "runs": [str(run) for run in runs], "summaries": summaries, "warnings": warnings}
        click.echo(json.dumps(told | (error.as_dict() if error else {})))
    else:
        show(summaries, page, runs)
        for warning in warnings:
            console().print(f"mind: {warning}", markup=False, soft_wrap=True)
    trace(runs, otlp)
    if measured.interrupted:
        return INTERRUPTED
    if error and as_json:
        return error.exit_code
    if error:
        raise error
    return INVALID if strict and not all(summary["valid"] for summary in summaries) else OK
