"""Runs side by side as tables: in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ipw.metrics.accounting_text import account_notes, marks
from ipw.metrics.definitions import Definition, definitions_of
from ipw.metrics.metric import Metric, number
from ipw.registry import answers_questions
from ipw.reports.ranking import OTHER_QUESTIONS, Group, Row, Summary, groups
from ipw.reports.tables.asked_for import asked_for
from ipw.reports.tables.by_method import by_method, method_notes
from ipw.reports.tables.columns import columns_of
from ipw.reports.text import MISSING, Scale, interval_text, lopsided, quantity, spread_text, table_scale, value_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["Column", "columns", "markdown", "quantity", "terminal"]

LEFT_OUT_WHEN_NARROW = (
    "energy_per_output_token_j", "energy_per_committed_token_j", "energy_per_correct_j", "output_tokens_per_s",
    "mean_power_w", "mean_query_power_w", "computed_share", "idle_power_w", "cache_knee_bytes",
)  # fmt: skip
"""The first one first. Accuracy, IPW, IPJ, joules and latency always stay."""
MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]()#|!~$"} | {c: f"&#{ord(c)};" for c in "<>&"})
UNITS = {"latency_p50_s": "{}, p50", "output_tokens_per_s": "tokens{}"}


class Column(NamedTuple):
    """One metric, in one unit for all rows of a group."""

    name: str
    label: str
    unit: str
    scale: Scale
    estimated: bool
    definition: Definition

    def metric(self, row: Row) -> Metric:
        """The row's entry; one without a value where the summary has none."""
        return row.metrics.get(self.name, {"value": None, "reason": "not in this summary"})

    def value(self, row: Row) -> str:
        """The value in the column's unit."""
        return value_text(self.metric(row), self.scale)


def columns(group: Group, beside: Sequence[Group] = ()) -> list[Column]:
    """Choose the columns that suit the group's workload, and a unit for each that suits the groups `beside` it too."""
    found, defined = [], definitions_of(group.kind)
    for name, label in columns_of(group.kind, [row.metrics for row in group.rows]):
        entries = [row.metrics.get(name, {}) for each in (group, *beside) for row in each.rows]
        values = [number(entry.get("value")) or number(entry.get("high")) for entry in entries]
        scale = table_scale(name, defined[name].unit, values)
        unit = UNITS.get(name, "{}").format(scale.unit)
        found.append(Column(name, label, unit, scale, group.estimated and defined[name].is_energy, defined[name]))
    return found


def terminal(summaries: Sequence[Summary], console: Console) -> None:
    """Print one table a group, each value with its 95 % interval below, in one unit a metric for all of them.

    Intervals are `±` in the unit of their column; in a table with a lopsided one, all are `[low, high]`.
    """
    from rich.text import Text

    from ipw.reports.tables.fitted import fitted

    found = groups(by_method(summaries))
    for place, group in enumerate(found):
        if place:
            console.print()
        ranked = any(row.rank for row in group.rows)
        shown = columns(group, found)
        write = interval_text if any(lopsided(c.metric(row)) for c in shown for row in group.rows) else spread_text
        heads = [Text("Model" if answers_questions(group.kind) else "Run"), *map(_heading, shown)]
        rows = []
        for row in group.rows:
            name = f"{row.rank}. {row.name}" if ranked and row.rank else row.name
            told = [", ".join(row.told)] if row.told else []
            shown_name = Text("\n".join([name, *told]), style="yellow" if marks(row.summary) else "")
            rows.append([shown_name, *(_cell(column, row, write) for column in shown)])
        drop = [1 + i for name in LEFT_OUT_WHEN_NARROW for i, column in enumerate(shown) if column.name == name]
        console.print(Text(group.title, style="bold"), soft_wrap=True)
        console.print()
        for line in fitted(heads, rows, console.width, drop=drop):
            console.print(line)
        console.print()
        for note in notes(group):
            console.print(Text(note, style="dim"))


def notes(group: Group) -> Iterator[str]:
    """Say what a reader of the group's table must know."""
    if group.estimated:
        yield "Estimated from load, not measured: good to ±50 % at best. Estimates are not ranked."
    if group.source:
        yield f"Imported: the figures of {group.source} as it tells them. Imports are not ranked."
    if group.across_devices:
        yield "Different devices: the intervals of joules and watts include the gain of their sensors."
    if any(name == "mean_query_power_w" for name, _ in columns_of(group.kind, [row.metrics for row in group.rows])):
        yield "IPW is accuracy / power of a query (Query, W); IPJ is accuracy / energy of a query (Query, J)."
    if any(OTHER_QUESTIONS in row.told for row in group.rows):
        yield "Not all rows answered the same questions: compare only those of one n and without that mark."
    for row in group.rows:
        yield from (told if len(group.rows) == 1 else f"{row.name}: {told}" for told in asked_for(row.summary))
    yield from method_notes([(row.name, row.summary) for row in group.rows])
    yield from account_notes([(row.name, row.summary) for row in group.rows])


def markdown(summaries: Sequence[Summary]) -> str:
    """Write one table a group, each value with its 95 % interval."""
    return "\n".join(_markdown_table(group) for group in groups(by_method(summaries)))


def _heading(column: Column) -> Text:
    from rich.text import Text

    heading = Text(f"{column.label}\n")
    heading.append(column.unit, style="not bold dim")
    if column.estimated:
        heading.append("\nestimated", style="yellow")
    return heading


def _cell(column: Column, row: Row, write: Callable[[Metric, Scale], str]) -> Text:
    from rich.text import Text

    cell = Text(column.value(row))
    interval = write(column.metric(row), column.scale)
    return cell.append(f"\n{interval}", style="dim") if interval else cell


def _markdown_table(group: Group) -> str:
    shown = columns(group)
    heads = ["Model" if answers_questions(group.kind) else "Run"]
    heads += [f"{c.label} ({c.unit}{', estimated' if c.estimated else ''})" for c in shown]
    lines = [f"**{_escaped(group.title)}**", "", _markdown_row(heads), _markdown_row(["---", *["---:"] * len(shown)])]
    for row in group.rows:
        cells = [" ".join((c.value(row), interval_text(c.metric(row), c.scale))).strip() for c in shown]
        name = _escaped(row.marked)
        lines.append(_markdown_row([f"{row.rank}. {name}" if row.rank else name, *cells]))
    return "\n".join([*lines, "", *(f"{_escaped(note)}\n" for note in notes(group))])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.translate(MARKDOWN) or MISSING
