"""The state of a study as a table in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from ipw.printable import clean
from ipw.reports.tables.fitted import fitted
from ipw.reports.text import MISSING, quantity
from ipw.studies.book import Entry

STYLES = {"done": "green", "failed": "red", "running": "yellow", "waiting": "dim"}


def drawn(name: str, entries: Sequence[Entry], width: int) -> Group:
    """Lay a study's state out for people, in at most `width` columns as far as its words allow."""
    counts = Counter(str(entry["status"]) for entry in entries)
    joules = [entry["energy_j"] for entry in entries if entry.get("energy_j") is not None]
    total = quantity({"value": sum(joules), "unit": "J"}) if joules else "no joules"
    mark = " (estimated)" if any(entry.get("estimated") for entry in entries) else ""
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    heading = Text(f"{clean(name, 60)}: {told}; {total}{mark} so far", style="bold")
    heads = [Text(head) for head in ("cell", "status", "node", f"energy{mark}", "run, or why there is none")]
    rows = []
    for entry in entries:
        status = str(entry["status"])
        energy = entry.get("energy_j")
        shown = MISSING if energy is None else quantity({"value": energy, "unit": "J"})
        marks = [clean(mark, 60) for mark in entry.get("marks") or ()]
        row = [
            Text(clean(entry.get("cell"), 80)),
            Text("\n".join([status, *marks]), style="yellow" if marks else STYLES.get(status, "")),
            Text(clean(entry.get("node") or MISSING, 40)),
            Text(shown),
            Text(clean(entry.get("run") or entry.get("error") or MISSING, 160)),
        ]
        rows.append(row)
    return Group(heading, *fitted(heads, rows, width, drop=[2], left=[1, 2, 4]))
