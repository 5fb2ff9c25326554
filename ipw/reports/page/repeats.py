"""Repetitions of one measurement that do not agree: whose interval lies apart from the others', and far from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from ipw.metrics.definitions import DEFINITIONS
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.reports.text import scale_for, value_text
from ipw.runs.readings import is_estimate
from ipw.runs.recorded import part_of

FAR = 1.25
"""Times as much or as little as the others: intervals of long runs lie apart by less than anybody minds."""
COSTS = ("energy_per_query_j", "energy_per_output_token_j", "mean_power_w")
"""The first that is known is compared."""


class Repeat(NamedTuple):
    """One run of several alike."""

    number: int
    """From 1, as people count."""
    metric: Mapping[str, Any]


def apart(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each series of repetitions, at each level of its load, which of its runs are far outside the others."""
    alike: dict[tuple[str, object], list[Mapping[str, Any]]] = {}
    for summary in summaries:
        workload = Derived(summary).workload
        series, parameters = part_of(workload, "series"), part_of(workload, "parameters")
        if isinstance(series.get("id"), str):
            alike.setdefault((series["id"], parameters.get("concurrency")), []).append(summary)
    several = len(alike) > 1
    return [
        f"{text} ({level} in flight)" if several and level is not None else text
        for (_, level), runs in alike.items()
        for text in _apart(runs)
    ]


def _apart(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    for name in COSTS:
        repeats = [
            Repeat(_repetition(run), metric)
            for run in runs
            if number((metric := part_of(part_of(run, "metrics"), name)).get("value")) is not None
        ]
        if len(repeats) > 1:
            return _compared(name, repeats)
    return []


def _repetition(run: Mapping[str, Any]) -> int:
    return int(number(part_of(part_of(run, "workload"), "series").get("repetition")) or 0) + 1


def _compared(name: str, repeats: Sequence[Repeat]) -> list[str]:
    """Name the runs that are far outside; of two, neither is known to be the right one."""
    far = [each for each in repeats if _is_far(each, [other for other in repeats if other is not each])]
    if not far:
        return []
    definition = DEFINITIONS[name]
    scale = scale_for(definition.unit, [number(each.metric.get("value")) for each in repeats])

    def text(each: Repeat) -> str:
        mark = " (estimated)" if is_estimate(each.metric.get("method")) else ""
        return f"{value_text(each.metric, scale)} {scale.unit}{mark}"

    what = definition.label[:1].lower() + definition.label[1:]
    others = [each for each in repeats if each not in far]
    if not others:
        listed = ", ".join(f"{text(each)} in repetition {each.number}" for each in far)
        return [f"repetitions do not agree, and their intervals lie apart: {what} {listed}"]
    low, high = text(min(others, key=_value)), text(max(others, key=_value))
    rest = low if low == high else f"{low} to {high}"
    return [f"repetition {each.number} is far outside the others: {what} {text(each)}, theirs {rest}" for each in far]


def _is_far(each: Repeat, others: Sequence[Repeat]) -> bool:
    middle, value = median(_value(other) for other in others), _value(each)
    low, high = (min(middle, value), max(middle, value))
    return high > FAR * low and all(_disjoint(each.metric, other.metric) for other in others)


def _disjoint(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    ends = [number(x.get(end)) for x in (a, b) for end in ("low", "high")]
    if None in ends:
        return False
    a_low, a_high, b_low, b_high = (float(x or 0.0) for x in ends)
    return a_high < b_low or b_high < a_low


def _value(each: Repeat) -> float:
    return number(each.metric.get("value")) or 0.0
