"""The most that one step takes on, told by counts: in which steps first results came, and after how much work.

A step after which something still waits was full. So over a run of such steps, the line of all work moves on by the
most that a step takes, less what goes on anyway; and each first result says between which two ends it was.
"""

from __future__ import annotations

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints

AGREE = 0.95
"""Of the steps that tell, so many must agree on one number."""
TELLING = 8
"""Steps, below which nothing is told."""
SHARP = 0.05
"""How far the least and the most that this number may be are apart, at most."""


def told_by_counts(finishing: Floats, decoding: Floats, next_work: Floats, full: Bools) -> float:
    """Tokens that one step takes at most; infinite where that is not told.

    `[steps]` each: the work of units whose first result came at its end, results of others, the work of the unit that
    comes next, and whether that one waited.
    """
    done = np.cumsum(finishing)
    begun = np.flatnonzero(full & ~np.append(False, full[:-1]))
    begun = begun[(begun > 0) & (decoding[np.maximum(begun - 1, 0)] > 0)]
    of_run = np.searchsorted(begun, np.arange(full.size), "right") - 1
    unbroken = np.cumsum(~full)
    at = np.flatnonzero(full & (of_run >= 0))
    at = at[unbroken[at] == unbroken[begun[of_run[at]]]]
    if at.size < TELLING:
        return np.inf
    start = begun[of_run[at]]
    turns = at - start + 1.0
    going_on = np.cumsum(decoding)
    least = done[at] - done[start - 1] + going_on[at] - going_on[start - 1]
    return _agreed(least / turns, (least + next_work[at]) / turns)


def _agreed(low: Floats, high: Floats) -> float:
    """The number within the most of these intervals."""
    edges = np.concatenate([low, high])
    change = np.repeat([1, -1], low.size)
    order: Ints = np.lexsort((change, edges))
    inside = np.cumsum(change[order])
    best = int(np.argmax(inside))
    least, most = float(edges[order[best]]), float(edges[order[best + 1]])
    if inside[best] < AGREE * low.size or most - least > SHARP * most:
        return np.inf
    return roundest(least, most)


def roundest(least: float, most: float) -> float:
    """The roundest whole number from `least` up to less than `most`, since people choose it; else what is between."""
    whole = np.arange(np.ceil(least), np.ceil(most))
    if not whole.size:
        return (least + most) / 2
    return float(whole[np.argmax(np.gcd(whole.astype(np.int64), 1 << 30))])
