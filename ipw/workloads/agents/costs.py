"""What everything cost, summed up by task, turn, tool, model and role: `costs.parquet`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.workloads.agents.joules import Drew, summed
from ipw.workloads.agents.structure import Structure
from ipw.workloads.agents.tables import COUNTS, known, rows_of, sum_of

Floats = npt.NDArray[np.float64]


def cost_rows(
    found: Structure, of_queries: Drew, of_gaps: Drew, tokens: Mapping[str, Floats], tasks: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Make rows: requests by turn, model and role, calls by tool, and all of each task."""
    rows = [
        {
            "by": "task",
            "name": task["task"],
            "count": task["requests"],
            "measured": task["requests"],
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
        rows.append(_of_tool(found, name, mine, of_gaps) | dict.fromkeys(COUNTS))
    return rows


def _of_tool(found: Structure, name: str, calls: Sequence[int], of_gaps: Drew) -> dict[str, Any]:
    """Sum up those calls that a request followed, by the gaps that they ran in: shares of one number err alike."""
    ran = Counter(gap for i in calls if (gap := found.calls[i].gap) is not None)
    if not ran:
        nothing = {"measured": 0, "seconds": None, **dict.fromkeys(Drew._fields)}
        return {"by": "tool", "name": name, "count": len(calls)} | nothing
    gaps = [found.gaps[number] for number in ran]
    share = np.array(list(ran.values())) / np.array([gap.calls for gap in gaps])
    seconds = float(share @ np.array([(gap.end_ns - gap.start_ns) / 1e9 for gap in gaps]))
    drew = Drew(*(column * share for column in rows_of(of_gaps, list(ran))))
    return _row("tool", name, len(calls), seconds, drew) | {"measured": ran.total()}


def _row(by: str, name: str, count: int, seconds: float, drew: Drew) -> dict[str, Any]:
    whole = {column: known(values[0]) for column, values in summed([drew])._asdict().items()}
    return {"by": by, "name": name, "count": count, "measured": count, "seconds": seconds, **whole}
