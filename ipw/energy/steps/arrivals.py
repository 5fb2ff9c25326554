"""What a client sees of work in flight: when each unit was asked for, and when each piece of it came back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Ints

MISSING = -1


class Arrivals(NamedTuple):
    """Chunks of results in order of time, as columns of one length."""

    t_ns: Ints
    tokens: npt.NDArray[np.integer]
    """Results that came in the chunk."""
    unit: npt.NDArray[np.integer]
    """Row of `Requests`."""


class Requests(NamedTuple):
    """Units of work as columns of one length; what is not known is `MISSING`."""

    start_ns: Ints
    first_ns: Ints
    """When the first result came."""
    end_ns: Ints
    before: Ints
    """Work to be done before the first result: prompt tokens that no cache held."""
    produced: Ints
    """Results in all."""
    cached: Ints
    """What was read from a cache: context without work."""
