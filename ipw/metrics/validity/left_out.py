"""What the total of a run is without, as its manifest tells it, and whether it is that of the runs before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ipw.metrics.metric import mappings
from ipw.metrics.readings import total_channels
from ipw.metrics.validity.check import Check, made
from ipw.runs.recorded import Recorded

MOST_TOLD = 3


def left_out(manifest: Mapping[str, Any]) -> Iterator[Check]:
    """Make a check of each level of what was found, or asked for, and is not in the total."""
    found = mappings(manifest.get("left_out"))
    if told := _of_level(found, "error"):
        yield made("left out", ok=False, detail=told, level="error")
    if told := _of_level(found, "warning"):
        yield made("left out", ok=False, detail=told)
    if told := _of_level(found, "info"):
        yield made("left out", ok=True, detail=f"{told}; what it draws is within the basis")


def other_basis(manifest: Mapping[str, Any]) -> Iterator[Check]:
    """Check that a run measures what the first run of its series did: else the two are of different things."""
    first = Recorded(manifest).series.get("channels")
    if isinstance(first, list):
        began, now = (", ".join(sorted(map(str, names))) for names in (first, _total(manifest)))
        told = f"the series began with {began or 'nothing'}; this run measures {now or 'nothing'}"
        yield made("series", began == now, told if began != now else now or "nothing", "error")


def _total(manifest: Mapping[str, Any]) -> list[object]:
    return [channel.get("name") for channel in total_channels(manifest)]


def _of_level(found: Sequence[Mapping[str, Any]], level: str) -> str:
    told = [f"{each.get('channel')}: {each.get('reason')}" for each in found if each.get("level") == level]
    return "; ".join([*told[:MOST_TOLD], *([f"{len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else [])])
