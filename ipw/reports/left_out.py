"""What the total of a run is without, as its manifest tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ipw.reports.check import Check, made
from ipw.reports.metric import mappings

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


def _of_level(found: Sequence[Mapping[str, Any]], level: str) -> str:
    told = [f"{each.get('channel')}: {each.get('reason')}" for each in found if each.get("level") == level]
    return "; ".join([*told[:MOST_TOLD], *([f"{len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else [])])
