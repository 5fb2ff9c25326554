"""Whether too many readings failed: those that gave nothing, and those whose value cannot be true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.energy.belief.limits import MARGIN, most_power_w
from ipw.metrics.validity.check import Check, made
from ipw.runs.curves import limit_w, of_channel, refused
from ipw.runs.readings import Readings

MOST = 0.01
"""Of the readings of a channel."""
FEW_FAILED, FEW_IMPOSSIBLE = 3, 1
"""So many are never too many, of however few readings."""


def failed_reads(
    readings: Readings, total: Sequence[Mapping[str, Any]], windows: Sequence[tuple[int, int]]
) -> Iterator[Check]:
    """Count, within the windows and by channel of the total, what gave nothing; and tell what cannot be true.

    An outage counts as one failed read: what it leaves unknown, coverage tells.
    """
    counts = [_count(readings, channel, windows) for channel in total]
    failed, impossible, read = (sum(column) for column in zip(*counts, strict=True))
    many = any(
        failed + wrong > max(FEW_FAILED, MOST * count) or wrong > max(FEW_IMPOSSIBLE, MOST * count)
        for failed, wrong, count in counts
    )
    yield made("failed reads", not many, f"{failed + impossible} of {read}", "error")
    told = [
        f"{wrong} of {count} of {channel.get('name')} ({_beyond(readings, channel)})"
        for channel, (_, wrong, count) in zip(total, counts, strict=True)
        if wrong
    ]
    yield made("impossible values", not impossible, "; ".join(told) or "none")
    refuted = [text for channel in total if (text := _refuted(readings, channel))]
    if refuted:
        yield made("power limit", ok=False, detail="; ".join(refuted))


def _count(readings: Readings, channel: Mapping[str, Any], windows: Sequence[tuple[int, int]]) -> tuple[int, int, int]:
    """How many gave nothing, how many cannot be true, and how many there were."""
    mine = of_channel(readings, channel)
    inside = mine[_within(mine["t_ns"], windows)]
    impossible = int(_within(refused(readings, channel), windows).sum())
    return int((inside["status"] != 0).sum()), impossible, len(inside)


def _within(t_ns: npt.NDArray[np.int64], windows: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.any([(t_ns >= start) & (t_ns <= end) for start, end in windows], axis=0)
    return found


def _beyond(readings: Readings, channel: Mapping[str, Any]) -> str:
    return f"more than {MARGIN * limit_w(readings, channel):,.0f} W, nothing, or a code for no value"


def _refuted(readings: Readings, channel: Mapping[str, Any]) -> str | None:
    """Say that a device draws far more than the limit that it tells."""
    told_w, used_w = most_power_w(channel.get("scope"), channel.get("max_power_w")), limit_w(readings, channel)
    if used_w == told_w:
        return None
    return (
        f"{channel.get('name')} draws steadily more than {MARGIN * told_w:,.3g} W, all that the limit it tells allows: "
        f"that limit is not believed, and readings of up to {MARGIN * used_w:,.0f} W are"
    )
