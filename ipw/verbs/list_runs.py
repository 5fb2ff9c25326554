"""`ipw list`: what there is to choose from, and what was run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ipw.errors import OK, USAGE, IpwError
from ipw.metrics.accounting_text import NOT_VALID, marks
from ipw.printable import clean
from ipw.reports.names import plain_name
from ipw.reports.text import MISSING
from ipw.runs.directory import MANIFEST, RunDir
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
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "what", "started", "status", "basis", "valid"):
        table.add_column(column, overflow="fold")
    for run in found:
        why = ", ".join(mark for mark in run["marks"] if mark != NOT_VALID)
        told = run | {"valid": f"{run['valid']} ({why})" if why else run["valid"]}
        table.add_row(*(Text(clean(MISSING if told[key] is None else told[key], MOST_SHOWN)) for key in COLUMNS))
    output().print(table)
    for run in broken:
        console().print(clean(run["what"], MOST_SHOWN), markup=False, soft_wrap=True)
    return code


UNREADABLE = "unreadable"
MOST_SHOWN = 4096
"""Characters of a cell: a path that is cut cannot be copied."""
COLUMNS = ("path", "what", "started", "status", "basis", "valid")


def runs_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Describe each run of a folder, by the time in its name, the newest first."""
    for path in sorted((each.parent for each in folder.glob(f"*/{MANIFEST}")), reverse=True):
        try:
            run = RunDir.open(path)
            manifest, summary = run.manifest(), run.summary()
            whole = run.manifest_is_whole() and run.summary_is_whole()
        except IpwError as error:
            yield {"path": str(path), "what": error.message, "started": None, "status": UNREADABLE, "basis": None,
                   "valid": None, "marks": []}  # fmt: skip
            continue
        yield {
            "path": str(path),
            "what": plain_name(manifest),
            "started": manifest.get("started"),
            "status": manifest.get("status"),
            "basis": manifest.get("basis"),
            "valid": None if summary is None else summary.get("valid") and whole,
            "marks": [] if summary is None else marks(summary),
        }


@click.command("runs")
@WHERE
@JSON
def command(**options: Any) -> int:
    """Every run in a folder, the newest first."""
    return list_runs(**options)
