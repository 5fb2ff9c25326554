"""Blocks and runs as a notebook shows them: small tables, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from ipw.api.joules import Energy
from ipw.errors import UsageError
from ipw.metrics.accounting_text import marks
from ipw.metrics.summary import stored_summary
from ipw.printable import clean
from ipw.reports.markup import Markup, tag
from ipw.reports.text import quantity
from ipw.runs.directory import RunDir
from ipw.runs.readings import is_estimate

MOST_ROWS = 50
RIGHT = "text-align:right"


class Block(Protocol):
    """What a measured block tells of itself."""

    name: str
    status: str
    start_ns: int
    end_ns: int | None

    @property
    def duration_s(self) -> float | None:
        """Seconds from begin to end."""

    @property
    def energy(self) -> Energy:
        """Joules from begin to end."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the joules are of, and how they were measured."""


def block_text(block: Block) -> str:
    """One line: name, time and joules."""
    if block.end_ns is None:
        return f"<{clean(block.name)}: {'running' if block.start_ns else 'not begun'}>"
    return f"<{clean(block.name)}: {_seconds(block.duration_s)}, {_block_joules(block)}>"


def block_html(block: Block) -> Markup:
    """A table of one row."""
    mark = " (estimated)" if _estimated(block.facts) else ""
    power = block.energy.value and block.duration_s and block.energy.value / block.duration_s
    row = (block.name, block.status, _seconds(block.duration_s), _block_joules(block), _watts(power) + mark)
    return _table(("block", "status", "time", "energy", "power"), [row], _source(block.facts))


def run_html(run: RunDir) -> Markup:
    """The spans of a run, the longest first; their joules once they were derived."""
    manifest = run.manifest()
    table = run.read_table("spans")
    rows = list(run.journal("span")) if table is None else table.to_pylist()
    rows.sort(key=lambda row: row["start_ns"] - row["end_ns"])
    estimated = _estimated(manifest)
    cells = [
        (row.get("name"), row["phase"], _seconds((row["end_ns"] - row["start_ns"]) / 1e9), _joules(row, estimated))
        for row in rows[:MOST_ROWS]
    ]
    more = f"; {len(rows) - MOST_ROWS} more spans" if len(rows) > MOST_ROWS else ""
    return _table(("span", "phase", "time", "energy"), cells, _source(manifest) + _validity(run) + more)


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> Markup:
    head = tag("tr", *(tag("th", text, style=RIGHT if i > 1 else None) for i, text in enumerate(heads)))
    body = (tag("tr", *(tag("td", cell, style=RIGHT if i > 1 else None) for i, cell in enumerate(row))) for row in rows)
    return tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))


def _source(facts: Mapping[str, Any]) -> str:
    estimated = ", estimated" if _estimated(facts) else ""
    return f"basis: {facts.get('basis') or 'none'}{estimated}"


def _validity(run: RunDir) -> str:
    try:
        summary = stored_summary(run)
    except UsageError:
        summary = None
    if summary is None:
        return "; not derived yet"
    return "".join(f"; {mark}" for mark in marks(summary))


def _estimated(facts: Mapping[str, Any]) -> bool:
    return is_estimate(facts.get("method"))


def _block_joules(block: Block) -> str:
    value, low, high, reason, _ = block.energy
    told = quantity({"value": value, "low": low, "high": high, "unit": "J", "reason": reason})
    return f"{told} (estimated)" if _estimated(block.facts) else told


def _joules(row: Mapping[str, Any], estimated: bool) -> str:
    value, low, high = (row.get(name) for name in ("energy_j", "energy_low_j", "energy_high_j"))
    told = quantity({"value": value, "low": low, "high": high, "unit": "J", "reason": "not known"})
    return f"{told} (estimated)" if estimated else told


def _seconds(value: float | None) -> str:
    return quantity({"value": value, "unit": "s"})


def _watts(value: float | None) -> str:
    return quantity({"value": value, "unit": "W"})
