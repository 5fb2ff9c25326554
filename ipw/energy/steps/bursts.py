"""Bursts in which results arrive: what an engine finishes at once comes at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.steps.arrivals import Arrivals
from ipw.energy.steps.by_unit import ByUnit, by_unit, in_flight
from ipw.energy.steps.torn import mend

GAPS_NS = np.geomspace(1e5, 5e7, 28)
"""Pauses that are tried as what parts one burst from the next."""
TOGETHER_NS = 100_000
"""Chunks of one unit no further apart than this were sent as one."""
SHORTER = 0.25
"""Of that pause: so long a pause parts the results of one unit too."""
SPREAD, WIDEST, BY_CHANCE = 0.35, 0.7, 1e-6
"""Of the time from one burst to the next: results that come within so much are close together; with many in flight, so
much, if so seldom by chance."""
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
    flying: float = 1.0
    """How many units are in flight, on average while several are."""

    @property
    def close(self) -> bool:
        """Whether results of one burst are as close together as those of one step.

        Of so many that each come at moments of their own, a pause that leaves so little time for all is by chance.
        """
        n = max(self.flying, 2.0)
        by_chance: float = (BY_CHANCE / n) ** (1 / (n - 1))
        return self.spread <= max(SPREAD, min(WIDEST, by_chance))

    @property
    def score(self) -> float:
        """1 where every burst holds one chunk of everything in flight."""
        return self.attended * self.once


def bursts(arrivals: Arrivals, gap_ns: float, whose: ByUnit | None = None) -> Bursts:
    """Cut where no result came for `gap_ns`, and where a unit's next result came after a shorter pause.

    Not where a burst was torn in two by what held up its way.
    """
    whose = whose or by_unit(arrivals)
    new = np.concatenate([[True], np.diff(arrivals.t_ns) > gap_ns])[: arrivals.t_ns.size]
    _cut_again(arrivals, whose, new, gap_ns)
    mend(arrivals, whose, new)
    of = np.cumsum(new, dtype=np.int32) - np.int32(1)
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], arrivals.t_ns.size) - 1
    return Bursts(gap_ns, of, arrivals.t_ns[starts], arrivals.t_ns[ends[: starts.size]])


def _cut_again(arrivals: Arrivals, whose: ByUnit, new: Bools, gap_ns: float) -> None:
    """Part bursts in which a unit had results twice, at the longest pause between the two, if it is long enough."""
    before, after = whose.order[:-1], whose.order[1:]
    number = np.cumsum(new)
    again = whose.again & (number[before] == number[after])
    again &= arrivals.t_ns[after] - arrivals.t_ns[before] > gap_ns * SHORTER
    pairs = np.stack([before[again], after[again]], 1)
    for first, last in pairs[np.argsort(pairs[:, 1])][: new.size // 20].tolist():
        if not new[first + 1 : last + 1].any():
            pauses = np.diff(arrivals.t_ns[first : last + 1])
            longest = int(np.argmax(pauses))
            new[first + 1 + longest] |= bool(pauses[longest] > gap_ns * SHORTER)


def best_gap(arrivals: Arrivals) -> tuple[float, Fit]:
    """The pause at which bursts are most like steps, and how much they are."""
    samples = [(part, by_unit(part)) for part in stretches(arrivals)]
    fits = [joined([fit(part, bursts(part, gap, whose), whose) for part, whose in samples]) for gap in GAPS_NS]
    scores = np.array([one.score for one in fits])
    good = np.flatnonzero(scores >= scores.max() - 0.005)
    best = int(good[good.size // 3])  # of those that do as well, one that is far from joining and from cutting
    shared = sum(
        int((in_flight(whose, np.arange(whose.order.size), whose.order.size) > 1).sum()) for _, whose in samples
    )
    return float(GAPS_NS[best]), fits[best]._replace(shared=shared)


def fit(arrivals: Arrivals, found: Bursts, whose: ByUnit | None = None) -> Fit:
    """Compare bursts with what was in flight."""
    if not arrivals.t_ns.size:
        return Fit(0.0, 0.0, 0.0, 0)
    whose = whose or by_unit(arrivals)
    flying = in_flight(whose, found.of, found.first_ns.size)
    several = flying > 1
    seen = several[found.of]
    chunks = int((seen & ~_continued(arrivals, whose)).sum())
    due, came = int(flying[several].sum()), int((_entries(found.of, whose) & seen).sum())
    return Fit(
        attended=came / due if due else 0.0,
        once=min(came / chunks, 1.0) if chunks else 0.0,
        spread=_spread(found, several),
        shared=chunks,
        flying=float(flying[several].mean()) if due else 1.0,
    )


def held_back(arrivals: Arrivals) -> float:
    """Of the chunks, those that came along with their unit's one before: somebody on the way gathered several."""
    parts = stretches(arrivals)
    along = [_continued(part, by_unit(part)) for part in parts]
    return float(np.concatenate(along).mean())


def joined(fits: list[Fit]) -> Fit:
    """Mean of several stretches, by how much was seen in each."""
    weight = np.array([one.shared for one in fits], np.float64)
    if not weight.sum():
        return Fit(0.0, 0.0, 0.0, 0)
    mean = np.average([(*one[:3], one.flying) for one in fits], axis=0, weights=weight).tolist()
    attended, once, spread, flying = mean
    return Fit(attended, once, spread, int(weight.sum()), flying)


def _entries(of: npt.NDArray[np.int32], whose: ByUnit) -> Bools:
    """Whether each arrival is the first of its unit in its burst."""
    first = np.ones(of.size, bool)
    first[whose.order[1:]] = ~whose.again | (np.diff(of[whose.order]) != 0)
    return first


def _continued(arrivals: Arrivals, whose: ByUnit) -> Bools:
    """Whether each chunk came along with its unit's one before."""
    along = np.zeros(whose.order.size, bool)
    along[whose.order[1:]] = whose.again & (np.diff(arrivals.t_ns[whose.order]) <= TOGETHER_NS)
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


def stretches(arrivals: Arrivals) -> list[Arrivals]:
    """A few long stretches of a long run."""
    n = arrivals.t_ns.size
    if n <= SAMPLE:
        return [arrivals]
    each = SAMPLE // PARTS
    starts = np.linspace(0, n - each, PARTS).astype(int)
    rows = [slice(int(s), int(s) + each) for s in starts]
    return [Arrivals(arrivals.t_ns[row], arrivals.tokens[row], arrivals.unit[row]) for row in rows]
