"""Differences of the scores of the same questions, right and wrong or between them, bounded from both sides."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from ipw.metrics.stats import Array


def difference_bounds(gain: Array, alpha: float) -> tuple[float, float]:
    """Bound the mean of paired differences of scores on either side, each at level `alpha`."""
    return _tango(gain, upper_normal(alpha)) if is_binary(gain) else _student(gain, upper_normal(alpha))


def upper_normal(alpha: float) -> float:
    """Give what a standard normal exceeds with probability `alpha`."""
    return -NormalDist().inv_cdf(alpha)


def is_binary(gain: Array) -> bool:
    """Whether every score was right or wrong."""
    return bool(np.isin(gain, (-1.0, 0.0, 1.0)).all())


def _tango(gain: Array, z: float) -> tuple[float, float]:
    """Bound the difference by inverting the score test: right also where no item differs."""
    lost, won, n = float((gain < 0).sum()), float((gain > 0).sum()), len(gain)

    def score(delta: float) -> float:
        """Standardised distance of the estimate from `delta`, its variance as likely as can be under `delta`."""
        b = -lost - won + (2 * n - won + lost) * delta
        c = -lost * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        return (won - lost - n * delta) / math.sqrt(variance) if variance > 0 else 0.0

    at = (won - lost) / n
    return _root(lambda delta: score(delta) - z, -1.0, at), _root(lambda delta: score(delta) + z, at, 1.0)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _student(gain: Array, z: float) -> tuple[float, float]:
    """Bound the mean by its standard error, never closer than as many items that do not differ at all would."""
    n, mean = len(gain), float(gain.mean())
    half = max(z * float(gain.std(ddof=1)) / math.sqrt(n) if n > 1 else 1.0, z * z / (n + z * z))
    return max(mean - half, -1.0), min(mean + half, 1.0)
