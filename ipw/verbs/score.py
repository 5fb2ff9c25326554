"""`ipw score RUN`: score the answers of a stored run again, or the tasks of an agent, without asking its model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ipw.errors import UsageError
from ipw.printable import clean
from ipw.runs.directory import RunDir
from ipw.runs.owner import Owner
from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.options import JSON
from ipw.workloads.agents.scores import read_scores
from ipw.workloads.agents.task_scores import take_later
from ipw.workloads.lm.scored_again import Judge, score_run

MOST_NAMED = 5


def score(
    *,
    run: Path,
    scorer: str | None,
    scores: Path | None,
    judge_url: str | None,
    judge_model: str | None,
    judge_concurrency: int,
    as_json: bool,
) -> int:
    """Write scores into the run and derive it again; the journal stays."""
    if (scorer is None) == (scores is None) or (scores is not None and (judge_url or judge_model)):
        raise UsageError("say how to score", "--scorer NAME for answers, or --scores FILE for the tasks of an agent")
    opened = RunDir.open(run)
    manifest = opened.manifest()
    kind = None if "imported" in manifest else manifest.get("workload", {}).get("kind")
    if scores is not None:
        if kind != "agent":
            raise UsageError(f"{run} holds no tasks to score", "give a run of `ipw gateway` or `ipw run agent`")
        with Owner(opened.path, "scored"):
            unknown = take_later(opened, read_scores(scores))
        if unknown:
            some = ", ".join(clean(name, 60) for name in unknown[:MOST_NAMED])
            more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
            click.echo(f"not a task of this run: {some}{more}", err=True)
    elif kind != "lm":
        raise UsageError(f"{run} holds no answers to score", "give a run of `ipw run lm`; --scores FILE scores tasks")
    else:
        judge = Judge(judge_url, judge_model, judge_concurrency) if judge_url else None
        score_run(opened, str(scorer), judge, _told)
    return conclude(opened, interrupted=False, as_json=as_json, strict=False)


def _told(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} scored", end="", file=sys.stderr)  # noqa: T201 (progress)


@click.command("score")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--scorer", help="exact, contains, number, choice, regex, math, judge or judge-pair.")
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    help="Scores of an agent's tasks: a file with task and score; also of SWE-bench, inspect_ai.",
)
@click.option("--judge-url", help="OpenAI-compatible server of the judge.")
@click.option("--judge-model", help="Default: the only one that the server has.")
@click.option("--judge-concurrency", type=click.IntRange(1, 256), default=4, show_default=True)
@JSON
def command(**options: Any) -> int:
    """Score the answers of a stored run again, or an agent's tasks, without asking its model.

    Examples: ipw score RUN --scorer contains    ipw score RUN --scores FILE
    """
    return score(**options)
