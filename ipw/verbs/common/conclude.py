"""What every `ipw run` does with a run that has ended: derive, tell, and choose the exit code."""

from __future__ import annotations

import json
from typing import Any

import click

from ipw.errors import INTERRUPTED, INVALID, OK, IpwError
from ipw.pipeline import finish, finish_apart
from ipw.runs.directory import PAGE, RunDir
from ipw.runs.journal_lines import JOURNAL
from ipw.runs.resume.outages import outage_error
from ipw.verbs.common.terminal import show
from ipw.verbs.common.traces import trace

LARGE = 64 << 20
"""Bytes of a journal from which on it is derived in a process of its own: the client that asked stays small."""


def conclude(run: RunDir, *, interrupted: bool, as_json: bool, strict: bool, otlp: str | None = None) -> int:
    """Derive and show, and send it to a collector of traces where an address of one is given.

    A run that was cut short is derived too: what had finished is kept and counted.
    Raises OutageError when it has shown a run whose server was lost.
    """
    summary = _finished(run)
    error = outage_error(run)
    if as_json:
        click.echo(json.dumps(summary | {"run": str(run)} | (error.as_dict() if error else {})))
    else:
        show([summary], run.path / PAGE, [run])
    trace([run], otlp)
    if interrupted:
        return INTERRUPTED
    if error and as_json:
        return error.exit_code
    if error:
        raise error
    return INVALID if strict and not summary["valid"] else OK


def _finished(run: RunDir) -> dict[str, Any]:
    journal = run.path / JOURNAL
    if not journal.is_file() or journal.stat().st_size < LARGE:
        return finish(run)
    summary = run.summary() if finish_apart(run) else None
    if summary is not None:
        return summary
    raise IpwError(f"{run} could not be derived", f"ipw report {run} --recompute")
