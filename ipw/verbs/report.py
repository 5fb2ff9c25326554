"""`ipw report RUN…`: the table in the terminal and the page on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from ipw.errors import INVALID, OK
from ipw.pipeline import derive
from ipw.rundir import PAGE, RunDir


def report(*, runs: Sequence[Path], recompute: bool, page: Path | None, as_json: bool, strict: bool) -> int:
    """Show stored runs, deriving what was never derived (or everything, with `recompute`)."""
    opened = [RunDir.open(path) for path in runs]
    summaries = [derive(run) if recompute or (stored := run.summary()) is None else stored for run in opened]
    target = page or (opened[0].path / PAGE if len(opened) == 1 else Path("comparison.html"))
    from ipw.reports.page import write_page

    write_page(opened, target)
    if as_json:
        click.echo(json.dumps(summaries[0] if len(summaries) == 1 else summaries))
    else:
        from ipw.verbs.terminal import show

        show(summaries, target)
    return INVALID if strict and not all(summary["valid"] for summary in summaries) else OK
