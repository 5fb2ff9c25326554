"""Bursts that a busy machine tore in two: what is in flight came in part, and the rest a moment later."""

from __future__ import annotations

import numpy as np

from ipw.energy.arrays import Bools, Ints
from ipw.energy.steps.arrivals import Arrivals
from ipw.energy.steps.by_unit import ByUnit

SELDOM = 20
"""At most one burst in so many is torn; where more seem to be, several engines take turns."""

ENDED = 0.5
"""Of the usual time between bursts: units that ended came so much before the rest at most. Those that had one result
only may have had a step of their own."""


def mend(arrivals: Arrivals, whose: ByUnit, new: Bools) -> None:
    """Take back the cut between two bursts that share no unit, and together hold all that is in flight, once each.

    The rest comes sooner than a step after the part.
    """
    start = np.flatnonzero(new)
    if start.size < SELDOM:
        return
    of = np.cumsum(new) - 1
    began = np.cumsum(np.bincount(of[whose.first], minlength=start.size))
    over = np.cumsum(np.bincount(of[whose.last], minlength=start.size))
    flying = began - np.append(0, over[:-1])
    in_both = began[1:] - np.append(0, over[:-2])  # of two bursts that follow one another
    count = np.diff(np.append(start, new.size))
    apart_ns = arrivals.t_ns[start[1:]] - arrivals.t_ns[start[1:] - 1]
    usual_ns = float(np.median(np.diff(arrivals.t_ns[start])))
    # where only units that ended came first, nothing that goes on is missing in the rest
    longest_ns = np.where(count[1:] < flying[1:], usual_ns, ENDED * usual_ns)
    torn = (count[:-1] < flying[:-1]) & (count[:-1] + count[1:] == in_both)
    found = np.flatnonzero(torn & (in_both > 1) & (apart_ns < longest_ns))
    found = found[_disjoint(whose, start, found)]
    if found.size * SELDOM <= start.size:
        new[start[found + 1]] = False


def _disjoint(whose: ByUnit, start: Ints, found: Ints) -> Bools:
    """Whether the two bursts from each on hold every unit once; no burst is part of two."""
    order, again = whose.order, np.flatnonzero(whose.again)
    before = np.full(order.size, -1)
    before[order[again + 1]] = order[again]  # the unit's result before
    latest = np.maximum.reduceat(before, start)
    alone: Bools = np.maximum(latest[found], latest[found + 1]) < start[found]
    place = np.arange(found.size)
    first = np.diff(np.where(alone, found, -2), prepend=-2) != 1  # of those that follow one another
    alone &= (place - np.maximum.accumulate(np.where(first, place, 0))) % 2 == 0
    return alone
