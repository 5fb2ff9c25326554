"""Scores of tasks: as they were given, `task-scores.jsonl` in the run, a line a task; or as a run of our own scored."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping

from ipw.errors import UsageError
from ipw.foreign_json import parsed
from ipw.printable import clean
from ipw.runs.checks.tries import replaced
from ipw.runs.directory import RunDir
from ipw.runs.files import replacing
from ipw.runs.scores import keep_digest, newest_scores
from ipw.shapes import finite
from ipw.workloads.agents.tables import BEGINS

TASK_SCORES = "task-scores.jsonl"
ANSWERS_UNSCORED = "a program's own questions; `ipw score RUN --scores FILE` scores its tasks"
TASKS_SCORED = "a program's own questions; its tasks are scored instead"


def write_task_scores(run: RunDir, scores: Mapping[str, float]) -> None:
    """Keep the scores of tasks with the run; later ones replace all that was there."""
    with replacing(run.path / TASK_SCORES, durable=True) as file:
        for name, score in scores.items():
            file.write(json.dumps({"task": name, "score": score}).encode() + b"\n")


def take_later(run: RunDir, scores: Mapping[str, float]) -> list[str]:
    """Keep scores of tasks with a run that has ended. Returns the names of those that are no tasks of it.

    Raises UsageError where none is.
    """
    tasks = run.read_table("tasks", ("task", "alike"))
    if tasks is None:
        raise UsageError(f"{run} has no table of tasks yet", f"`ipw report {run} --recompute` makes it")
    rows = tasks.to_pylist()
    known = {row["task"] for row in rows} | {f"{BEGINS}{row['alike']}" for row in rows}
    unknown = [name for name in scores if name not in known]
    if len(unknown) == len(scores):
        some = ", ".join(clean(row["task"], 60) for row in rows[:3]) or "none"
        raise UsageError(f"no score is of a task of {run}", f"use the names in tasks.parquet ({some})")
    write_task_scores(run, scores)
    keep_digest(run, run.path / TASK_SCORES)
    if "scoring_reason" in run.manifest():
        run.update_manifest(scoring_reason=TASKS_SCORED)
    return unknown


def own_scores(run: RunDir) -> dict[str, float]:
    """Score tasks by the answers that end them: the mean over those in which anything can be right.

    What was scored after the run (`ipw score`, a judge) counts.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    gone = replaced(run)
    records = list(enumerate(run.journal("query")))
    later = newest_scores(run, len(records))
    for row, record in records:
        if row in gone:
            continue
        if record.get("final") is True and record.get("graded") is not False and isinstance(record.get("task"), str):
            told = float(later[0].score[row]) if later else record.get("score")
            score = 0.0 if record.get("status") != "ok" else finite(told)
            if score is not None:
                scores[record["task"]].append(min(max(score, 0.0), 1.0))
    return {task: sum(each) / len(each) for task, each in scores.items()}


def read_task_scores(run: RunDir) -> dict[str, float]:
    """Read them; a line that is none is left out. What was not given is as the run's own scorer has it."""
    path = run.path / TASK_SCORES
    found = own_scores(run)
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            record = parsed(line)
        except ValueError:
            continue
        score = finite(record.get("score")) if isinstance(record, dict) else None
        if score is not None and isinstance(record.get("task"), str):
            found[record["task"]] = min(max(score, 0.0), 1.0)
    return found
