"""`ipw list`: what there is to choose from, and what was run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ipw.errors import OK, USAGE, IpwError
from ipw.metrics.accounting_text import NOT_VALID, marks
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.names import row_names
from ipw.reports.tables.fitted import fitted
from ipw.reports.text import MISSING
from ipw.studies.chosen import Chosen, runs_below
from ipw.verbs.common.options import JSON, WHERE
from ipw.verbs.common.terminal import console, output


def list_runs(*, out: Path, as_json: bool) -> int:
    """Every run directory in `out`, the newest first, with those that cannot be read; the exit code tells of them."""
    found = list(runs_in(out))
    broken = [run for run in found if run["status"] == UNREADABLE]
    code = USAGE if broken else OK
    if as_json:
        click.echo(json.dumps(found))
        return code
    if not found:
        output().print(f"no runs in {out}", markup=False)
        return OK
    shown = output()
    heads = [Text(head) for head in HEADS]
    rows = [[Text(clean(cell, MOST_SHOWN)) for cell in _cells(run)] for run in found]
    for line in fitted(heads, rows, shown.width, drop=[4, 2, 3], left=range(1, 5)):
        shown.print(line, soft_wrap=True)
    for run in broken:
        console().print(clean(run["what"], MOST_SHOWN), markup=False, soft_wrap=True)
    return code


UNREADABLE = "unreadable"
MOST_SHOWN = 4096
"""Characters of a cell: a path that is cut cannot be copied."""
ENERGIES = ("energy_per_query_j", "energy_j")
"""The first that is known is shown."""
HEADS = ("run", "what", "started", "status", "basis", "valid", "accuracy", "energy")


def _cells(run: Mapping[str, Any]) -> list[object]:
    why = ", ".join(mark for mark in run["marks"] if mark != NOT_VALID)
    valid = MISSING if run["valid"] is None else f"{run['valid']} ({why})" if why else run["valid"]
    told = [MISSING if run[key] is None else run[key] for key in ("path", "what", "started", "status", "basis")]
    energy, unit = run["energy_per_query_j"], "J a query"
    if energy is None:
        energy, unit = run["energy_j"], "J"
    mark = " (est.)" if run["estimated"] else ""
    accuracy = MISSING if run["accuracy"] is None else f"{100 * run['accuracy']:.1f} %"
    return [*told, valid, accuracy, MISSING if energy is None else f"{energy:.3g} {unit}{mark}"]


def runs_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Describe each run of a folder and of the studies in it, by the time in its name, the newest first."""
    places = sorted(runs_below(folder), key=lambda each: each.path.name, reverse=True)
    read = [_read(place) for place in places]
    names = iter(row_names([manifest for manifest, _ in read if manifest]))
    for place, (manifest, told) in zip(places, read, strict=True):
        yield {"path": str(place.path)} | ({"what": next(names)} if manifest else {}) | told


def _read(place: Chosen) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the manifest of a run, empty where it cannot be read, and what is told of it."""
    try:
        run = place.open()
        manifest, summary = run.manifest(), run.summary()
        whole = run.manifest_is_whole() and run.summary_is_whole()
    except IpwError as error:
        absent = dict.fromkeys(("started", "basis", "valid", "accuracy", *ENERGIES))
        return {}, {"what": error.message, "status": UNREADABLE, "marks": [], "estimated": False} | absent
    derived = Derived(summary or {})
    return manifest | ({"label": place.called} if place.called else {}), {
        "started": manifest.get("started"),
        "status": manifest.get("status"),
        "basis": manifest.get("basis"),
        "valid": None if summary is None else summary.get("valid") and whole,
        "marks": [] if summary is None else marks(summary),
        "estimated": derived.is_estimated,
        **{name: number(derived.metric(name).get("value")) for name in ("accuracy", *ENERGIES)},
    }


@click.command("runs")
@WHERE
@JSON
def command(**options: Any) -> int:
    """Every run in a folder, the newest first."""
    return list_runs(**options)
