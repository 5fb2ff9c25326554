"""How far another machine's clock is ahead, from exchanges: what it can be at each moment, and within which error.

In an exchange we ask, the other side reads its clock, and the answer comes: the reading lies between question and
answer (Cristian 1989), so each exchange gives a least and a most for how far that clock is ahead. An exchange whose
question was quick gives a sharp most, one whose answer was quick a sharp least; over time both close in on the truth
(the convex hulls of Duda et al. 1987). How fast two clocks drift apart is bounded: an exchange says something about the
moments around it too, less the further they are away.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Floats, Ints

MOST_DRIFT = 200e-6
"""Two clocks drift apart by no more than this beyond their usual drift: crystals stray by up to 100 ppm each (the
kernel corrects by at most 500 ppm, and mostly by far less)."""
LEAST_SPAN_NS, PARTS = 20e9, 10
"""A usual drift is told from so long a time on: from the sharpest bounds in each of so many parts of it."""


class Ahead(NamedTuple):
    """How far the other clock is ahead at some moments, in ns."""

    ahead_ns: Floats
    error_ns: Floats
    """Half-width: it lies within this of the truth, whatever the way there and the way back took."""


def ahead_at(at_ns: npt.ArrayLike, t_ns: npt.ArrayLike, ahead_ns: npt.ArrayLike, half_ns: npt.ArrayLike) -> Ahead:
    """Tell how far a clock is ahead at moments `at_ns[m]` from exchanges, which may come in any order.

    Each of the `n > 0` exchanges has its middle `t_ns`, how far the other clock was ahead of that, and half of the time
    from question to answer. Where exchanges contradict one another, as when the other clock was set, the error is as
    large as the contradiction.
    """
    at = np.asarray(at_ns, np.int64)
    t, ahead, half = (np.asarray(x) for x in (t_ns, ahead_ns, half_ns))
    order = np.argsort(t, kind="stable")
    origin = int(t[order[0]])
    x, ahead, half = (t[order] - origin).astype(np.float64), ahead[order].astype(float), half[order].astype(float)
    rate = usual_drift(x, ahead, half)
    where = (at - origin).astype(np.float64)
    least = -_lowest(x, rate * x - ahead + half, where)
    most = _lowest(x, ahead + half - rate * x, where)
    return Ahead((least + most) / 2 + rate * where, np.abs(most - least) / 2)


def usual_drift(x_ns: Floats, ahead_ns: Floats, half_ns: Floats) -> float:
    """How fast the other clock gains, per ns, from exchanges in order of time; 0 where they span too little time."""
    if x_ns.size < 2 or x_ns[-1] - x_ns[0] < LEAST_SPAN_NS:
        return 0.0
    part = np.minimum((PARTS * (x_ns - x_ns[0]) / (x_ns[-1] - x_ns[0])).astype(np.int64), PARTS - 1)
    first, last = part == part[0], part == part[-1]
    rates = [
        (edge[last].min() - edge[first].min()) / (x_ns[last][edge[last].argmin()] - x_ns[first][edge[first].argmin()])
        for edge in (ahead_ns + half_ns, half_ns - ahead_ns)
    ]
    return float(rates[0] - rates[1]) / 2


def _lowest(x: Floats, most: Floats, at: Floats) -> Floats:
    """The lowest of `most[n] + MOST_DRIFT * |x[n] - at[m]|` for each `m`; `x` is in order."""
    from_left = np.minimum.accumulate(most - MOST_DRIFT * x)
    from_right = np.minimum.accumulate((most + MOST_DRIFT * x)[::-1])[::-1]
    before: Ints = np.searchsorted(x, at, "right") - 1
    left = np.where(before >= 0, from_left[np.maximum(before, 0)] + MOST_DRIFT * at, np.inf)
    after = before + 1
    right = np.where(after < x.size, from_right[np.minimum(after, x.size - 1)] - MOST_DRIFT * at, np.inf)
    return np.minimum(left, right)
