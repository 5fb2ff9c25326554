"""Bursts in which results arrive: what an engine finishes at once comes at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.steps.arrivals import Arrivals
from ipw.energy.steps.torn import mend

GAPS_NS = np.geomspace(1e5, 5e7, 28)
"""Pauses that are tried as what parts one burst from the next."""
TOGETHER_NS = 100_000
"""Chunks of one unit no further apart than this were sent as one."""
SHORTER = 0.25
"""Of that pause: so long a pause parts the results of one unit too."""
SAMPLE, PARTS = 200_000, 4
"""Arrivals that are looked at to find the pause, in so many stretches of the run."""


class Bursts(NamedTuple):
    """Bursts in order of time, and which of them each arrival is in."""

    gap_ns: float
    """The pause that parts them."""
    of: npt.NDArray[np.int32]
    """`[arrivals]`."""
    first_ns: Ints
    """`[bursts]`: first arrival of each."""
    last_ns: Ints


class Fit(NamedTuple):
    """How well bursts are steps of everything that is in flight; of arrivals while several units are."""

    attended: float
    """Of the bursts between a unit's first and last result, those in which it had one."""
    once: float
    """Of the chunks, those that are their unit's only ones in their burst."""
    spread: float
    """How long the usual burst of several chunks lasts, of the time to the next burst (nine in ten are shorter)."""
    shared: int
    """Arrivals that this was seen in."""

    @property
    def score(self) -> float:
        """1 where every burst holds one chunk of everything in flight."""
        return self.attended * self.once


def bursts(arrivals: Arrivals, gap_ns: float) -> Bursts:
    """Cut where no result came for `gap_ns`, and where a unit's next result came after a shorter pause.

    Not where a burst was torn in two by what held up its way.
    """
    new = np.concatenate([[True], np.diff(arrivals.t_ns) > gap_ns])[: arrivals.t_ns.size]
    _cut_again(arrivals, new, gap_ns)
    mend(arrivals, new)
    of = np.cumsum(new, dtype=np.int32) - np.int32(1)
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], arrivals.t_ns.size) - 1
    return Bursts(gap_ns, of, arrivals.t_ns[starts], arrivals.t_ns[ends[: starts.size]])


def _cut_again(arrivals: Arrivals, new: Bools, gap_ns: float) -> None:
    """Part bursts in which a unit had results twice, at the longest pause between the two, if it is long enough."""
    order = np.argsort(arrivals.unit, kind="stable")
    before, after = order[:-1], order[1:]
    number = np.cumsum(new)
    again = (arrivals.unit[before] == arrivals.unit[after]) & (number[before] == number[after])
    again &= arrivals.t_ns[after] - arrivals.t_ns[before] > gap_ns * SHORTER
    pairs = np.stack([before[again], after[again]], 1)
    for first, last in pairs[np.argsort(pairs[:, 1])][: new.size // 20].tolist():
        if not new[first + 1 : last + 1].any():
            pauses = np.diff(arrivals.t_ns[first : last + 1])
            longest = int(np.argmax(pauses))
            new[first + 1 + longest] |= bool(pauses[longest] > gap_ns * SHORTER)


def best_gap(arrivals: Arrivals) -> tuple[float, Fit]:
    """The pause at which bursts are most like steps, and how much they are."""
    samples = _samples(arrivals)
    fits = [joined([fit(part, bursts(part, gap)) for part in samples]) for gap in GAPS_NS]
    scores = np.array([one.score for one in fits])
    good = np.flatnonzero(scores >= scores.max() - 0.005)
    best = int(good[good.size // 3])  # of those that do as well, one that is far from joining and from cutting
    return float(GAPS_NS[best]), fits[best]._replace(shared=sum(_beside_others(part) for part in samples))


def fit(arrivals: Arrivals, found: Bursts) -> Fit:
    """Compare bursts with what was in flight."""
    if not arrivals.t_ns.size:
        return Fit(0.0, 0.0, 0.0, 0)
    units, unit = np.unique(arrivals.unit, return_inverse=True)
    entry = entries(found.of, unit)
    first, last = np.full(units.size, found.first_ns.size), np.zeros(units.size, np.int64)
    np.minimum.at(first, unit, found.of)
    np.maximum.at(last, unit, found.of)
    change = np.bincount(first, minlength=found.first_ns.size + 1)
    change -= np.bincount(last + 1, minlength=found.first_ns.size + 1)
    flying = np.cumsum(change)[:-1]
    several = flying > 1
    seen = several[found.of]
    chunks = int((seen & ~_continued(arrivals, unit)).sum())
    due, came = int(flying[several].sum()), int((entry & seen).sum())
    return Fit(
        attended=came / due if due else 0.0,
        once=min(came / chunks, 1.0) if chunks else 0.0,
        spread=_spread(found, several),
        shared=chunks,
    )


def _beside_others(arrivals: Arrivals) -> int:
    """Arrivals while several units had results to come."""
    units, unit = np.unique(arrivals.unit, return_inverse=True)
    at = np.arange(unit.size)
    first, last = np.full(units.size, unit.size), np.zeros(units.size, np.int64)
    np.minimum.at(first, unit, at)
    np.maximum.at(last, unit, at)
    change = np.bincount(first, minlength=unit.size + 1) - np.bincount(last + 1, minlength=unit.size + 1)
    return int((np.cumsum(change)[:-1] > 1).sum())


def held_back(arrivals: Arrivals) -> float:
    """Of the chunks, those that came along with their unit's one before: somebody on the way gathered several."""
    parts = _samples(arrivals)
    along = [_continued(part, np.unique(part.unit, return_inverse=True)[1]) for part in parts]
    return float(np.concatenate(along).mean())


def joined(fits: list[Fit]) -> Fit:
    """Mean of several stretches, by how much was seen in each."""
    weight = np.array([one.shared for one in fits], np.float64)
    if not weight.sum():
        return Fit(0.0, 0.0, 0.0, 0)
    attended, once, spread = np.average([one[:3] for one in fits], axis=0, weights=weight).tolist()
    return Fit(attended, once, spread, int(weight.sum()))


def entries(of: npt.NDArray[np.int32], unit: npt.NDArray[np.integer]) -> Bools:
    """Whether each arrival is the first of its unit in its burst."""
    order = np.lexsort((unit, of))  # stable: the first in time comes first
    first = np.ones(order.size, bool)
    first[order[1:]] = (np.diff(of[order]) != 0) | (np.diff(unit[order]) != 0)
    return first


def _continued(arrivals: Arrivals, unit: Ints) -> Bools:
    """Whether each chunk came along with its unit's one before."""
    order = np.argsort(unit, kind="stable")
    along = np.zeros(order.size, bool)
    near = (np.diff(unit[order]) == 0) & (np.diff(arrivals.t_ns[order]) <= TOGETHER_NS)
    along[order[1:]] = near
    return along


def _spread(found: Bursts, several: Bools) -> float:
    """Length of bursts over the time from each to the next."""
    if found.first_ns.size < 2:
        return 0.0
    length = (found.last_ns - found.first_ns)[:-1]
    ahead = np.diff(found.first_ns)
    wide = several[:-1] & (length > 0)
    share: Floats = length[wide] / ahead[wide]
    return float(np.quantile(share, 0.9)) if share.size else 0.0


def _samples(arrivals: Arrivals) -> list[Arrivals]:
    """A few long stretches of a long run."""
    n = arrivals.t_ns.size
    if n <= SAMPLE:
        return [arrivals]
    each = SAMPLE // PARTS
    starts = np.linspace(0, n - each, PARTS).astype(int)
    rows = [slice(int(s), int(s) + each) for s in starts]
    return [Arrivals(arrivals.t_ns[row], arrivals.tokens[row], arrivals.unit[row]) for row in rows]
