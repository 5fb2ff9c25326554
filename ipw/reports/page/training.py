"""The training section of a page: what a step costs by method, and what it teaches for that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipw.metrics.accounting_text import NOT_VALID, marks
from ipw.metrics.definitions import definitions_of
from ipw.metrics.derived import Derived
from ipw.metrics.metric import mappings, number
from ipw.printable import clean
from ipw.registry import TRAIN, load
from ipw.reports.charts.axes import SERIES
from ipw.reports.charts.curves import CurveLine, Point, Texts, curves
from ipw.reports.charts.splits import Split, splits
from ipw.reports.markup import Markup, join, tag
from ipw.reports.page.results import cell, chart, grid, head, section
from ipw.reports.page.view import View
from ipw.reports.ranking import Group, groups
from ipw.reports.tables.by_method import by_method, to_one_loss
from ipw.reports.tables.runs import columns
from ipw.reports.text import MISSING, quantity, scale_for
from ipw.runs.directory import RunDir
from ipw.runs.readings import is_estimate
from ipw.runs.recorded import part_of

PHASES = ("forward", "backward", "update")
MOST_POINTS = 200
LEAD = """Every method starts from the same weights and reads the same data in the same order, in a process of its \
own. Warm-up, data and evaluation are not part of a step."""
Entries = Mapping[str, Mapping[str, Any]]


def training(views: Sequence[View], _groups: Sequence[Group]) -> Markup | None:
    """Tables and charts of every run that trained; nothing where none did."""
    found = [view for view in views if Derived(view.summary).by_method]
    parts = []
    for view in found:
        part = training_part(RunDir(Path(view.path)), view.summary, view.manifest, view.key)
        parts.append(join([tag("h3", view.name), part]) if len(found) > 1 else part)
    return section("training", "Training steps", *parts, lead=LEAD) if parts else None


def training_part(run: RunDir, summary: Mapping[str, Any], manifest: Mapping[str, Any], key: str) -> Markup:
    """All that is shown of one run."""
    methods = Derived(summary).by_method
    lines = loss_lines(run)
    estimated = is_estimate(summary.get("method"))
    mark = ", estimated" if estimated else ""
    return join(
        [
            _answer(methods, estimated=estimated),
            _table(summary),
            *(tag("p", told, class_="note") for told in _remarks(methods, manifest)),
            _loss_chart(lines["joules"], "Loss against energy", f"energy of the steps, J{mark}", f"{key}-loss-joules"),
            _loss_chart(lines["steps"], "Loss against steps", "steps", f"{key}-loss-steps"),
            _split_chart(methods, f"{key}-phases", mark),
            _memory_table(methods),
            _definitions(),
        ]
    )


def loss_lines(run: RunDir) -> dict[str, dict[str, list[Point]]]:
    """Training loss of each method, a mean over some steps where there are many: against joules, and against steps."""
    found: dict[str, dict[str, list[Point]]] = {"joules": {}, "steps": {}}
    table = run.read_table("steps")
    if table is None:
        return found
    names = table["method"].to_pylist()
    loss, energy = (
        table[name].cast("float64").to_numpy(zero_copy_only=False).astype(np.float64) for name in ("loss", "energy_j")
    )
    for name in dict.fromkeys(names):
        mine = np.array([other == name for other in names]) & np.isfinite(loss)
        if not mine.any():
            continue
        pieces = np.array_split(np.flatnonzero(mine), min(MOST_POINTS, int(mine.sum())))
        means = [float(loss[piece].mean()) for piece in pieces]
        used = np.cumsum(energy[mine])
        ends = np.cumsum([len(piece) for piece in pieces]) - 1
        found["steps"][name] = [Point(float(end + 1), y) for end, y in zip(ends, means, strict=True)]
        if np.isfinite(used).all():
            found["joules"][name] = [Point(float(used[end]), y) for end, y in zip(ends, means, strict=True)]
    return found


def _answer(methods: Entries, *, estimated: bool) -> Markup | None:
    """Say what each method needed to come down to one and the same loss, the thriftiest first."""
    found = to_one_loss(methods)
    if found is None:
        return None
    target, ((best, least), *others) = found
    first = number(least.get("value")) or 1.0
    rest = ", ".join(
        f"{clean(name, 24)} {(number(m.get('value')) or 0.0) / first:.1f} times as much" for name, m in others
    )
    energy = "Estimated energy" if estimated else "Energy"
    said = f"{energy} down to a training loss of {target:.3g}: {clean(best, 24)} {quantity(least)}"
    return tag("p", tag("b", said), f"; {rest}.")


def _table(summary: Mapping[str, Any]) -> Markup:
    """A row a method, as in every other table of the run."""
    group = groups(by_method([summary]))[0]
    shown = columns(group)
    rows = []
    for row in group.rows:
        name = clean(Derived(row.summary).parameters.get("method") or row.name, 24)
        marked = [tag("small", mark, class_="bad") for mark in marks(row.summary) if mark != NOT_VALID]
        rows.append([tag("th", name, *marked, scope="row"), *(cell(column, row) for column in shown)])
    return grid([tag("th", "Method", scope="col"), *(head(column) for column in shown)], rows, "numbers")


def _remarks(methods: Entries, manifest: Mapping[str, Any]) -> list[str]:
    told = [f"{clean(name, 24)}: {clean(entry['reason'])}" for name, entry in methods.items() if entry.get("reason")]
    for name, entry in methods.items():
        clipped, replay = (
            _number(entry, "clipped_slopes"),
            part_of(part_of(entry, "metrics"), "replay_energy_j"),
        )
        if clipped:
            told.append(
                f"{clean(name, 24)}: {clipped:,.0f} slopes were beyond what a byte can hold and stand at its end"
            )
        if number(replay.get("value")) is not None:
            told.append(f"{clean(name, 24)}: who joined late replayed the steps before with {quantity(replay)}")
    told += [
        f"{clean(found.get('method'), 24)}: steps keep time with {clean(found.get('channel'), 40)}, renewed every "
        f"{number(found.get('period_s')) or 0:.3g} s: if it looks at a part of that only, joules of a step may be off"
        for found in mappings(manifest.get("resonance"))
        if found.get("in_time")
    ]
    return told


def _loss_chart(lines: Mapping[str, list[Point]], title: str, x: str, key: str) -> Markup | None:
    shown = [
        CurveLine(clean(name, 24), points, SERIES[k % len(SERIES)]) for k, (name, points) in enumerate(lines.items())
    ]
    if not any(len(curve.points) > 1 for curve in shown):
        return None
    told = "; ".join(f"{c.name}: {c.points[0].y:.3g} to {c.points[-1].y:.3g} at {c.points[-1].x:.4g}" for c in shown)
    return join([tag("h4", title), chart(curves(shown, Texts(title, x, "training loss", told), key))])


def _split_chart(methods: Entries, key: str, mark: str) -> Markup | None:
    parts = {
        name: [_number(entry, f"{phase}_energy_per_step_j") for phase in PHASES] for name, entry in methods.items()
    }
    known = {name: [x or 0.0 for x in values] for name, values in parts.items() if any(values)}
    if not known:
        return None
    scale = scale_for("J", [sum(values) for values in known.values()])
    shown = [Split(clean(name, 24), [x * scale.factor for x in values]) for name, values in known.items()]
    title = "Where the energy of a step goes"
    drawn = splits(shown, PHASES, title, f"energy per step, {scale.unit}{mark}", key)
    return join([tag("h4", title), chart(drawn)])


def _memory_table(methods: Entries) -> Markup | None:
    """What takes memory in a step, by method."""
    parts = ("tensors", "weights", "optimizer", "gradients", "activations")
    known = {name: [_number(entry, f"{part}_memory_bytes") for part in parts] for name, entry in methods.items()}
    if not any(values[0] for values in known.values()):
        return None
    defined = definitions_of("train")
    heads = ["Method", *(f"{defined[f'{part}_memory_bytes'].label}, MB" for part in parts)]
    rows = [
        [tag("th", clean(name, 24), scope="row"), *(MISSING if x is None else f"{x / 1e6:,.2f}" for x in values)]
        for name, values in known.items()
    ]
    return join([tag("h4", "What takes memory in a step"), grid(heads, rows, "numbers")])


def _definitions() -> Markup:
    own = load(TRAIN.definitions)
    rows = [[tag("th", d.label, scope="row"), d.unit or MISSING, d.formula] for d in own]
    table = grid(["Figure", "Unit", "Definition"], rows, "words")
    return tag("details", tag("summary", "What these figures mean"), table)


def _number(entry: Mapping[str, Any], name: str) -> float | None:
    value = number(part_of(part_of(entry, "metrics"), name).get("value"))
    return value if value is not None and math.isfinite(value) else None
