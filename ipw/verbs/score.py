"""`ipw score RUN`: score the answers of a stored run again, without asking its model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ipw.errors import UsageError
from ipw.runs.directory import RunDir
from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.options import JSON
from ipw.workloads.lm.scoring.again import Judge, score_run


def score(
    *, run: Path, scorer: str, judge_url: str | None, judge_model: str | None, judge_concurrency: int, as_json: bool
) -> int:
    """Write a new file of scores into the run and derive it again; earlier scores and the journal stay."""
    opened = RunDir.open(run)
    manifest = opened.manifest()
    if manifest.get("workload", {}).get("kind") != "lm" or "imported" in manifest:
        raise UsageError(f"{run} holds no answers to score", "give a run of `ipw run lm`")
    judge = Judge(judge_url, judge_model, judge_concurrency) if judge_url else None
    score_run(opened, scorer, judge, _told)
    return conclude(opened, interrupted=False, as_json=as_json, strict=False)


def _told(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} scored", end="", file=sys.stderr)  # noqa: T201 (progress)


@click.command("score")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--scorer", required=True, help="exact, contains, number, choice, regex, math, judge or judge-pair.")
@click.option("--judge-url", help="OpenAI-compatible server of the judge.")
@click.option("--judge-model", help="Default: the only one that the server has.")
@click.option("--judge-concurrency", type=click.IntRange(1, 256), default=4, show_default=True)
@JSON
def command(**options: Any) -> int:
    """Score the answers of a stored run again, without asking its model; earlier scores stay beside the new."""
    return score(**options)
