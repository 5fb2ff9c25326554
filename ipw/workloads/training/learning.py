"""What training taught for its joules: energy to a loss, and the loss that a budget buys."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.curve import Z95
from ipw.workloads.training.smoothing import FEWEST, smoothed

Floats = npt.NDArray[np.float64]


class LossCurve(NamedTuple):
    """Steps of one method."""

    losses: Floats
    energy_j: Floats
    """Of each step; NaN where unknown."""
    margin_j: Floats
    """Half-width of its 95 % interval."""


class Bounded(NamedTuple):
    """A value with its 95 % interval; `None` where it is not known, or not bounded."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def reached(losses: Floats, target: float) -> tuple[int | None, int | None, int | None]:
    """Steps, counted from 1, until the smoothed loss is at `target`; the earliest and latest that its noise allows."""
    mean, error = smoothed(losses)
    at = _first(mean <= target)
    earliest, latest = _first(mean - Z95 * error <= target), _first(mean + Z95 * error <= target)
    return at, earliest, latest


def energy_to(curve: LossCurve, target: float) -> Bounded:
    """Joules of all steps up to the first at which the smoothed loss is at `target`.

    Its interval holds both the noise of the loss, which moves that step, and the error of measurement. Open above where
    the loss never went below the target by more than its noise.
    """
    at, earliest, latest = reached(curve.losses, target)
    if at is None or earliest is None:
        return Bounded(None, reason=f"the loss did not come down to {target:.4g}")
    total = np.cumsum(curve.energy_j)
    margin = np.sqrt(np.cumsum(curve.margin_j**2))
    if not math.isfinite(total[at - 1]):
        return Bounded(None, reason="energy was not attributed")
    low = max(float(total[earliest - 1] - margin[earliest - 1]), 0.0)
    high = None if latest is None else float(total[latest - 1] + margin[latest - 1])
    return Bounded(float(total[at - 1]), low, None if high is None or not math.isfinite(high) else high)


def loss_at(curve: LossCurve, budget_j: float) -> Bounded:
    """Smoothed loss after the last step that the budget pays for."""
    total = np.cumsum(curve.energy_j)
    if not total.size or not np.isfinite(total).all():
        return Bounded(None, reason="energy was not attributed")
    paid = int(np.searchsorted(total, budget_j * (1 + 1e-12), "right"))
    if paid < FEWEST:
        return Bounded(None, reason=f"the budget pays for {paid} steps, where a loss is the mean of {FEWEST} or more")
    mean, error = smoothed(curve.losses)
    value, half = float(mean[paid - 1]), Z95 * float(error[paid - 1])
    return Bounded(value, value - half, value + half)


def common_target(curves: list[LossCurve]) -> float | None:
    """The lowest smoothed loss that every method came down to; `None` where one has too few steps."""
    lowest = []
    for curve in curves:
        mean, _ = smoothed(curve.losses)
        if not np.isfinite(mean).any():
            return None
        lowest.append(float(np.nanmin(mean)))
    return max(lowest, default=None)


def common_budget(curves: list[LossCurve]) -> float | None:
    """The most joules that every method has used; `None` where one's are unknown."""
    totals = [float(curve.energy_j.sum()) for curve in curves]
    return min(totals) if totals and all(map(math.isfinite, totals)) else None


def _first(where: npt.NDArray[np.bool_]) -> int | None:
    found = np.flatnonzero(where)
    return int(found[0]) + 1 if found.size else None
