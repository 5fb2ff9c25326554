"""`ipw import PATH…`: what other tools measured, as rows that stand beside our own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.errors import OK, UsageError
from ipw.interchange.from_power_log import SOURCE, write_power_log
from ipw.interchange.imported import Imported, manifest_of, summary_of
from ipw.interchange.joined import with_joules
from ipw.interchange.recognise import recognise
from ipw.metrics.summary import stored_summary
from ipw.pipeline import derive, finish
from ipw.profilers.power_logs import Log
from ipw.reports.names import plain_name
from ipw.runs.directory import RunDir
from ipw.studies.chosen import one_run
from ipw.verbs.common.options import JSON, OUT
from ipw.verbs.common.terminal import output


def import_runs(*, paths: Sequence[Path], joules: Path | None, out: Path, as_json: bool) -> int:
    """Read everything first, then write a run directory for each row."""
    read: list[tuple[Path, Imported | Log]] = []
    for path in paths:
        found = recognise(path)
        read += [(path, found)] if isinstance(found, tuple) else [(path, each) for each in found]
    if joules is not None:
        rows = [each for _, each in read if isinstance(each, Imported)]
        if len(rows) < len(read):
            raise UsageError(
                "a log of power has joules of its own", "import the log first, and give its run as --joules"
            )
        run = one_run(joules)
        read = [(paths[0], with_joules(rows, stored_summary(run) or derive(run), run.path.name))]
    written = [write(each, path, out, count) for count, (path, each) in enumerate(read, start=1)]
    told = [
        {
            "run": str(run),
            "what": plain_name(run.manifest()),
            "from": each.source if isinstance(each, Imported) else SOURCE,
            "file": str(path),
        }
        for run, (path, each) in zip(written, read, strict=True)
    ]
    if as_json:
        click.echo(json.dumps(told))
        return OK
    for row in told:
        output().print(f"{row['run']}  {row['what']}, from {row['from']}", markup=False, soft_wrap=True)
    return OK


def write(run: Imported | Log, path: Path, out: Path, count: int) -> RunDir:
    """Make the run directory of one row; that of a log of power is derived, since it holds readings."""
    if not isinstance(run, Imported):
        made = write_power_log(run, path, out, count)
        finish(made)
        return made
    made = RunDir.create(out, f"{run.source}-{count:04d}-{run.name}")
    run_id = made.path.name
    made.write_manifest(manifest_of(run, run_id, str(path)))
    made.write_summary(summary_of(run, run_id))
    return made


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--joules",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="The run whose joules are those of what is imported.",
)
@OUT
@JSON
def command(**options: Any) -> int:
    """Rows of other tools beside our own: load tests, evaluations, energy trackers, logs of power."""
    return import_runs(**options)
