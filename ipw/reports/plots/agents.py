"""Agents: what tasks cost, by turns, tools and pauses; what a turn costs, the later it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ipw.metrics.derived import objects
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.charts.axes import PAUSES, TOOLS, TURNS
from ipw.reports.charts.plot import Bar, Bars, CurveLine, Plot, Point, plan
from ipw.reports.text import scale_for
from ipw.reports.view import View
from ipw.runs.directory import RunDir
from ipw.runs.recorded import part_of

PARTS = (("turns", "turn_energy_j", TURNS), ("tools", "tool_energy_j", TOOLS), ("pauses", "pause_energy_j", PAUSES))
MOST_TASKS = 15
Rows = Sequence[Mapping[str, Any]]


def rows_of(view: View, table: str) -> Rows:
    """Read a table of the run as rows; none where it is not there."""
    found = RunDir(Path(view.path)).read_table(table)
    return [] if found is None else found.to_pylist()


def task_split(tasks: Rows, *, estimated: bool) -> Bars | None:
    """Joules of the tasks that took most, between turns, tools and pauses."""
    known = [task for task in tasks if number(task.get("energy_j")) is not None]
    most = sorted(known, key=lambda task: -float(task["energy_j"]))[:MOST_TASKS]
    if not most:
        return None
    scale = scale_for("J", [float(task["energy_j"]) for task in most])
    bars = [
        Bar(clean(task["task"], 40), [scale.factor * (number(task.get(column)) or 0.0) for _, column, _ in PARTS])
        for task in most
    ]
    title = "Energy of the tasks" if len(known) <= MOST_TASKS else f"Energy of the {MOST_TASKS} tasks that took most"
    unit = f"energy of a task, {scale.unit}{', estimated' if estimated else ''}"
    mark = " (estimated)" if estimated else ""
    told = "; ".join(f"{task['task']}: {float(task['energy_j']):.3g} J{mark}" for task in most)
    ends = plan(unit, [sum(bar.parts) for bar in bars], zero=True)
    return Bars(title, ends, bars, told, [(name, colour) for name, _, colour in PARTS], estimated)


def by_turn(named: Sequence[tuple[View, Rows]]) -> Plot | None:
    """Mean joules of a request by its turn, a line a run, from rows of `costs.parquet`."""
    curves = []
    for view, costs in named:
        turns = sorted((row for row in costs if row["by"] == "turn"), key=lambda row: int(row["name"]))
        points = [
            Point(int(row["name"]), value / row["count"])
            for row in turns
            if row["count"] and (value := number(row.get("energy_j"))) is not None
        ]
        if len(points) > 1:
            curves.append(CurveLine(view.name, points, view.series, estimated=view.estimated))
    return _turns(curves)


def by_turn_of_conversations(views: Sequence[View]) -> Plot | None:
    """Show the same of the conversations of a data set, with intervals, from what the summary says of each turn."""
    curves = []
    for view in views:
        found = objects(view.summary, "by_turn")
        metrics = {turn: part_of(found[turn], "energy_per_query_j") for turn in found if turn.isdigit()}
        points = [
            Point(int(turn), value, number(metric.get("low")), number(metric.get("high")))
            for turn, metric in sorted(metrics.items(), key=lambda pair: int(pair[0]))
            if (value := number(metric.get("value"))) is not None
        ]
        if len(points) > 1:
            curves.append(CurveLine(view.name, points, view.series, estimated=view.estimated))
    return _turns(curves)


def _turns(curves: Sequence[CurveLine]) -> Plot | None:
    if not curves:
        return None
    scale = scale_for("J", [point.y for curve in curves for point in curve.points])

    def scaled_point(p: Point) -> Point:
        low, high = (None if end is None else scale.factor * end for end in (p.low, p.high))
        return p._replace(y=scale.factor * p.y, low=low, high=high)

    scaled = [curve._replace(points=[scaled_point(p) for p in curve.points]) for curve in curves]
    estimated = ", estimated" if any(curve.estimated for curve in curves) else ""
    x = plan("turn", [0.5, *(p.x for curve in curves for p in curve.points)])._replace(log=False, whole=True, low=0.5)
    ends = [end for c in scaled for p in c.points for end in (p.y, p.high)]
    y = plan(f"mean energy of a request, {scale.unit}{estimated}", ends, zero=True)
    told = "; ".join(f"{c.name}: {', '.join(f'turn {p.x:.0f} {p.y:.3g} J' for p in c.points[:8])}" for c in curves)
    return Plot("Energy by turn", x, y, scaled, told)
