"""What everything cost, summed up by task, turn, tool, model and role: `costs.parquet`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.workloads.agents.joules import Drew, summed
from ipw.workloads.agents.structure import Structure
from ipw.workloads.agents.tables import COUNTS, known, rows_of, sum_of

Floats = npt.NDArray[np.float64]


def cost_rows(
    found: Structure, of_queries: Drew, of_calls: Drew, tokens: Mapping[str, Floats], tasks: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Make rows: requests by turn, model and role, calls by tool, and all of each task."""
    rows = [
        {
            "by": "task",
            "name": task["task"],
            "count": task["requests"],
            "seconds": (task["end_ns"] - task["start_ns"]) / 1e9,
            **{name: task[name] for name in (*Drew._fields, *COUNTS)},
        }
        for task in tasks
    ]
    turns: dict[str, list[int]] = defaultdict(list)
    models: dict[str, list[int]] = defaultdict(list)
    roles: dict[str, list[int]] = defaultdict(list)
    for number, (one, place) in enumerate(zip(found.asked, found.places, strict=True)):
        for groups, name in ((turns, place.turn), (models, one.model), (roles, one.role)):
            if name is not None:
                groups[str(name)].append(number)
    for by, groups in (("turn", turns), ("model", models), ("role", roles)):
        for name, mine in groups.items():
            seconds = sum(found.asked[i].end_ns - found.asked[i].start_ns for i in mine) / 1e9
            counts = {column: sum_of(tokens[column][mine]) for column in COUNTS}
            rows.append(_row(by, name, len(mine), seconds, rows_of(of_queries, mine)) | counts)
    tools: dict[str, list[int]] = defaultdict(list)
    for number, call in enumerate(found.calls):
        tools[call.name].append(number)
    for name, mine in tools.items():
        ran = [found.gaps[gap] for i in mine if (gap := found.calls[i].gap) is not None]
        seconds = sum((gap.end_ns - gap.start_ns) / gap.calls for gap in ran) / 1e9
        placed = [i for i in mine if found.calls[i].gap is not None]
        rows.append(_row("tool", name, len(mine), seconds, rows_of(of_calls, placed)) | dict.fromkeys(COUNTS))
    return rows


def _row(by: str, name: str, count: int, seconds: float, drew: Drew) -> dict[str, Any]:
    whole = {column: known(values[0]) for column, values in summed([drew])._asdict().items()}
    return {"by": by, "name": name, "count": count, "seconds": seconds, **whole}
