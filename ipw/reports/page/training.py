"""The training section of a page: what a step costs by method, and what it teaches for that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ipw.metrics.accounting_text import NOT_VALID, marks
from ipw.metrics.definitions import definitions_of
from ipw.metrics.derived import Derived
from ipw.metrics.metric import mappings, number
from ipw.printable import clean
from ipw.registry import TRAIN, load
from ipw.reports.charts.axes import Series
from ipw.reports.markup import Markup, join, tag
from ipw.reports.page.results import cell, drawn, grid, head, section
from ipw.reports.plots.training import Entries, Lines, looks, loss_lines, loss_plot, step_split
from ipw.reports.ranking import Group, groups
from ipw.reports.tables.by_method import by_method, to_one_loss
from ipw.reports.tables.runs import columns
from ipw.reports.text import MISSING, quantity
from ipw.reports.view import View
from ipw.runs.directory import RunDir
from ipw.runs.readings import is_estimate
from ipw.runs.recorded import part_of

LEAD = """Every method starts from the same weights and reads the same data in the same order, in a process of its \
own. Warm-up, data and evaluation are not part of a step."""


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
    lines, series = loss_lines(run), looks(list(methods))
    estimated = is_estimate(summary.get("method"))
    mark = ", estimated" if estimated else ""
    return join(
        [
            _answer(methods, estimated=estimated),
            _table(summary),
            *(tag("p", told, class_="note") for told in _remarks(methods, manifest)),
            _loss_chart(
                lines["joules"], series, "Loss against energy", f"energy of the steps, J{mark}", f"{key}-loss-joules"
            ),
            _loss_chart(lines["steps"], series, "Loss against steps", "steps", f"{key}-loss-steps"),
            _split_chart(methods, f"{key}-phases", estimated=estimated),
            _memory_table(methods),
            _definitions(),
        ]
    )


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


def _loss_chart(lines: Lines, series: Mapping[str, Series], title: str, x: str, key: str) -> Markup | None:
    one = drawn(loss_plot(lines, series, title, x), key)
    return join([tag("h4", title), one]) if one else None


def _split_chart(methods: Entries, key: str, *, estimated: bool) -> Markup | None:
    shown = step_split(methods, estimated=estimated)
    return join([tag("h4", shown.title), drawn(shown, key)]) if shown else None


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
