"""`ipw import PATH…`: what other tools measured, as rows that stand beside our own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.errors import OK, UsageError
from ipw.foreign_text import read_text
from ipw.interchange.from_codecarbon import read_codecarbon
from ipw.interchange.from_llama_bench import read_llama_bench
from ipw.interchange.from_upstream import read_upstream
from ipw.interchange.imported import Imported, manifest_of, summary_of
from ipw.printable import clean
from ipw.reports.names import plain_name
from ipw.runs.directory import MANIFEST, RunDir
from ipw.verbs.common.options import JSON, OUT
from ipw.verbs.common.terminal import output

MOST_BYTES, MOST_ROWS = 64 << 20, 10_000
KNOWN = "codecarbon's emissions.csv, `llama-bench -o json`, or a run directory of the paper's harness"


def import_runs(*, paths: Sequence[Path], out: Path, as_json: bool) -> int:
    """Read everything first, then write a run directory for each row."""
    read = [(path, run) for path in paths for run in recognise(path)]
    written = [write(run, path, out, count) for count, (path, run) in enumerate(read, start=1)]
    if as_json:
        told = [{"run": str(run), "what": plain_name(run.manifest()), "from": each.source, "file": str(path)}
                for run, (path, each) in zip(written, read, strict=True)]  # fmt: skip
        click.echo(json.dumps(told))
        return OK
    for run, (_, each) in zip(written, read, strict=True):
        output().print(f"{run}  {clean(each.name, 60)}, from {each.source}", markup=False, soft_wrap=True)
    return OK


def recognise(path: Path) -> list[Imported]:
    """Tell by its content what `path` is, and read it. Raises UsageError for what cannot be imported."""
    if path.is_dir():
        if (path / MANIFEST).is_file():
            raise UsageError(f"{path} is a run directory of ipw already", f"ipw report {path}")
        found = read_upstream(path)
    else:
        text = _text(path)
        found = read_llama_bench(text, str(path)) or read_codecarbon(text, str(path))
    if not found:
        raise UsageError(f"{path} holds nothing that can be imported, or was cut short", f"give {KNOWN}")
    if len(found) > MOST_ROWS:
        raise UsageError(f"{path} holds {len(found):,} rows; {MOST_ROWS:,} can be imported at once", "split it")
    return found


def write(run: Imported, path: Path, out: Path, count: int) -> RunDir:
    """Make the run directory of one row."""
    made = RunDir.create(out, f"{run.source}-{count:04d}-{run.name}")
    run_id = made.path.name
    made.write_manifest(manifest_of(run, run_id, str(path)))
    made.write_summary(summary_of(run, run_id))
    return made


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} is larger than {MOST_BYTES >> 20} MiB", f"give {KNOWN}")
        return read_text(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", f"give {KNOWN}") from None


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@OUT
@JSON
def command(**options: Any) -> int:
    """Rows of other tools beside our own: codecarbon's CSV, llama-bench's JSON, runs of the paper's harness."""
    return import_runs(**options)
