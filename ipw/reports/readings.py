"""Energy curves of a stored run, and its power over time, from the raw readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.energy.curve import Curve, Floats, Ints, add_curves, counter_curve, energy_at, power_curve
from ipw.reports.metric import number, sensors

Readings = npt.NDArray[np.void]


def of_channel(readings: Readings, channel: Mapping[str, Any]) -> Readings:
    """Readings of one channel; none where it was never read."""
    index = channel.get("index")
    return readings[readings["channel"] == index] if isinstance(index, int) else readings[:0]


def total_channels(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Channels whose sum is the run's energy."""
    return [c for c in sensors(manifest) if c.get("in_total") and isinstance(c.get("index"), int)]


def channel_curve(readings: Readings, channel: Mapping[str, Any]) -> Curve:
    """Cumulative energy of one channel in joules or watts."""
    mine = of_channel(readings, channel)
    columns = (mine["t_ns"], mine["value"], mine["status"], mine["uncertainty_ns"])
    gain_rel = number(channel.get("gain_rel")) or 0.0
    if channel.get("kind") == "counter":
        return counter_curve(
            *columns,
            ticks=bool(channel.get("ticks")),
            range_j=number(channel.get("range_j")),
            max_power_w=number(channel.get("max_power_w")),
            resolution_j=number(channel.get("resolution_j")),
            gain_rel=gain_rel,
        )
    return power_curve(*columns, update_period_s=number(channel.get("update_period_s")), gain_rel=gain_rel)


def total_curve(readings: Readings, channels: Sequence[Mapping[str, Any]]) -> Curve:
    """Sum over devices, for showing."""
    return add_curves([channel_curve(readings, channel) for channel in channels])


def mean_power(curve: Curve, edges_ns: Ints) -> Floats:
    """Mean watts between successive edges: every joule is in one of them. NaN outside the curve and within its gaps."""
    edges = np.asarray(edges_ns, np.int64)
    if curve.t_ns.size < 2:
        return np.full(max(edges.size - 1, 0), np.nan)
    power: Floats = np.diff(energy_at(curve, edges)) / np.diff(edges) * 1e9
    middle = (edges[1:] + edges[:-1]) / 2
    known = (middle >= curve.t_ns[0]) & (middle <= curve.t_ns[-1])
    for start, end in curve.gaps_ns:
        known &= (middle < start) | (middle > end)
    return np.where(known, power, np.nan)
