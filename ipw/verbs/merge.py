"""`ipw merge`: parts of one data set, measured on several machines, as one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.runs.directory import RunDir
from ipw.runs.merge import merge_runs
from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.options import JSON, OUT, STRICT


def merge(*, runs: Sequence[Path], out: Path, mismatched: bool, as_json: bool, strict: bool) -> int:
    """Merge finished runs into a new one, and report it."""
    merged = merge_runs([RunDir.open(path) for path in runs], out, mismatched=mismatched)
    return conclude(merged, interrupted=False, as_json=as_json, strict=strict)


@click.command("merge")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--mismatched", is_flag=True, help="Merge what differs in model, data set or settings too.")
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """Parts of one data set, measured on several machines, as one run."""
    return merge(**options)
