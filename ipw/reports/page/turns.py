"""The section of a page on conversations of a data set: what each turn cost, and how right it was."""

from __future__ import annotations

from collections.abc import Sequence

from ipw.metrics.definitions import definitions_of
from ipw.metrics.derived import objects
from ipw.metrics.metric import number
from ipw.reports.markup import Markup, tag
from ipw.reports.page.results import grid, origin, section
from ipw.reports.ranking import Group
from ipw.reports.text import interval_text, scale_for, value_text
from ipw.reports.view import View
from ipw.runs.recorded import Recorded

FIGURES = ("queries", "accuracy", "energy_per_query_j", "energy_per_output_token_j", "ttft_p50_s", "latency_p50_s")
LEAD = """Each turn of the user is answered in its place, after the model's own answers: the later a turn, the longer \
its prompt."""


def turns(views: Sequence[View], _groups: Sequence[Group]) -> Markup | None:
    """One table a run that asked conversations; nothing where none did."""
    parts = []
    for view in views:
        by_turn = objects(view.summary, "by_turn")
        if Recorded(view.manifest).kind == "lm" and by_turn:
            parts += [tag("h3", view.name)] if len(views) > 1 else []
            parts.append(_table(view, by_turn))
    return section("turns", "Turns", *parts, lead=LEAD) if parts else None


def _table(view: View, by_turn: object) -> Markup:
    found = objects({"found": by_turn}, "found")
    defined = definitions_of("lm")
    ordered = sorted(found, key=lambda turn: (len(turn), turn))
    heads, columns = [tag("th", "Turn", scope="col")], []
    for name in FIGURES:
        definition = defined[name]
        entries = [found[turn].get(name) or {} for turn in ordered]
        scale = scale_for(definition.unit, [number(entry.get("value")) for entry in entries])
        mark = tag("em", "estimated") if view.estimated and definition.is_energy else None
        unit = None if name == "queries" else tag("small", scale.unit)
        heads.append(tag("th", definition.label, unit, mark, scope="col", title=definition.formula))
        columns.append((definition, scale, entries))
    rows = []
    for index, turn in enumerate(ordered):
        cells = [
            tag(
                "td",
                value_text(entries[index], scale),
                tag("small", text) if (text := interval_text(entries[index], scale)) else None,
                title=origin(definition.name, entries[index], definition),
            )
            for definition, scale, entries in columns
        ]
        rows.append([tag("th", turn, scope="row"), *cells])
    return grid(heads, rows, "numbers plain")
