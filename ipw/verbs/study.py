"""`ipw run SUITE.toml`: every cell of a study, one after another here or on a cluster; resumable at any point."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ipw.errors import FAILURE, INTERRUPTED, OK, IpwError, UsageError
from ipw.printable import clean
from ipw.reports.text import MISSING, quantity
from ipw.runs.directory import PAGE, RunDir
from ipw.secrets_out import blotted
from ipw.studies.book import Entry, StudyBook, study_folder
from ipw.studies.runfile import Commands
from ipw.studies.suite import Placement, Planned, Suite, read_suite
from ipw.verbs.cells import run_in_child
from ipw.verbs.lazy import WORKLOADS
from ipw.verbs.options import JSON, OUT
from ipw.verbs.several import readable
from ipw.verbs.terminal import console, output, say

STYLES = {"done": "green", "failed": "red", "running": "yellow", "waiting": "dim"}


class Outcome(NamedTuple):
    """How a cell ended: with its run, or with an error."""

    planned: Planned
    run: RunDir | None
    error: IpwError | None


def run_suite(
    *, suite: Path, commands: Commands, out: Path, dry_run: bool, engine_cluster: str | None, storage: str | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Run what is not done yet, and report over all that is. Exits with 5 where a cell failed."""
    study = read_suite(suite, commands)
    if dry_run:
        return _list(study, as_json=as_json)
    if engine_cluster in {None, "none"} and any(planned.placement.nodes > 1 for planned in study.cells):
        raise UsageError(f"{suite}: a model over several nodes needs a cluster", "--engine-cluster ray://HOST:10001")
    book = StudyBook(study_folder(out, study.name), study)
    interrupted = False
    try:
        for outcome in _outcomes(study, book, engine_cluster, storage):
            _note(book, outcome, as_json=as_json)
    except KeyboardInterrupt:
        interrupted = True
    page, code = _report(book)
    counts = Counter(entry["status"] for entry in book.entries)
    if as_json:
        click.echo(json.dumps({"study": str(book.folder), "page": page and str(page), "cells": book.entries}))
    else:
        output().print(drawn(study.name, book.entries))
        if page:
            output().print(f"report: {page.resolve()}", markup=False, soft_wrap=True)
    return INTERRUPTED if interrupted else FAILURE if counts["failed"] else code


def _outcomes(study: Suite, book: StudyBook, cluster: str | None, storage: str | None) -> Iterator[Outcome]:
    waiting = book.waiting(study.cells)
    if cluster in {None, "none"}:
        if any(planned.placement != Placement(shards=planned.placement.shards) for planned in waiting):
            console().print("mind: cells run on this machine; what [placement] asks for is not looked at", markup=False)
        return one_after_another(waiting, book)
    from ipw.verbs.cluster.driver import on_cluster

    assert cluster is not None
    return on_cluster(waiting, book, cluster, storage)


def one_after_another(cells: Sequence[Planned], book: StudyBook) -> Iterator[Outcome]:
    """Run each cell here, in a process of its own."""
    for count, planned in enumerate(cells, start=1):
        console().print(f"cell {count} of {len(cells)}: {planned.cell.name}", markup=False)
        book.begin(planned, "here")
        try:
            yield Outcome(planned, run_in_child(planned.cell, book.folder), None)
        except KeyboardInterrupt:
            book.again(planned)
            raise
        except IpwError as error:
            yield Outcome(planned, None, error)


def _note(book: StudyBook, outcome: Outcome, *, as_json: bool) -> None:
    if outcome.run is not None:
        book.done(outcome.planned, outcome.run)
        return
    error = outcome.error or IpwError("it has no run")
    book.failed(outcome.planned, error.message, error.hint)
    if not as_json:
        hint = f"\n  try: {error.hint}" if error.hint else ""
        console().print(f"failed: {outcome.planned.cell.name}: {error.message}{hint}", markup=False)


def _report(book: StudyBook) -> tuple[Path | None, int]:
    """Write one page over all runs that are done; returns it, and the exit code that says whether all could be read."""
    from ipw.reports.page.page import write_page

    runs, code = readable(book.run_paths(), RunDir.open)
    if not runs:
        return None, code
    write_page(runs, book.folder / PAGE)
    return book.folder / PAGE, code


def _list(study: Suite, *, as_json: bool) -> int:
    if as_json:
        listed: list[dict[str, Any]] = [
            {"key": p.key, "cell": p.cell.name, "repetition": p.repetition, "options": blotted(dict(p.cell.options))}
            for p in study.cells
        ]
        click.echo(json.dumps({"name": study.name, "cells": listed}, default=str))
        return OK
    for planned in study.cells:
        again = f" (repetition {planned.repetition + 1})" if planned.repetition else ""
        say(f"{planned.key}  {planned.cell.name}{again}")
    return OK


def drawn(name: str, entries: Sequence[Entry]) -> Group:
    """Lay a study's state out for people."""
    counts = Counter(str(entry["status"]) for entry in entries)
    joules = [entry["energy_j"] for entry in entries if entry.get("energy_j") is not None]
    total = quantity({"value": sum(joules), "unit": "J"}) if joules else "no joules"
    mark = " (estimated)" if any(entry.get("estimated") for entry in entries) else ""
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    table = Table(box=None, header_style="bold", pad_edge=False)
    heading = Text(f"{clean(name, 60)}: {told}; {total}{mark} so far", style="bold")
    for column in ("cell", "status", "node", "energy", "run, or why there is none"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        status = str(entry["status"])
        energy = entry.get("energy_j")
        shown = MISSING if energy is None else quantity({"value": energy, "unit": "J"})
        marks = [clean(mark, 60) for mark in entry.get("marks") or ()]
        table.add_row(
            Text(clean(entry.get("cell"), 80)),
            Text("\n".join([status, *marks]), style="yellow" if marks else STYLES.get(status, "")),
            Text(clean(entry.get("node") or MISSING, 40)),
            Text(shown),
            Text(clean(entry.get("run") or entry.get("error") or MISSING, 160)),
        )
    return Group(heading, table)


@click.command("study")
@click.option("--dry-run", is_flag=True, help="List the cells, and run none.")
@click.option("--engine-cluster", help="'none' (one after another, here), 'local', or ray://HOST:PORT (extra ray).")
@click.option("--storage", help="Where runs of a cluster come back to, as an fsspec URL; default: the study's folder.")
@OUT
@JSON
@click.pass_context
def command(context: click.Context, /, **options: Any) -> int:
    """Run every cell of a study that is not done yet, and report over all of them."""
    return run_suite(suite=Path(str(context.info_name)), commands=WORKLOADS, **options)
