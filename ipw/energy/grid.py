"""Where the ticks lie that nobody watched: on the grid of the watched ones before and after them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Floats, Ints

AROUND = 4
"""So many stretches between watched ticks, on either side, tell what the period is there."""
NEARBY = 2
"""How far ticks stray is looked up in so many stretches on either side."""
SAME = 0.25
"""Of a period: where the ticks before and after a stretch disagree by more about it, they are on different grids."""
Bools = npt.NDArray[np.bool_]


def on_grid(low: Floats, high: Floats, sharp: Bools) -> tuple[Floats, Floats]:
    """Narrow the brackets `[low, high]` of changes, in order of time, by the grid of those that are `sharp`.

    Between two watched ticks the others are spaced evenly, if the watched ticks before or after agree on the period.
    The half-width of a tick placed so is that of these two, by its distance from each, and the most by which stretches
    nearby, continued with the period of their neighbours, miss the watched tick at their other end: that is how far
    ticks jitter, drift and jump over such a stretch. Where the grid and what was read contradict each other, what was
    read stands; a change after which it is not sure which tick was read keeps its bracket too.
    """
    anchors = np.flatnonzero(sharp)
    if anchors.size < 3:
        return low, high
    at, half = ((low + high) / 2)[anchors], ((high - low) / 2)[anchors]
    steps, stray, period = _stretches(at, np.diff(anchors))
    changes = np.flatnonzero(~sharp)
    stretch = np.searchsorted(anchors, changes) - 1
    inside = (stretch >= 0) & (stretch < steps.size)
    changes, stretch = changes[inside], stretch[inside]
    left, right = at[stretch], at[stretch + 1]
    n, pace = steps[stretch], (right - left) / np.maximum(steps[stretch], 1)
    order = changes - anchors[stretch]
    counted = np.diff(anchors)[stretch] == n  # each tick was read by itself
    by_time = np.floor((high[changes] - left) / np.where(pace > 0, pace, 1.0))
    number = np.where(counted, order, by_time)
    part = number / np.maximum(n, 1)
    unsure = half[stretch] * (1 - part) + half[stretch + 1] * part + stray[stretch]
    clear = np.abs(high[changes] - left - np.rint((high[changes] - left) / pace) * pace) > unsure
    placed = left + number * pace
    new_low, new_high = np.maximum(low[changes], placed - unsure), np.minimum(high[changes], placed + unsure)
    good = (n > 0) & (unsure < period[stretch] / 2) & (counted | clear) & (new_low <= new_high) & (number < n)
    low, high = low.copy(), high.copy()
    low[changes[good]], high[changes[good]] = new_low[good], new_high[good]
    return low, high


def _stretches(at: Floats, changes: Ints) -> tuple[Ints, Floats, Floats]:
    """Of each stretch between watched ticks: periods in it (0: on no grid), by how much ticks stray there, the period.

    `changes` is how many changes of the value each ends, which is its number of periods unless some ticks went unread.
    """
    gap = np.diff(at)
    usual = np.nanmedian(_around(gap / changes, AROUND // 2), axis=1)
    steps = np.maximum(np.rint(gap / usual), 1.0)
    number = np.concatenate([[0.0], np.cumsum(steps)])
    k = np.arange(gap.size)
    before, after = np.maximum(k - AROUND, 0), np.minimum(k + 1 + AROUND, gap.size)
    with np.errstate(invalid="ignore"):
        earlier = (at[k] - at[before]) / (number[k] - number[before])
        later = (at[after] - at[k + 1]) / (number[after] - number[k + 1])
    earlier, later = np.where(np.isnan(earlier), later, earlier), np.where(np.isnan(later), earlier, later)
    off = np.abs(gap - steps * np.stack([earlier, later]))
    same_as = off <= SAME * np.minimum(earlier, later)
    same = same_as.any(axis=0)  # what came before, or what comes after, may be on another grid
    stray = np.nanmax(_around(np.where(same_as, off, 0.0).max(axis=0), NEARBY), axis=1)
    return np.where(same, steps, 0.0).astype(np.int64), np.where(same, stray, np.inf), np.minimum(earlier, later)


def _around(values: Floats, reach: int) -> Floats:
    """`[n, 2·reach + 1]`: each value with its neighbours, NaN beyond the ends."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, reach, constant_values=np.nan), 2 * reach + 1)
