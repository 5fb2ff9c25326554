"""`ipw calibrate`: the same configuration against itself, to see how noisy this runner is."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from ipw.errors import OK, InvalidMeasurementError
from ipw.gate.calibration import Job, levels, read_jobs, runner, write_jobs
from ipw.gate.comparable import check_session, invalid
from ipw.gate.interleave import Arms, measure, plan
from ipw.gate.judging import log_ratios
from ipw.gate.noise import Noise, smallest_effect
from ipw.gate.observed import Observed
from ipw.gate.policy import ACCURACY
from ipw.gate.settle import Settle
from ipw.gate.verdict import GateError
from ipw.reports.text import MISSING
from ipw.studies.runfile import Commands, load, with_sensors
from ipw.verbs.common.lazy import WORKLOADS
from ipw.verbs.common.options import CALIBRATION, JSON, ONE_SENSORS, PAIRS, SETTLE, STARTS, TOML
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.terminal import output, say

LEFT_OUT = {ACCURACY, "errors", "queries"}
"""Counts and scores: judged question by question, or not at all."""


def calibrate(
    commands: Commands,
    *,
    base: Path,
    pairs: int,
    starts: int,
    settle_s: float,
    calibration: Path,
    sensors: str | None,
    out: Path,
    as_json: bool,
) -> int:
    """Measure A/A pairs, add them to the file as one job, and tell the smallest change that a gate could see."""
    cell = with_sensors(load(base, commands), sensors)
    stored = read_jobs(calibration)
    observed: list[Observed] = []
    with Settle(str(cell.options["sensors"]), settle_s) as settle:
        arms: Arms = {"base": cell, "candidate": cell}
        with closing(
            measure(arms, plan(pairs, starts), out / "runs", before_each=settle, audience=TERMINAL)
        ) as measured:
            for pair in measured:
                observed += pair
                if not as_json:
                    say(f"pair {len(observed) // 2} of {pairs}", err=True)
    if faults := invalid(check_session(observed)):
        raise InvalidMeasurementError(
            f"the runs cannot be compared: {faults[0]['check']}: {faults[0]['detail']}", "nothing was calibrated"
        )
    job = _job(cell.workload, observed)
    write_jobs(calibration, [*stored, job])
    alike = [
        each for each in [*stored, job] if all(each.get(key) == job[key] for key in ("runner", "workload", "basis"))
    ]
    table = [_row(name, found, pairs, starts) for name, found in levels(alike).items()]
    if as_json:
        answer = {"calibration": str(calibration), "jobs": len(alike), "basis": job["basis"], "metrics": table}
        click.echo(json.dumps(answer))
    else:
        _tell(table, pairs, len(alike))
        output().print(f"written to {calibration}", markup=False, soft_wrap=True)
    return OK


def _job(workload: str, observed: Sequence[Observed]) -> Job:
    metrics: dict[str, Any] = {}
    for name in observed[0].summary["metrics"]:
        ratios = None if name in LEFT_OUT else log_ratios(observed, name)
        if ratios:
            # Where every measurement is a process of its own, a start cannot be told from a repetition.
            starts = ratios[1] if len(set(ratios[1])) < len(ratios[1]) else [0] * len(ratios[1])
            metrics[name] = {"log_ratio": ratios[0], "start": starts}
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "runner": runner(),
        "workload": workload,
        "basis": observed[0].manifest.get("basis"),
        "metrics": metrics,
    }


def _row(name: str, found: Noise, pairs: int, starts: int) -> dict[str, Any]:
    try:
        least = smallest_effect(found, pairs=pairs, starts=min(starts, pairs))
    except GateError:
        least = None
    return {
        "metric": name,
        "repetition_sd": found.repetition_sd,
        "start_sd": found.start_sd,
        "start_sd_high": found.start_sd_high,
        "job_sd": found.job_sd,
        "smallest_effect": least,
    }


def _tell(table: Sequence[dict[str, Any]], pairs: int, jobs: int) -> None:
    def percent(value: float | None) -> str:
        return MISSING if value is None else f"{100 * value:.2f} %"

    columns = ("repetition_sd", "start_sd", "job_sd", "smallest_effect")
    width = max((len(row["metric"]) for row in table), default=0)
    out = output()
    head = f"{'':{width}}  repetition     start       job  smallest change seen by {pairs} pairs"
    out.print(head, markup=False, soft_wrap=True)
    for row in table:
        cells = "  ".join(f"{percent(row[column]):>9}" for column in columns)
        out.print(f"{row['metric']:{width}}  {cells}", markup=False, soft_wrap=True)
    if jobs < 3:
        out.print(
            f"noise from job to job shows from the third job on; this is job {jobs}", markup=False, soft_wrap=True
        )


@click.command("calibrate")
@click.option("--base", required=True, type=TOML, help="Run file that is measured against itself.")
@PAIRS
@STARTS
@SETTLE
@CALIBRATION
@ONE_SENSORS
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("gate"), show_default=True, help="Folder for the runs."
)
@JSON
def command(**options: Any) -> int:
    """How noisy this runner is, and the smallest change that a gate could see on it."""
    return calibrate(WORKLOADS, **options)
