"""Several runs of one model: a sweep over the requests in flight, repetitions, or both."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ipw.errors import IpwError, UsageError
from ipw.runs.directory import RunDir
from ipw.runs.resume.outages import outage_error
from ipw.workloads.base import NOBODY, Audience
from ipw.workloads.lm.measure import measure_served, tell
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.plan import plan
from ipw.workloads.lm.servers.engines import serve
from ipw.workloads.series import Series


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


def measure_series(
    parameters: Parameters,
    levels: Sequence[int],
    repeat: int,
    sensors: str,
    idle_s: float,
    out: Path,
    *,
    restart: bool,
    audience: Audience = NOBODY,
    label: str | None = None,
) -> Series:
    """Measure several runs of one model, on one server or, with `restart`, on a fresh one each.

    A lost server ends the series, unless the next run has one of its own. Raises IpwError where no run was measured.
    """
    found = members(parameters, levels, repeat)
    planned = plan(parameters)
    widest = max((member.parameters for member in found), key=lambda one: one.slots)
    runs: list[RunDir] = []
    try:
        while len(runs) < len(found):
            with serve(widest) as endpoint:
                if not runs:
                    tell(planned, audience)
                for member in found[len(runs) : len(runs) + 1] if restart else found:
                    mine = planned._replace(parameters=member.parameters)
                    series = member.series | begun_with(runs)
                    run, interrupted = measure_served(endpoint, mine, sensors, idle_s, out, series, audience, label)
                    runs.append(run)
                    if interrupted or (outage_error(run) and not restart):
                        return Series(runs, len(found), interrupted=interrupted)
    except IpwError as error:
        if not runs:
            raise
        return Series(runs, len(found), stopped=error)
    return Series(runs, len(found))


def begun_with(runs: Sequence[RunDir]) -> dict[str, Any]:
    """Say what the first run of a series measured, for the manifests of those that follow."""
    if not runs:
        return {}
    manifest = runs[0].manifest()
    return {"channels": [c["name"] for c in manifest.get("sensors", []) if c.get("in_total")]}
