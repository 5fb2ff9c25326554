"""The most that one step takes on, told by counts: in which steps first results came, and after how much work.

A step after which something still waits was full. So over a run of such steps, the line of all work moves on by the
most that a step takes, less what goes on anyway; and each first result says between which two ends it was.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints

AGREE = 0.95
"""Of the steps that tell, so many must agree on one number."""
TELLING = 8
"""Steps, below which nothing is told."""
HIDDEN = 8
"""Steps of the engine that may be seen as the first one."""
TELLING_FROM_FIRST = 40
"""The same, where it is not known how many steps the first one was."""
ODD_ONES, ODD, ROUND = 2, 0.02, 64
"""So many of them may be odd, or such a part, where a number is then as round as this."""
SHARP = 0.06
"""How far the least and the most that this number may be are apart, at most."""


class Told(NamedTuple):
    """What counts tell."""

    most: float
    """Tokens that one step takes at most; infinite where that is not told."""
    agree: float
    """Of the steps that tell, those that agree."""


NOTHING = Told(np.inf, 0.0)


def told_by_counts(finishing: Floats, decoding: Floats, next_work: Floats, full: Bools) -> Told:
    """Find the tokens that one step takes at most.

    `[steps]` each: the work of units whose first result came at its end, results of others, the work of the unit that
    comes next, and whether that one waited.
    """
    done, going_on, step = np.cumsum(finishing), np.cumsum(decoding), np.arange(full.size)
    after_full = np.append(False, full[:-1])
    begun = np.maximum.accumulate(np.where(full & ~after_full, step, 0))  # the first of its run
    start = np.where(full | after_full, begun, step)
    known = (start > 0) & (decoding[np.maximum(start - 1, 0)] > 0) & (decoding > 0)
    found = _told(known, start, 1, done, going_on, next_work, full, finishing)
    if found.agree:
        return found
    # all is one run from the first step on, which may be several of the engine's, seen as one
    start = np.where((start == 1) & (decoding[0] == 0), 0, start)
    first = known | ((start == 0) & (decoding > 0))
    if (full & first).sum() < TELLING_FROM_FIRST:
        return NOTHING
    tried = [_told(first, start, hidden, done, going_on, next_work, full, finishing) for hidden in range(1, HIDDEN + 1)]
    return max(tried, key=lambda told: told.agree)


def _told(
    known: Bools,
    start: Ints,
    hidden: int,
    done: Floats,
    going_on: Floats,
    next_work: Floats,
    full: Bools,
    finishing: Floats,
) -> Told:
    """Of the steps that are `known`, where the first step of all is so many `hidden` ones."""
    if (full & known).sum() < TELLING:
        return NOTHING
    at = np.flatnonzero(known & (full | (finishing > 0)))
    from_first = start[at] == 0
    turns = at - start[at] + np.where(from_first, hidden, 1)
    before = np.maximum(start[at] - 1, 0)
    least = done[at] + going_on[at] - np.where(from_first, 0.0, done[before] + going_on[before])
    most = np.where(full[at], least + next_work[at], np.inf)  # after a step that was not full, all was done
    return _agreed(least / turns, most / turns)


def _agreed(low: Floats, high: Floats) -> Told:
    """The number within the most of these intervals."""
    edges = np.concatenate([low, high])
    change = np.repeat([1, -1], low.size)
    order: Ints = np.lexsort((change, edges))
    inside = np.cumsum(change[order])
    best = int(np.argmax(inside))
    least, most = float(edges[order[best]]), float(edges[order[best + 1]])
    if inside[best] < AGREE * low.size or np.isinf(most) or most - least > SHARP * most:
        return NOTHING
    number = roundest(least, most)
    begin, end = edges[order[:-1]], edges[order[1:]]
    near = inside[:-1] >= inside[best] - max(ODD_ONES, ODD * low.size)
    near &= np.isfinite(end) & (begin < number * (1 + SHARP)) & (end > number * (1 - SHARP))
    for one in np.flatnonzero(near).tolist():  # a few steps may be odd ones, and people choose round numbers
        other = roundest(float(begin[one]), float(end[one]))
        if roundness(other) >= ROUND and roundness(other) > roundness(number) and abs(other / number - 1) < SHARP:
            number = other
    return Told(number, float(inside[best] / low.size))


def roundest(least: float, most: float) -> float:
    """The roundest whole number from `least` up to less than `most`, since people choose it; else what is between."""
    whole = np.arange(np.ceil(least), np.ceil(most))
    if not whole.size:
        return (least + most) / 2
    return float(max(whole.tolist(), key=roundness))


def roundness(number: float) -> int:
    """The largest power of two that a whole number is a multiple of; 0 of others."""
    return math.gcd(int(number), 1 << 30) if np.isfinite(number) and number == int(number) else 0
