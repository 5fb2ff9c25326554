"""The result of a report in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ipw.metrics.accounting_text import first_line, unfinished
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.page.compared import compared
from ipw.reports.ranking import RANKED_BY, Group, Row, clearly_ahead
from ipw.reports.tables.by_method import to_one_loss
from ipw.reports.text import scale_for, value_text

MOST_TOLD = 2
"""Runs that fit into a sentence one by one."""


def headline(found: Sequence[Group]) -> str:
    """Say what came out: of one run its accuracy and energy, of several which gets most right per joule.

    What must be known before any number comes first.
    """
    return "; ".join([*_warnings([row for group in found for row in group.rows]), _result(found)])


def _warnings(rows: Sequence[Row]) -> Iterator[str]:
    """Of one run what became of its questions, where that is not all well; of several, which ones that concerns."""
    each = [(row.name, "; ".join(filter(None, (first_line(row.summary), unfinished(row.summary))))) for row in rows]
    told = [(name, text) for name, text in each if text]
    if len(told) > MOST_TOLD:
        yield f"{len(told)} of {len(rows)} runs lack answers"
    else:
        yield from (text if len(rows) == 1 else f"{name}: {text}" for name, text in told)


def _result(found: Sequence[Group]) -> str:
    rows = [row for group in found for row in group.rows]
    if not rows:
        return "Nothing was measured"
    ranked = [row for row in found[0].rows if row.rank]
    if len(ranked) > 1:
        return _winner(ranked, len(ranked) - 1)
    told = [(row, group) for group in found for row in group.rows]
    told = [(row, group) for row, group in told if _accuracy(row) is not None] or told
    if len(told) <= MOST_TOLD:
        return "; ".join(_alone(row, estimated=group.estimated) for row, group in told)
    return compared(found)


def _winner(ranked: Sequence[Row], others: int) -> str:
    first, second = ranked[:2]
    best, next_best = (number(row.metrics.get(RANKED_BY, {}).get("value")) for row in (first, second))
    if not clearly_ahead(first, second) or not best or not next_best:
        return f"{first.name} and {second.name} cannot be told apart in right answers per joule"
    behind = second.name if others == 1 else f"the next, {second.name}"
    times = best / next_best
    if times >= 1.5:
        return f"{first.name} gets {times:.1f} times as many answers right per joule as {behind}"
    return f"{first.name} gets {100 * (times - 1):.0f} % more answers right per joule than {behind}"


def _alone(row: Row, *, estimated: bool) -> str:
    accuracy = _accuracy(row)
    if accuracy is None:
        if told := _thriftiest(row, estimated=estimated):
            return told
        srp = number(row.metrics.get("segment_routing_best_performance", {}).get("value"))
        if srp is not None:
            return f"{row.name} routes with a local consistency (SRP) of {srp:.2f}"
        energy = row.metrics.get("energy_j", {})
        return f"{row.name} drew {_joules(energy, estimated=estimated)}"
    energy = row.metrics.get("energy_per_query_j", {})
    return f"{row.name} answers {100 * accuracy:.1f} % right, for {_joules(energy, estimated=estimated)} a question"


def _thriftiest(row: Row, *, estimated: bool) -> str:
    """Of training by several methods: which of them comes down to one loss for the fewest joules."""
    found = to_one_loss(Derived(row.summary).by_method)
    if found is None:
        return ""
    target, ((best, least), (second, more), *_) = found
    times = (number(more.get("value")) or 0.0) / (number(least.get("value")) or 1.0)
    joules = _joules(dict(least), estimated=estimated)
    return f"{clean(best, 24)} comes down to a training loss of {target:.3g} for {joules}, {clean(second, 24)} for \
{times:.1f} times as much"


def _accuracy(row: Row) -> float | None:
    return number(row.metrics.get("accuracy", {}).get("value"))


def _joules(energy: dict[str, object], *, estimated: bool) -> str:
    value, high = number(energy.get("value")), number(energy.get("high"))
    if value is None and high is None:
        return "an unknown number of joules"
    scale = scale_for("J", [value or high])
    plain = {"value": value, "high": high, "reason": energy.get("reason")} if value is None else {"value": value}
    return f"{'an estimated ' if estimated else ''}{value_text(plain, scale)} {scale.unit}"
