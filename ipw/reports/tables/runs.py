"""Runs side by side as tables: in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ipw.metrics.accounting_text import account_notes, marks
from ipw.metrics.definitions import Definition, definitions_of
from ipw.metrics.metric import Metric, number
from ipw.registry import answers_questions
from ipw.reports.ranking import Group, Row, Summary, groups
from ipw.reports.tables.asked_for import asked_for
from ipw.reports.tables.by_method import by_method, method_notes
from ipw.reports.tables.columns import columns_of
from ipw.reports.text import MISSING, Scale, interval_text, quantity, scale_for, spread_text, value_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["Column", "columns", "markdown", "quantity", "terminal"]

LEFT_OUT_WHEN_NARROW, WIDE = {"energy_per_output_token_j", "energy_per_committed_token_j", "energy_per_correct_j"}, 96
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


def columns(group: Group) -> list[Column]:
    """Choose the columns that suit the group's workload, and a unit for each."""
    found, defined = [], definitions_of(group.kind)
    for name, label in columns_of(group.kind, [row.metrics for row in group.rows]):
        entries = [row.metrics.get(name, {}) for row in group.rows]
        values = [number(entry.get("value")) or number(entry.get("high")) for entry in entries]
        scale = scale_for(defined[name].unit, values)
        unit = UNITS.get(name, "{}").format(scale.unit)
        found.append(Column(name, label, unit, scale, group.estimated and defined[name].is_energy, defined[name]))
    return found


def terminal(summaries: Sequence[Summary], console: Console) -> None:
    """Print one table a group, fit for 80 columns, with the larger side of each 95 % interval below the value."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    for group in groups(by_method(summaries)):
        ranked = any(row.rank for row in group.rows)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.padding = (0, 1 if console.width >= WIDE else 0, 0, 0)
        table.add_column(Text("Model" if answers_questions(group.kind) else "Run"), overflow="fold", min_width=8)
        shown = [c for c in columns(group) if console.width >= WIDE or c.name not in LEFT_OUT_WHEN_NARROW]
        for column in shown:
            table.add_column(_heading(column), justify="right", no_wrap=True)
        for row in group.rows:
            name = f"{row.rank}. {row.name}" if ranked and row.rank else row.name
            marked = marks(row.summary)
            shown_name = Text("\n".join([name, *marked]), style="yellow" if marked else "")
            table.add_row(shown_name, *(_cell(column, row) for column in shown))
        console.print(Text(group.title, style="bold"))
        console.print(table)
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


def _cell(column: Column, row: Row) -> Text:
    from rich.text import Text

    cell = Text(column.value(row))
    spread = spread_text(column.metric(row), column.scale)
    return cell.append(f"\n{spread}", style="dim") if spread else cell


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
    for character in "\\`*_{}[]()#|<>!~&":
        text = text.replace(character, f"\\{character}" if character not in "<>&" else f"&#{ord(character)};")
    return text or MISSING
