"""Intervals of 95 %: one seeded resampling of the queries for all metrics, with the sensors' uncertainty in it.

Arrays are float64; rows are queries, columns are what is summed over them.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ipw.energy.curve import Z95
from ipw.metrics.distributions import t_quantile

Array = npt.NDArray[np.float64]
Interval = tuple[float | None, float | None]
"""`low, high`; `None` where the data bound nothing on that side."""

REPLICATES = 2000
CELLS = 4096
"""More rows than this are summed into so many random cells first, and the cells are resampled: the variance of a mean
stays the same, and a million queries cost what 4096 do."""
BLOCK = 1 << 20
"""Rows times replicates that are summed at once."""
DRAWN = 1 << 15
"""The same, drawn at once: few enough for the processor's cache."""


def resampled_sums(values: Array, seed: int) -> Array:
    """Draw the rows of `values` (rows, columns) with replacement `REPLICATES` times; return the sums of each draw.

    The same seed and data give the same sums, in the shape (replicates, columns).
    """
    order, counts = _drawn(len(values), seed)
    if order is not None:
        starts = np.linspace(0, len(values), CELLS, endpoint=False).astype(np.int64)
        values = np.stack([np.add.reduceat(column[order], starts) for column in values.T], axis=1)
    sums = np.zeros((REPLICATES, values.shape[1]))
    block = max(1, BLOCK // max(len(values), 1))
    for first in range(0, REPLICATES if len(values) else 0, block):
        part = slice(first, first + block)
        sums[part] = counts[part].astype(np.float64) @ values
    return sums


@functools.lru_cache(maxsize=1)  # several sets of metrics are made of the same queries
def _drawn(rows: int, seed: int) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.uint16]]:
    """Give the order in which so many rows go into cells, where they do, and how often each replicate draws each."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows) if rows > CELLS else None
    cells = min(rows, CELLS)  # as many draws in a replicate: 16 bits hold each count
    counts = np.zeros((REPLICATES, cells), np.uint16)
    block = max(1, DRAWN // max(cells, 1))
    for first in range(0, REPLICATES if cells else 0, block):
        size = min(block, REPLICATES - first)
        drawn = rng.integers(cells, size=(size, cells))
        drawn += np.arange(0, size * cells, cells)[:, np.newaxis]
        counts[first : first + size] = np.bincount(drawn.ravel(), minlength=size * cells).reshape(size, cells)
    return order, counts


def error_draws(seed: int) -> Array:
    """One standard normal error of measurement a replicate: joules and watts of the same queries err together."""
    return np.random.default_rng([seed, 3]).standard_normal(REPLICATES)


def gain_draws(gain_rel: float, seed: int) -> Array:
    """One factor a replicate for a gain known to ± `gain_rel` (half-width of 95 %), the same for all of its queries."""
    draws = np.random.default_rng([seed, 1]).standard_normal(REPLICATES)
    return np.maximum(1 + gain_rel / Z95 * draws, 0.01)


def proportion_draws(successes: float, n: int, seed: int) -> Array:
    """One proportion a replicate from the Jeffreys posterior.

    For samples that are all right or all wrong: resampling them can never draw anything else.
    """
    return np.random.default_rng([seed, 2]).beta(successes + 0.5, n - successes + 0.5, REPLICATES)


def percentile_interval(replicates: Array, value: float, n: int) -> Interval:
    """Bound 95 % by the bootstrap's percentiles, widened for small `n` (Hesterberg 2015, expanded percentiles).

    The plain percentile interval is too narrow by about sqrt((n-1)/n) and by using the normal where Student's t
    belongs; both corrections go into the level. The interval always holds `value`. With fewer than two rows there is
    none.
    """
    if n < 2:
        return None, None
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * student_t975(n - 1))
    known = replicates[~np.isnan(replicates)]
    if len(known) == 0:
        return None, None
    low, high = np.quantile(known, [tail, 1 - tail], method="inverted_cdf").tolist()
    return _finite(min(low, value)), _finite(max(high, value))


def student_t975(df: int) -> float:
    """Compute Student's t at 97.5 %; within 0.1 % beyond a thousand degrees of freedom, exact up to there."""
    return t_quantile(0.025, df)


def wilson(successes: float, n: int) -> Interval:
    """Bound a proportion by Wilson's score interval: right also for small `n`, for none right and for all right."""
    if n == 0:
        return None, None
    p, z2 = successes / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return min(max(centre - half, 0.0), p), max(min(centre + half, 1.0), p)


def quantile_interval(values: Array, q: float) -> Interval:
    """Bound the `q` quantile by two order statistics: no assumption about the distribution.

    A side that the sample cannot bound is `None`: 50 values do not say how high a 99th percentile may be.
    """
    n = len(values)
    if n == 0:
        return None, None
    k = np.arange(1, n + 1)
    log_mass = n * math.log1p(-q) + np.concatenate([[0.0], np.cumsum(np.log((n - k + 1) / k * (q / (1 - q))))])
    below = np.cumsum(np.exp(log_mass))
    low_rank = int(np.searchsorted(below, 0.025))
    high_rank = int(np.searchsorted(below, 0.975)) + 1
    ordered = np.sort(values)
    low = float(ordered[low_rank - 1]) if low_rank > 0 else None
    high = float(ordered[high_rank - 1]) if high_rank <= n else None
    return low, high


def in_quadrature(value: float, below: float, above: float, gain_rel: float) -> Interval:
    """Widen an interval of `value - below` to `value + above` by an independent gain error of ± `gain_rel` of it."""
    gain = gain_rel * abs(value)
    return value - math.hypot(below, gain), value + math.hypot(above, gain)


def _finite(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None
