"""Results sorted by whose they are: made once, since many ways to cut them into bursts are tried."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Bools, Ints
from ipw.energy.steps.arrivals import Arrivals


class ByUnit(NamedTuple):
    """Places of arrivals in order of time, unit by unit."""

    order: Ints
    """`[arrivals]`: the places of the first unit, then those of the second, …"""
    again: Bools
    """`[arrivals - 1]`: whether, in that order, the next is of the same unit."""
    first: Ints
    """`[units]`: the place of the first of each."""
    last: Ints


def by_unit(arrivals: Arrivals) -> ByUnit:
    """Sort arrivals by unit."""
    order = np.argsort(arrivals.unit, kind="stable")
    again = np.diff(arrivals.unit[order]) == 0
    if not order.size:
        return ByUnit(order, again, order, order)
    new = np.concatenate([[True], ~again])
    return ByUnit(order, again, order[new], order[np.append(new[1:], True)])


def in_flight(whose: ByUnit, of: npt.NDArray[np.integer], bursts: int) -> Ints:
    """`[bursts]`: units that have had or have their first result, and have not had their last before; `of` ascends."""
    change = np.bincount(of[whose.first], minlength=bursts + 1)
    change -= np.bincount(of[whose.last] + 1, minlength=bursts + 1)
    flying: Ints = np.cumsum(change)[:-1]
    return flying
