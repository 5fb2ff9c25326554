"""`ipw ab`: two configurations in interleaved pairs in one job, judged against a gate."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ipw.errors import OK, IpwError, UsageError
from ipw.foreign_toml import read_toml
from ipw.gate.calibration import calibrated
from ipw.gate.document import Document, gate_document
from ipw.gate.interleave import Arms
from ipw.gate.policy import read_policy
from ipw.gate.session import Session, measure_and_judge
from ipw.gate.settle import Settle
from ipw.gate.text import terminal
from ipw.secrets_out import blotted, without_secrets
from ipw.studies.runfile import Commands, load, with_sensors
from ipw.verbs.common.gate_files import write_files
from ipw.verbs.common.lazy import WORKLOADS
from ipw.verbs.common.numbers import FloatRange
from ipw.verbs.common.options import CALIBRATION, JSON, ONE_SENSORS, PAIRS, SETTLE, STARTS, TOML
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.terminal import output, say


def ab(
    commands: Commands,
    *,
    base: Path,
    candidate: Path,
    gate: Path,
    pairs: int,
    starts: int,
    budget_s: float | None,
    seed: int | None,
    settle_s: float,
    calibration: Path,
    sensors: str | None,
    out: Path,
    shadow: bool,
    as_json: bool,
) -> int:
    """Measure, judge, write, tell; returns the exit code of the verdict."""
    cells = {"base": load(base, commands), "candidate": load(candidate, commands)}
    arms: Arms = {"base": with_sensors(cells["base"], sensors), "candidate": with_sensors(cells["candidate"], sensors)}
    if arms["base"].workload != arms["candidate"].workload:
        raise UsageError(
            f"{base} is a run of {arms['base'].workload}, {candidate} of {arms['candidate'].workload}",
            "compare runs of one workload",
        )
    policy = read_policy(read_toml(gate), str(gate), arms["base"].workload)
    known = calibrated(calibration, arms["base"].workload)
    known.refuse_margins(policy, pairs=pairs, starts=starts)
    say = _silent if as_json else _say
    session = Session(arms, policy, out / "runs", known, budget_s, say, TERMINAL)
    notes = list(known.notes)
    facts = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "alpha": policy.alpha,
        "shadow": shadow,
        "order": "ABBA" if seed is None else "random",
        "seed": seed,
        "calibration": known.facts,
        "arms": blotted({arm: asdict(cell) for arm, cell in arms.items()}),
        "notes": notes,
    }

    def document(error: str | None = None) -> Document:
        case = f"{arms['candidate'].name} against {arms['base'].name}"
        told = facts | {"stages": session.stages}
        return gate_document(
            session.observed, policy.rules, session.checks, session.decision, case=case, facts=told, error=error
        )

    try:
        with Settle(str(arms["base"].options["sensors"]), settle_s) as settle:
            measure_and_judge(session, pairs, starts, seed, settle)
            notes += _missed(settle.missed)
    except UsageError:
        raise
    except IpwError as error:
        session.decision = None
        write_files(document(error.message), out)
        raise
    except Exception as error:  # Python would exit with 1, and a defect must not pass for a regression
        session.decision = None
        write_files(document(without_secrets(f"{type(error).__name__}: {error}")), out)
        _say(without_secrets(traceback.format_exc()))
        raise IpwError(f"a defect ended the gate: {type(error).__name__}: {error}", "please report it") from error
    found = document()
    write_files(found, out)
    if as_json:
        click.echo(json.dumps(found | {"out": str(out)}))
    else:
        shown = output()
        for line in [*terminal(found, shown.width), f"written to {out}"]:
            shown.print(line, markup=False, soft_wrap=True)
    return OK if shadow else int(found["exit_code"])


def _missed(missed: Sequence[str]) -> list[str]:
    if not missed:
        return []
    return [f"{len(missed)} times a run began outside the band of the first one, such as {missed[0]}"]


def _say(text: str) -> None:
    say(text, err=True)


def _silent(_text: str) -> None:
    pass


@click.command("ab")
@click.option("--base", required=True, type=TOML, help="Run file of what there is.")
@click.option("--candidate", required=True, type=TOML, help="Run file of the change.")
@click.option("--gate", required=True, type=TOML, help="Margins: a table [metrics.NAME] each.")
@PAIRS
@STARTS
@click.option("--budget", "budget_s", type=FloatRange(1), help="Begin no pair that would end after so long.")
@click.option("--seed", type=int, help="Draw the order within pairs; default: A B, B A, A B, …")
@SETTLE
@CALIBRATION
@ONE_SENSORS
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("gate"), show_default=True, help="Folder for the results."
)
@click.option("--shadow", is_flag=True, help="Report, and exit with 0 whatever the verdict.")
@JSON
def command(**options: Any) -> int:
    """Two configurations in interleaved pairs, judged against a gate: the CI check.

    Exits with 0 (ok), 1 (regression), 3 (inconclusive) or 4 (the runs cannot be compared).
    """
    return ab(WORKLOADS, **options)
