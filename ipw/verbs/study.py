"""`ipw run SUITE.toml`: every cell of a study, one after another here or on a cluster; resumable at any point."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ipw.errors import FAILURE, INTERRUPTED, OK, IpwError, UsageError
from ipw.runs.directory import PAGE, RunDir
from ipw.secrets_out import blotted
from ipw.studies.book import Outcome, StudyBook, study_folder
from ipw.studies.chosen import Chosen, of_study
from ipw.studies.local import check_files, one_after_another
from ipw.studies.runfile import Commands
from ipw.studies.suite import Placement, Suite, read_suite
from ipw.verbs.common.lazy import WORKLOADS
from ipw.verbs.common.options import JSON, OUT
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.several import readable
from ipw.verbs.common.study_table import drawn
from ipw.verbs.common.terminal import console, output, say, show


def run_suite(
    *, suite: Path, commands: Commands, out: Path, dry_run: bool, engine_cluster: str | None, storage: str | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Run what is not done yet, and report over all that is. Exits with 5 where a cell failed."""
    study = read_suite(suite, commands)
    if dry_run:
        if engine_cluster in {None, "none"}:
            check_files(study.cells)
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
    from ipw.metrics.summary import stored_summary

    runs, code = _report(book)
    page = book.folder / PAGE if runs else None
    counts = Counter(entry["status"] for entry in book.entries)
    if as_json:
        click.echo(json.dumps({"study": str(book.folder), "page": page and str(page), "cells": book.entries}))
    else:
        shown = output()
        shown.print(drawn(study.name, book.entries, shown.width))
        if page:
            show([summary for run in runs if (summary := stored_summary(run))], page)
    return INTERRUPTED if interrupted else FAILURE if counts["failed"] else code


def _outcomes(study: Suite, book: StudyBook, cluster: str | None, storage: str | None) -> Iterator[Outcome]:
    waiting = book.waiting(study.cells)
    if cluster in {None, "none"}:
        if any(planned.placement != Placement(shards=planned.placement.shards) for planned in waiting):
            console().print("mind: cells run on this machine; what [placement] asks for is not looked at", markup=False)
        check_files(waiting)
        return one_after_another(waiting, book, TERMINAL.say)
    from ipw.studies.cluster.driver import on_cluster

    assert cluster is not None
    return on_cluster(waiting, book, cluster, storage)


def _note(book: StudyBook, outcome: Outcome, *, as_json: bool) -> None:
    if outcome.run is not None:
        book.done(outcome.planned, outcome.run)
        return
    error = outcome.error or IpwError("it has no run")
    book.failed(outcome.planned, error.message, error.hint)
    if not as_json:
        hint = f"\n  try: {error.hint}" if error.hint else ""
        console().print(f"failed: {outcome.planned.cell.name}: {error.message}{hint}", markup=False)


def _report(book: StudyBook) -> tuple[list[RunDir], int]:
    """Write one page over all runs that are done; returns them, and the exit code of whether all could be read."""
    from ipw.reports.page.page import write_page

    runs, code = readable(of_study(book.folder), Chosen.open)
    if runs:
        write_page(runs, book.folder / PAGE)
    return runs, code


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
