"""Several runs of one model: a sweep over the requests in flight, repetitions, or both."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from ipw.errors import INTERRUPTED, INVALID, OK, UsageError
from ipw.pipeline import finish
from ipw.runs.directory import RunDir
from ipw.verbs.terminal import console, show
from ipw.workloads.lm.parameters import Parameters


class Member(NamedTuple):
    """One run of a series."""

    parameters: Parameters
    series: dict[str, Any]
    """For the manifest: what the runs of one series have in common, and this one's place."""


def members(parameters: Parameters, levels: Sequence[int], repeat: int) -> list[Member]:
    """List the runs: every level once, then every level again, so that a slow drift falls on all of them alike.

    Raises UsageError for a sweep of an open loop.
    """
    if levels and parameters.rate is not None:
        raise UsageError("a sweep is over the requests in flight, which an open loop leaves free", "leave --rate out")
    common = {"id": secrets.token_hex(4), "levels": list(levels), "repeat": repeat}
    return [
        Member(
            replace(parameters, concurrency=level, repetition=parameters.repetition + repetition),
            common | {"repetition": repetition},
        )
        for repetition in range(repeat)
        for level in levels or (parameters.concurrency,)
    ]


def conclude_series(runs: Sequence[RunDir], out: Path, *, interrupted: bool, as_json: bool, strict: bool) -> int:
    """Derive all, write the page on which they stand side by side, tell, and choose the exit code."""
    from ipw.reports.page import write_page
    from ipw.reports.repeats import apart

    summaries = [finish(run) for run in runs]
    warnings = apart(summaries)
    page = out / f"{runs[0].path.name}-series.html"
    write_page(runs, page)
    if as_json:
        told = {"page": str(page), "runs": [str(run) for run in runs], "summaries": summaries, "warnings": warnings}
        click.echo(json.dumps(told))
    else:
        show(summaries, page, [run.path for run in runs])
        for warning in warnings:
            console().print(f"mind: {warning}", markup=False, soft_wrap=True)
    if interrupted:
        return INTERRUPTED
    return INVALID if strict and not all(summary["valid"] for summary in summaries) else OK
