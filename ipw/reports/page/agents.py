"""The section of a page on agents: what tasks, turns and tools cost, and some tasks over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ipw.metrics.definitions import definitions_of
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.metrics.readings import mean_power, total_curve
from ipw.printable import clean
from ipw.reports.charts.task_timeline import Piece, TaskTrace, task_timelines
from ipw.reports.markup import Markup, tag
from ipw.reports.page.results import drawn, grid, origin, reflowing, section, swatch
from ipw.reports.plots.agents import Rows, by_turn, rows_of, task_split
from ipw.reports.ranking import Group
from ipw.reports.text import MISSING, Scale, interval_text, scale_for, value_text
from ipw.reports.view import View
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded

FIGURES = (
    "task_accuracy", "energy_per_task_j", "energy_per_solved_task_j", "turns_per_task", "tool_calls_per_task",
    "tool_energy_share", "babbling_energy_share", "resent_token_share", "task_s",
)  # fmt: skip
LEAD = """A task is all that a program asked of the model for one purpose: its turns, the tools between them, and the \
pauses in which neither was on. Joules of tools are drawn from an answer that asks for them to the next request."""
STRETCHES, MOST_SHOWN, MOST_LISTED, MOST_RUNS = 160, 4, 25, 3
KINDS = ("turn", "tool", "model", "role")
HEADS = {"turn": "Turn", "tool": "Tool", "model": "Model", "role": "Role"}


def agents(views: Sequence[View], _groups: Sequence[Group]) -> Markup | None:
    """Tables and charts of all runs of agents; nothing where there is none."""
    mine = [view for view in views if Recorded(view.manifest).kind == "agent"]
    read = [(view, rows_of(view, "tasks"), rows_of(view, "costs")) for view in mine]
    read = [each for each in read if each[1]]
    if not read:
        return None
    parts: list[Markup | None] = [_figures([view for view, *_ in read])]
    turns = by_turn([(view, costs) for view, _, costs in read])
    parts += [tag("h3", turns.title), drawn(turns, "agents-turns")] if turns else []
    for view, tasks, costs in read[:MOST_RUNS]:
        parts += list(_run(view, tasks, costs, named=len(read) > 1))
    return section("agents", "Agents", *parts, lead=LEAD)


def _figures(views: Sequence[View]) -> Markup:
    defined = definitions_of("agent")
    estimated = any(view.estimated for view in views)
    heads, columns = [tag("th", "Run", scope="col")], []
    for name in FIGURES:
        entries = [Derived(view.summary).metric(name) for view in views]
        definition = defined[name]
        scale = scale_for(definition.unit, [number(entry.get("value")) for entry in entries])
        mark = tag("em", "estimated") if estimated and definition.is_energy else None
        heads.append(tag("th", definition.label, tag("small", scale.unit), mark, scope="col", title=definition.formula))
        columns.append((name, scale, entries))
    rows = [
        [
            tag("th", swatch(view), tag("bdi", view.name), scope="row"),
            *(_metric(name, entries[index], scale) for name, scale, entries in columns),
        ]
        for index, view in enumerate(views)
    ]
    return grid(heads, rows, "numbers")


def _metric(name: str, entry: Mapping[str, Any], scale: Scale) -> Markup:
    interval = interval_text(entry, scale)
    shown = tag("small", interval) if interval else None
    return tag("td", value_text(entry, scale), shown, title=origin(name, entry, definitions_of("agent")[name]))


def _run(view: View, tasks: Rows, costs: Rows, *, named: bool) -> Iterator[Markup | None]:
    of = f" of {view.name}" if named else ""
    for kind in KINDS:
        mine = [row for row in costs if row["by"] == kind]
        if mine and (len(mine) > 1 or kind in {"turn", "tool"}):
            yield tag("h3", f"By {kind}{of}")
            yield _costs(mine, HEADS[kind], estimated=view.estimated)
    traces = _attempted(partial(_traces, view, tasks))
    if traces:
        yield tag("h3", f"Some tasks over time{of}")
        yield reflowing(partial(_timelines, traces, view.estimated), f"{view.key}-tasks")
    split = task_split(tasks, estimated=view.estimated)
    if split:
        yield tag("h3", f"{split.title}{of}")
        yield drawn(split, f"{view.key}-split")
    yield tag("details", tag("summary", f"The tasks{of}, the dearest first"), _tasks(tasks, estimated=view.estimated))


def _timelines(traces: Sequence[TaskTrace], estimated: bool, key: str, width: int) -> Markup:
    return task_timelines(traces, key, width, estimated=estimated)


def _costs(rows: Rows, head: str, *, estimated: bool) -> Markup:
    """One row a turn, tool, model or role."""
    scale = scale_for("J", [_each(row, "energy_j") for row in rows])
    tokens = any(row.get("prompt_tokens") is not None for row in rows)
    mark = tag("em", "estimated") if estimated else None
    joules = tag("th", "Each", tag("small", scale.unit), mark, scope="col", title="mean energy of one")
    total = tag("th", "Together", tag("small", "J"), mark, scope="col")
    heads: list[object] = [head, "Count", joules, total, "Seconds each"]
    heads += ["Prompt tokens each", "Cached", "Written each"] if tokens else []
    ordered = sorted(rows, key=lambda row: int(row["name"])) if head == "Turn" else rows
    found = []
    for row in ordered:
        energy, each = number(row.get("energy_j")), _each(row, "energy_j")
        shown = MISSING if each is None else scale.text(each, scale.digits(each))
        cells = [f"{row['count']:,}", shown, MISSING if energy is None else f"{energy:.4g}"]
        cells.append(MISSING if (seconds := _each(row, "seconds")) is None else f"{seconds:.3g}")
        if tokens:
            names = ("prompt_tokens", "cached_tokens", "completion_tokens")
            cells += [MISSING if (v := _each(row, name)) is None else f"{v:,.1f}" for name in names]
        found.append([tag("th", tag("bdi", clean(row["name"], 60)), scope="row"), *cells])
    return grid(heads, found, "numbers plain")


def _each(row: Mapping[str, Any], column: str) -> float | None:
    """The mean over those that are measured: calls that no request followed have no known end."""
    value, of = number(row.get(column)), row.get("measured", row["count"])
    return None if value is None or not of else value / of


def _tasks(tasks: Rows, *, estimated: bool) -> Markup:
    ordered = sorted(tasks, key=lambda task: -(number(task.get("energy_j")) or 0.0))[:MOST_LISTED]
    scale = scale_for("J", [number(task.get("energy_j")) for task in ordered])
    mark = tag("em", "estimated") if estimated else None
    heads = ["Task", tag("th", "Energy", tag("small", scale.unit), mark, scope="col"), "Of tools", "Turns", "Calls",
             "Tokens", "Seconds", "Score"]  # fmt: skip
    rows = []
    for task in ordered:
        energy, tools = number(task.get("energy_j")), number(task.get("tool_energy_j"))
        entry = {"value": energy, "low": task.get("energy_low_j"), "high": task.get("energy_high_j"), "unit": "J"}
        interval = interval_text(entry, scale)
        share = MISSING if not energy or tools is None else f"{tools / energy:.0%}"
        prompts, written = task.get("prompt_tokens"), task.get("completion_tokens")
        score = number(task.get("score"))
        rows.append(
            [
                tag("th", tag("bdi", clean(task["task"], 60)), scope="row"),
                tag("td", value_text(entry, scale), tag("small", interval) if interval else None),
                share,
                f"{task['turns']:,}",
                f"{task['tool_calls']:,}",
                MISSING if prompts is None or written is None else f"{prompts + written:,}",
                f"{(task['end_ns'] - task['start_ns']) / 1e9:.3g}",
                MISSING if score is None else f"{score:.3g}",
            ]
        )
    return grid(heads, rows, "numbers plain")


def _attempted(make: Callable[[], list[TaskTrace]]) -> list[TaskTrace]:
    """Leave a chart out whose readings or tables are damaged: the page says elsewhere what is."""
    try:
        return make()
    except Exception:  # noqa: BLE001 - a damaged run must not keep the others from being shown
        return []


def _traces(view: View, tasks: Rows) -> list[TaskTrace]:
    """Follow a few tasks: the dearest, the middle one and the cheapest, and the dearest that failed."""
    run = RunDir(Path(view.path))
    known = sorted((t for t in tasks if number(t.get("energy_j")) is not None), key=lambda t: -float(t["energy_j"]))
    if not known:
        return []
    failed = [task for task in known if number(task.get("score")) == 0]
    wanted = [known[0], *failed[:1], known[len(known) // 2], known[-1]]
    chosen = list({task["task"]: task for task in wanted}.values())[:MOST_SHOWN]
    queries, tools = rows_of(view, "queries"), rows_of(view, "tools")
    curve = total_curve(Recorded(view.manifest, run))
    found = []
    for task in chosen:
        start, end = int(task["start_ns"]), max(int(task["end_ns"]), int(task["start_ns"]) + 1000)
        edges = np.unique(np.linspace(start, end, STRETCHES + 1).astype(np.int64))
        pieces = [piece for row in queries if row["task"] == task["task"] for piece in _turn(row, start)]
        pieces += [_tool(row, start) for row in tools if row["task"] == task["task"] and row["start_ns"] is not None]
        score = number(task.get("score"))
        told = f"{float(task['energy_j']):.3g} J, {(end - start) / 1e9:.3g} s, {task['turns']} turns"
        told += "" if score is None else ", solved" if score == 1 else f", score {score:.2g}"
        found.append(TaskTrace(clean(task["task"], 40), told, pieces, (edges - start) / 1e9, mean_power(curve, edges)))
    return found


def _turn(row: Mapping[str, Any], start: int) -> Iterator[Piece]:
    """The time until the first token and the time of the answer."""
    first = row.get("first_token_ns") or row["end_ns"]
    energy = number(row.get("energy_j"))
    text = f"turn {row.get('turn')}" + ("" if energy is None else f", {energy:.3g} J")
    yield Piece("prefill", f"{text}: until the first token", (row["start_ns"] - start) / 1e9, (first - start) / 1e9)
    yield Piece("turn", text, (first - start) / 1e9, (row["end_ns"] - start) / 1e9)


def _tool(row: Mapping[str, Any], start: int) -> Piece:
    energy = number(row.get("energy_j"))
    text = f"{clean(row.get('tool'), 60)}" + ("" if energy is None else f", {energy:.3g} J")
    return Piece("tool", text, (row["start_ns"] - start) / 1e9, (row["end_ns"] - start) / 1e9)
