"""What every `ipw run` does with a run that has ended: derive, tell, and choose the exit code."""

from __future__ import annotations

import json

import click

from ipw.errors import INTERRUPTED, INVALID, OK
from ipw.pipeline import finish
from ipw.rundir import PAGE, RunDir
from ipw.verbs.terminal import show


def conclude(run: RunDir, *, interrupted: bool, as_json: bool, strict: bool) -> int:
    """Derive and show. An interrupted run is derived too: what had finished is kept and counted."""
    summary = finish(run)
    if as_json:
        click.echo(json.dumps(summary | {"run": str(run.path)}))
    else:
        show([summary], run.path / PAGE)
    if interrupted:
        return INTERRUPTED
    return INVALID if strict and not summary["valid"] else OK
