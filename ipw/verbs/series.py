"""Several runs of one model: a sweep over the requests in flight, repetitions, or both."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from ipw.errors import INTERRUPTED, INVALID, OK, IpwError, UsageError
from ipw.pipeline import finish
from ipw.runs.directory import RunDir
from ipw.runs.outages import outage_error
from ipw.verbs.terminal import console, show
from ipw.workloads.lm.parameters import Parameters


class Member(NamedTuple):
    """One run of a series."""

    parameters: Parameters
    series: dict[str, Any]
    """For the manifest: what the runs of one series have in common, and this one's place."""


class Series(NamedTuple):
    """What came of a series."""

    runs: list[RunDir]
    planned: int
    """How many runs it was to have."""
    interrupted: bool = False
    stopped: IpwError | None = None
    """Why the run behind the last one did not begin."""

    def error(self) -> IpwError | None:
        """Say which runs lost their server, and what was not begun; `None` where all went well."""
        lost: dict[int, IpwError] = {
            number: error for number, run in enumerate(self.runs, 1) if (error := outage_error(run))
        }
        if self.stopped:
            lost[len(self.runs) + 1] = self.stopped
        if not lost:
            return None
        told = [f"run {number} of {self.planned}: {error.message}" for number, error in lost.items()]
        left = self.planned - max(len(self.runs), *lost)
        told += [f"{left} more {'runs were' if left > 1 else 'run was'} not begun"] if left else []
        return IpwError("; ".join(told), "; ".join(dict.fromkeys(e.hint for e in lost.values() if e.hint)) or None)


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


def begun_with(runs: Sequence[RunDir]) -> dict[str, Any]:
    """Say what the first run of a series measured, for the manifests of those that follow."""
    if not runs:
        return {}
    manifest = runs[0].manifest()
    return {"channels": [c["name"] for c in manifest.get("sensors", []) if c.get("in_total")]}


def conclude_series(measured: Series, out: Path, *, as_json: bool, strict: bool) -> int:
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
    if measured.interrupted:
        return INTERRUPTED
    if error and as_json:
        return error.exit_code
    if error:
        raise error
    return INVALID if strict and not all(summary["valid"] for summary in summaries) else OK
