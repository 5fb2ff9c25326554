"""Energy curves of a stored run, and its power over time, from the raw readings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ipw.energy.curve import Curve, Floats, Ints, add_curves, energy_at
from ipw.metrics.metric import sensors
from ipw.runs.curves import with_shapes
from ipw.runs.recorded import Recorded


def total_channels(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Channels whose sum is the run's energy."""
    return [c for c in with_shapes(sensors(manifest)) if c.get("in_total") and isinstance(c.get("index"), int)]


def total_curve(recorded: Recorded) -> Curve:
    """Sum over the devices of the total, for showing."""
    return add_curves(list(recorded.total_curves.values()))


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
