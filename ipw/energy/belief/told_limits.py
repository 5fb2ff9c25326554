"""Whether the limit that a device tells of itself is one: what its readings exceed steadily limits nothing.

One of the two is wrong then. A limit is told once and shown to nobody; readings go up and down with the work. So the
limit is not believed, and what holds is the bound of the device's class.
"""

from __future__ import annotations

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.belief.believed import sentinel
from ipw.energy.belief.limits import MARGIN

MANY, LONG_S = 10, 1.0
"""Readings beyond the limit one after the other, and from the first of them to the last: a glitch is shorter."""
DIFFERENT = 3
"""A code for no value is one value, or two."""
GREAT_SHARE = 1 / 3
"""Of all readings: a device may be idle for the rest."""


def is_no_limit(told_w: float, class_w: float, t_ns: Ints, power_w: Floats) -> bool:
    """Whether readings in order of time are beyond a told limit so steadily that it is none."""
    can_be = (power_w > 0) & (power_w <= MARGIN * class_w) & ~sentinel(power_w)
    t, power = t_ns[can_be], power_w[can_be]
    beyond = power > MARGIN * told_w
    if beyond.sum() < max(MANY, GREAT_SHARE * beyond.size):
        return False
    first, last = _longest(beyond)
    run = slice(first, last + 1)
    return bool(
        last - first + 1 >= MANY and t[last] - t[first] >= LONG_S * 1e9 and np.unique(power[run]).size >= DIFFERENT
    )


def power_of_steps(t_ns: Ints, value_j: Floats, resolution_j: float) -> tuple[Ints, Floats]:
    """Mean power between the changes of a counter, less what its resolution adds at most, and when each change came."""
    new = np.flatnonzero(np.diff(value_j, prepend=np.nan) != 0)
    step_j = np.diff(value_j[new]) - 2 * resolution_j
    t = t_ns[new]
    return t[1:], step_j / np.diff(t) * 1e9


def _longest(beyond: Bools) -> tuple[int, int]:
    """First and last index of the longest run of those that are beyond."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], beyond, [False]])))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest]) - 1
