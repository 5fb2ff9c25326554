"""`ipw compare A B`: two stored runs, metric by metric, with intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ipw.errors import OK, InvalidMeasurementError
from ipw.gate.compare import Row, compare
from ipw.metrics.summary import stored_summary
from ipw.metrics.validity.record import record_faults
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded
from ipw.studies.chosen import one_run
from ipw.verbs.common.options import JSON, TOML


def compare_runs(*, base: Path, candidate: Path, calibration: Path | None, as_json: bool) -> int:
    """Compare two runs; with a calibration, intervals also hold what lies between two starts of one server."""
    a, b = one_run(base), one_run(candidate)
    found = compare(a, b, _start_sd(calibration, a) if calibration else None)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False))
    else:
        _show(found)
    for run in (a, b):
        for fault in record_faults(stored_summary(run) or {}):
            raise InvalidMeasurementError(f"{run} is not valid: {fault}", f"ipw report {run} --recompute")
    return OK


def _start_sd(path: Path, run: RunDir) -> dict[str, float]:
    from ipw.errors import UsageError
    from ipw.gate.calibration import calibrated

    if not path.is_file():
        raise UsageError(f"there is no calibration {path}", "ipw calibrate --base RUN.toml")
    known = calibrated(path, str(Recorded(run.manifest()).kind))
    known.check_basis(run.manifest().get("basis"))
    return known.start_sd


def _show(found: dict[str, Any]) -> None:
    from rich.text import Text

    from ipw.printable import clean
    from ipw.reports.tables.fitted import fitted
    from ipw.verbs.common.terminal import output

    out = output()
    arms = [found[arm] for arm in ("base", "candidate")]
    names = ["\n".join([clean(arm["name"], 60), *arm["marks"]]) for arm in arms]
    basis = f"basis {found['basis']}" if found["basis"] else "no energy"
    items = "tasks that both did" if found["paired_by"] == "task" else "questions that both were asked"
    title = f"{found['questions']} {items}, {basis}"
    heads = [Text("metric"), *map(Text, names), Text("change [95 %]")]
    rows = []
    for row in found["rows"]:
        label = f"{row['label']} (estimated)" if row["estimated"] else row["label"]
        rows.append([Text(cell) for cell in (label, *_values(row), _change(row))])
    out.print(f"{title}\n", markup=False)
    for line in fitted(heads, rows, out.width, left=[1, 2, 3]):
        out.print(line)
    out.print()
    items = "tasks were done by" if found["paired_by"] == "task" else "questions were asked of"
    left_out = [f"{found['left_out']} {items} one run only"] if found["left_out"] else []
    for note in [*left_out, *found["notes"]]:
        out.print(f"mind: {note}", markup=False)


def _values(row: Row) -> list[str]:
    from ipw.reports.text import MISSING, table_scale

    scale = table_scale(row["metric"], row["unit"], [row["base"], row["candidate"]])
    if not row["unit"] and row["kind"] != "difference":
        return [MISSING if row[arm] is None else f"{row[arm]:.4g}" for arm in ("base", "candidate")]
    known = [row[arm] for arm in ("base", "candidate")]
    return [MISSING if value is None else f"{scale.factor * value:.4g} {scale.unit}" for value in known]


def _change(row: Row) -> str:
    if row["change"] is None:
        return str(row["reason"])
    unit = "pt" if row["kind"] == "difference" else "%"
    digits = 0 if row["estimated"] else 2
    low, high, change = (None if row[k] is None else f"{100 * row[k]:+.{digits}f}" for k in ("low", "high", "change"))
    return f"{change} {unit} [{row['reason'] if low is None else f'{low}, {high}'}]"


@click.command("compare")
@click.argument("base", metavar="[NAME=]BASE", type=click.Path(path_type=Path))
@click.argument("candidate", metavar="[NAME=]CANDIDATE", type=click.Path(path_type=Path))
@click.option("--calibration", type=TOML, help="Noise of this runner, which then widens the intervals.")
@JSON
def command(**options: Any) -> int:
    """Two stored runs, metric by metric, over the questions that both were asked."""
    return compare_runs(**options)
