"""The state of a study as a table in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ipw.printable import clean
from ipw.reports.text import MISSING, quantity
from ipw.studies.book import Entry

STYLES = {"done": "green", "failed": "red", "running": "yellow", "waiting": "dim"}


def drawn(name: str, entries: Sequence[Entry]) -> Group:
    """Lay a study's state out for people."""
    counts = Counter(str(entry["status"]) for entry in entries)
    joules = [entry["energy_j"] for entry in entries if entry.get("energy_j") is not None]
    total = quantity({"value": sum(joules), "unit": "J"}) if joules else "no joules"
    mark = " (estimated)" if any(entry.get("estimated") for entry in entries) else ""
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    table = Table(box=None, header_style="bold", pad_edge=False)
    heading = Text(f"{clean(name, 60)}: {told}; {total}{mark} so far", style="bold")
    for column in ("cell", "status", "node", "energy", "run, or why there is none"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        status = str(entry["status"])
        energy = entry.get("energy_j")
        shown = MISSING if energy is None else quantity({"value": energy, "unit": "J"})
        marks = [clean(mark, 60) for mark in entry.get("marks") or ()]
        table.add_row(
            Text(clean(entry.get("cell"), 80)),
            Text("\n".join([status, *marks]), style="yellow" if marks else STYLES.get(status, "")),
            Text(clean(entry.get("node") or MISSING, 40)),
            Text(shown),
            Text(clean(entry.get("run") or entry.get("error") or MISSING, 160)),
        )
    return Group(heading, table)
