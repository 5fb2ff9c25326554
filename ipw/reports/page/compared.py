"""What several runs without a winner have in common and where they differ, in one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.names import model_name
from ipw.reports.ranking import Group, Row
from ipw.reports.text import scale_for, shortened

MOST_NAMED, LONGEST_LIST, LONGEST_NAME = 4, 72, 40
"""So many names fit into a heading, and so many characters of them."""


def compared(found: Sequence[Group]) -> str:
    """Say what is shown: the runs by name, or how many of which models; and what came out where it is one thing."""
    rows = sorted((row for group in found for row in group.rows), key=lambda row: row.position)
    same_questions = len({(group.kind, group.dataset) for group in found}) == 1
    accuracy = [_value(row, "accuracy") for row in rows]
    right = [each for each in accuracy if each is not None]
    if not same_questions or len(right) < len(rows):
        return f"{_subject(rows)} side by side"
    joules = _range_of_joules(rows, estimated=found[0].estimated) if len(found) == 1 else ""
    return f"{_subject(rows)}: {_range([f'{100 * x:.1f}' for x in (min(right), max(right))])} % right{joules}"


def _subject(rows: Sequence[Row]) -> str:
    names = [shortened(row.name, LONGEST_NAME) for row in rows]
    if len(names) <= MOST_NAMED and len(", ".join(names)) <= LONGEST_LIST:
        return _listed(names)
    kinds = Counter(clean(Derived(row.summary).kind or "", 24) for row in rows)
    models = list(dict.fromkeys(shortened(clean(model_name(row.summary)), LONGEST_NAME) for row in rows))
    if len(kinds) > 1:
        each = [f"{count} of {kind or 'an unknown workload'}" for kind, count in kinds.most_common()]
        return f"{len(rows)} runs ({', '.join(each)})"
    if len(models) <= MOST_NAMED and len(", ".join(models)) <= LONGEST_LIST:
        return f"{len(rows)} runs of {_listed(models)}"
    return f"{len(rows)} runs of {len(models)} models"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _range_of_joules(rows: Sequence[Row], *, estimated: bool) -> str:
    values = [x for row in rows if (x := _value(row, "energy_per_query_j")) is not None]
    if len(values) < len(rows):
        return ""
    scale = scale_for("J", [min(values)])
    fewer = 1 if estimated else 0  # an estimate is not known to three digits
    ends = _range([scale.text(x, max(scale.digits(x) - fewer, 0)) for x in (min(values), max(values))])
    return f", for {'an estimated ' if estimated else ''}{ends} {scale.unit} a question"


def _range(ends: Sequence[str]) -> str:
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _value(row: Row, name: str) -> float | None:
    return number(row.metrics.get(name, {}).get("value"))
