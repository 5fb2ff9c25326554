"""The parts of a page that show results: each makes one section, or nothing where it has nothing to say."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any

from ipw.metrics.accounting_text import marks
from ipw.metrics.definitions import DEFINITIONS, Definition, definitions_of
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.registry import LM, answers_questions
from ipw.reports.answers import MOST_WRONG
from ipw.reports.charts.axes import NARROW, WIDE, marker
from ipw.reports.charts.plot import Bars, Plot
from ipw.reports.charts.power import power_timeline
from ipw.reports.charts.queries import SubjectRow, distributions, subjects
from ipw.reports.charts.svg import bars_svg, plot_svg
from ipw.reports.markup import Markup, join, tag
from ipw.reports.page.isolated import isolated
from ipw.reports.plots.accuracy import accuracy_energy, spot_of, subject_spots, value_of
from ipw.reports.plots.tokens import samples_of
from ipw.reports.ranking import Group, Row
from ipw.reports.tables.columns import columns_of
from ipw.reports.tables.runs import Column, columns, notes
from ipw.reports.text import interval_text, quantity, scale_for, value_text
from ipw.reports.view import View
from ipw.runs.recorded import Recorded, part_of

LM_TILES = (
    "accuracy", "accuracy_per_joule", "accuracy_per_watt", "energy_per_query_j", "mean_power_w", "latency_p50_s"
)  # fmt: skip
MOST_TILES = 6
MOST_SUBJECTS = 60
LONGEST_ANSWER = 300


def section(key: str, title: str, *parts: object, lead: object = None) -> Markup:
    """One section with its heading and an introducing sentence."""
    introduction = tag("p", lead, class_="lead") if lead else None
    return tag("section", tag("h2", title, id=key), introduction, *parts, aria_labelledby=key)


def grid(heads: Iterable[object], rows: Iterable[Iterable[object]], class_: str | None = None) -> Markup:
    """Make a table; cells that are no `td` yet become one. On a phone each row is a card that names its cells."""
    heads = list(heads)
    head = tag("thead", tag("tr", *(h if isinstance(h, Markup) else tag("th", h, scope="col") for h in heads)))
    names = [_words(h) for h in heads]
    body = tag("tbody", *(tag("tr", *map(_labelled, row, chain(names, repeat("")))) for row in rows))
    return tag("div", tag("table", head, body, class_=f"{class_ or ''} cards".strip()), class_="scroll", tabindex=0)


def _words(heading: object) -> str:
    """Read a heading as text: `Query (mJ, estimated)`."""
    if not isinstance(heading, Markup):
        return str(heading)
    name, *more = [html.unescape(part).strip() for part in re.split(r"<[^>]*>", heading) if part.strip()]
    return f"{name} ({', '.join(more)})" if more else name


def _labelled(cell_: object, name: str) -> Markup:
    """Make a cell, and let it say what it is where its heading is not shown."""
    made = cell_ if isinstance(cell_, Markup) and _is_cell(cell_) else tag("td", cell_)
    if not name or made.startswith("<th"):
        return made
    return Markup(made.replace("<td", tag("td", data_label=name).removesuffix("></td>"), 1))


def chart(svg: Markup) -> Markup:
    """Let a chart be moved sideways where the window is narrower than its text can bear."""
    return tag("div", svg, class_="scroll", tabindex=0)


def drawn(shown: Plot | Bars | None, key: str) -> Markup | None:
    """Draw a chart as wide as the window needs it; `None` where there is nothing to show."""
    if isinstance(shown, Bars):
        return reflowing(partial(bars_svg, shown), key)
    return None if shown is None else reflowing(partial(plot_svg, shown), key)


def reflowing(draw: Callable[[str, int], Markup], key: str) -> Markup:
    """Draw twice, for a window and for a phone; the style shows the one that fits."""
    wide, narrow = draw(key, WIDE), draw(f"{key}-narrow", NARROW)
    return join(
        [tag("div", wide, class_="scroll wide", tabindex=0), tag("div", narrow, class_="scroll narrow", tabindex=0)]
    )


def _is_cell(x: object) -> bool:
    return isinstance(x, Markup) and x.startswith(("<td", "<th"))


# --- ranking --------------------------------------------------------------------------------------------------------


def ranking(views: Sequence[View], found: Sequence[Group]) -> Markup | None:
    """One table a group, every number with its interval."""
    if not views:
        return None
    parts: list[Markup] = []
    for group in found:
        parts.append(tag("h3", group.title))
        shown = columns(group)
        heads = [
            tag("th", "Model" if answers_questions(group.kind) else "Run", scope="col"),
            *(head(c) for c in shown),
        ]
        rows = [[_name(row, views[row.position]), *(cell(c, row) for c in shown)] for row in group.rows]
        parts.append(grid(heads, rows, "numbers sortable"))
        names = [row.name for row in group.rows]
        parts += [tag("p", isolated(note, names), class_="note") for note in notes(group)]
    lead = "Measured runs are ranked by accuracy per joule (IPJ). Accuracy per watt (IPW) alone rewards slowness: read \
it beside IPJ and latency. Brackets hold 95 % intervals."
    lead = lead if any(answers_questions(group.kind) for group in found) else "Brackets hold 95 % intervals."
    return section("results", "Results", *parts, lead=lead)


def head(column: Column) -> Markup:
    """The heading of a column, with its unit."""
    estimated = tag("em", "estimated") if column.estimated else None
    formula = f"{column.definition.label}: {column.definition.formula}"
    return tag("th", column.label, tag("small", column.unit), estimated, scope="col", title=formula)


def _name(row: Row, view: View) -> Markup:
    rank = tag("span", f"{row.rank}", class_="rank") if row.rank else None
    marked = [tag("small", mark, class_="bad") for mark in marks(row.summary)]
    return tag("th", rank, swatch(view), tag("bdi", row.name), *marked, scope="row")


def cell(column: Column, row: Row) -> Markup:
    """One number with its interval, and how it was made."""
    metric = column.metric(row)
    interval = interval_text(metric, column.scale)
    value = number(metric.get("value"))
    shown = (column.value(row), tag("small", interval) if interval else None)
    return tag(
        "td",
        *shown,
        title=origin(column.name, metric, column.definition),
        data_value="" if value is None else repr(value),
    )


def origin(name: str, metric: Mapping[str, Any], definition: Definition | None = None) -> str:
    """Tell how a number was made: definition, count, method, interval, and why it is missing where it is."""
    definition = definition or DEFINITIONS.get(name)
    parts = [
        f"{definition.label} = {definition.formula}" if definition else name,
        f"n = {metric.get('n')}" if metric.get("n") is not None else "",
        f"method: {metric.get('method')}" if metric.get("method") else "",
        f"interval: {metric.get('interval')}" if metric.get("interval") else "",
        str(metric.get("reason") or ""),
    ]
    return "; ".join(part for part in parts if part)


def swatch(view: View) -> Markup:
    """Draw the run's marker, as in the charts."""
    shape = marker(7, 7, view.series, hollow=view.estimated, size=4.5)
    return tag("svg", shape, viewBox="0 0 14 14", class_="swatch", aria_hidden="true")


def tiles(view: View) -> Markup:
    """The main numbers of a single run, large."""
    metrics, kind = Derived(view.summary).metrics, Recorded(view.manifest).kind
    names = LM_TILES if kind == LM.name else [name for name, _ in columns_of(kind, [metrics])][:MOST_TILES]
    defined = definitions_of(kind)
    tiles = (_tile(defined[name], metrics.get(name, {}), estimated=view.estimated) for name in names)
    return tag("div", *tiles, class_="tiles")


def _tile(definition: Definition, metric: Mapping[str, Any], *, estimated: bool) -> Markup:
    scale = scale_for(definition.unit, [number(metric.get(key)) for key in ("value", "high")][:1])
    marked = " (estimated)" if estimated and definition.is_energy else ""
    value = tag("b", value_text(metric, scale), tag("small", f" {scale.unit}"))
    below = interval_text(metric, scale) or str(metric.get("reason") or "")
    return tag(
        "div",
        tag("span", definition.label + marked),
        value,
        tag("small", below),
        title=origin(definition.name, metric, definition),
    )


# --- charts ---------------------------------------------------------------------------------------------------------


def tradeoff(views: Sequence[View], found: Sequence[Group]) -> Markup | None:
    """Accuracy against energy, one chart for every group that has both."""
    if len(views) == 1:
        return _tradeoff_by_subject(views[0])
    charts = []
    for index, group in enumerate(found):
        placed = [(row, views[row.position]) for row in group.rows]
        spots = [spot for row, view in placed if (spot := spot_of(view.name, row.metrics, view))]
        if one := drawn(accuracy_energy(spots), f"tradeoff{index}"):
            charts.append(join([tag("h3", group.title) if len(found) > 1 else None, one]))
    lead = """Up and to the left is better. Whiskers are 95 % intervals; a dashed line joins the measured runs that no \
other beats in both."""
    return section("tradeoff", "Accuracy against energy", *charts, lead=lead) if charts else None


def _tradeoff_by_subject(view: View) -> Markup | None:
    spots = subject_spots(view, MOST_SUBJECTS)
    if len(spots) < 2:
        return None
    lead = "One point a subject. Up and to the left is better. Whiskers are 95 % intervals."
    one = drawn(accuracy_energy(spots, front=False), "tradeoff0")
    return section("tradeoff", "Accuracy against energy", one, lead=lead)


def power(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """Power over time of every run."""
    charts = [
        join(
            [
                tag("h3", swatch(view), tag("bdi", view.name)) if len(views) > 1 else None,
                reflowing(partial(_power_of, view), f"power-{view.key}"),
            ]
        )
        for view in views
        if view.timeline is not None
    ]
    lead = "All devices of the basis together, with what ran meanwhile above."
    return section("power", "Power over time", *charts, lead=lead) if charts else None


def _power_of(view: View, key: str, width: int) -> Markup:
    assert view.timeline is not None
    return power_timeline(view.timeline, key, view.name, view.series, estimated=view.estimated, width=width)


def by_subject(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """Accuracy by subject as a chart, accuracy and energy as a table."""
    tables = {view.key: Derived(view.summary).by_subject for view in views}
    names = sorted({name for table in tables.values() for name in table})[:MOST_SUBJECTS]
    if len(names) < 2:
        return None
    rows = []
    for name in names:
        values = [(value_of(part_of(tables[v.key], name).get("accuracy")), v.series) for v in views]
        rows.append(SubjectRow(name, [(value, series) for value, series in values if value is not None]))
    key = join([tag("span", swatch(view), tag("bdi", view.name)) for view in views], " ")
    table = grid(
        ["Subject", "Run", "Queries", "Accuracy", "Energy per query", "Latency, p50"],
        [
            [
                name,
                view.name,
                *(_of_subject(view, tables[view.key][name], metric) for metric in SUBJECT_METRICS),
            ]
            for name in names
            for view in views
            if name in tables[view.key]
        ],
        "numbers plain",
    )
    more = tag("details", tag("summary", "As a table, with energy and latency"), table)
    legend = tag("p", key, class_="key") if len(views) > 1 else None
    return section("subjects", "By subject", legend, reflowing(partial(subjects, rows), "subjects-chart"), more)


SUBJECT_METRICS = ("queries", "accuracy", "energy_per_query_j", "latency_p50_s")


def _of_subject(view: View, metrics: Mapping[str, Any], name: str) -> str:
    metric = metrics.get(name, {})
    return quantity(metric) + (" (estimated)" if view.estimated and DEFINITIONS[name].is_energy else "")


def latency(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """Distributions of time to first token and of latency, over the queries that were answered."""
    charts = []
    for column, title in (("ttft_s", "time to first token"), ("latency_s", "latency")):
        samples = samples_of(views, column)
        if samples:
            charts.append(reflowing(partial(distributions, samples, title), f"{column}-chart"))
    lead = "Lines stand at the median, the 90th and the 99th percentile of the answered queries."
    return section("latency", "Latency", *charts, lead=lead) if charts else None


def wrong_answers(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """A few of the answers that scored lowest, as text."""
    rows = []
    for view in views:
        for answer in view.wrong:
            text = {name: clean(value, LONGEST_ANSWER) for name, value in answer.items()}
            said = text["response"] or f"no answer: {text['error'] or text['status']}"
            cells = (text["question"] or text["query_id"], text["subject"], text["answer"], said)
            rows.append([view.name, *(tag("bdi", cell) for cell in cells)])
    if not rows:
        return None
    table = grid(["Run", "Question", "Subject", "Expected", "Answered"], rows, "words")
    sample = f"A sample of up to {MOST_WRONG} a run, spread over the run."
    return section(
        "wrong", "Wrong answers", tag("details", tag("summary", f"{len(rows)} wrong answers"), table), lead=sample
    )
