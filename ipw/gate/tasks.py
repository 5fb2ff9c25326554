"""Runs of agents side by side: their tasks are the same, whatever each asks of the model to do them.

A task that the program names is known by its name. One that it does not is known by what the user asked in its first
request, without the instructions of a system: an agent with other tools has other ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ipw.registry import workload
from ipw.runs.directory import RunDir
from ipw.runs.queries import Queries
from ipw.workloads.agents.definitions import DEFINITIONS
from ipw.workloads.agents.metrics import RATIOS, columns_of

COMPARED = tuple(
    each._replace(numerator=RATIOS[each.name].above, denominator=RATIOS[each.name].below)
    for each in DEFINITIONS
    if each.name in RATIOS
)
"""Metrics of tasks as a mean over a mean, task by task."""
ASKED = {"requests": "requests", "tool_calls": "calls of tools", "prompt_tokens": "tokens of prompts"}
HOW = "name tasks (x-ipw-task, --tasks) if both sides ask for them in other words"


def has_tasks(kind: object) -> bool:
    """Whether runs of this kind do tasks, and what they ask on the way is their own."""
    found = workload(kind)
    return found is not None and found.tasks


def load_tasks(run: RunDir) -> Queries:
    """Read the tasks of a run: their columns as numbers, with `query_id` as what each is known by."""
    table = run.read_table("tasks")
    rows = [] if table is None else table.to_pylist()
    seen: Counter[str] = Counter()
    keys = []
    for row in rows:
        known = row["task"] if row.get("named") or not row.get("opens") else f"asked {row['opens']}"
        seen[known] += 1
        keys.append(known if seen[known] == 1 else f"{known} #{seen[known]}")
    texts = {"query_id": np.array(keys, np.object_), "subject": np.array([""] * len(keys), np.object_)}
    columns = columns_of(rows)
    needed = {*ASKED, *(name for each in COMPARED for name in (each.numerator, each.denominator))}
    unknown = {name: np.full(len(rows), np.nan) for name in needed - columns.keys()}  # of a run of an older version
    return Queries(columns | unknown, texts, {})


def task_faults(runs: Sequence[tuple[str, Queries]]) -> list[str]:
    """Say in which runs other tasks were done than in the first."""
    faults = []
    for label, tasks in runs[1:]:
        first, mine = (set(each.texts["query_id"].tolist()) for each in (runs[0][1], tasks))
        if first != mine:
            counts = f"{len(mine)} tasks against {len(first)}, of which {len(first & mine)} are the same"
            faults.append(f"{label} against {runs[0][0]}: {counts}; {HOW}")
    return faults


def asked_of_the_model(arms: Mapping[str, Sequence[Queries]]) -> str | None:
    """Say how much either side asked of the model, which may differ; `None` where there is no task."""
    told = []
    for arm, runs in arms.items():
        parts = []
        for column, unit in ASKED.items():
            values = np.concatenate([each.numbers[column] for each in runs]) if runs else np.zeros(0)
            known = values[np.isfinite(values)]
            parts += [f"{known.mean():.4g} {unit}"] if known.size else []
        told += [f"{arm} {', '.join(parts)}"] if parts else []
    return f"of the model is asked, a task: {'; '.join(told)}" if told else None
