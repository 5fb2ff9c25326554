"""Whether somebody on the way, as a proxy, passes results on at moments of its own: bursts are then not steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.bursts import Bursts, bursts, stretches
from ipw.energy.steps.by_unit import ByUnit, by_unit

LEAST = 50
"""Intervals, or results beside others, below which nothing is told."""
ALIKE, UNUSUAL = 0.5, 0.02
"""Of how widely numbers of results vary, what is from burst to burst and not within one; of the results, those in
bursts of an unusual number. Drafts that are accepted vary within a burst too, and a busy client is seldom late."""
IN_PHASE, JUMPS = 0.9, 10
"""How well moments keep a beat (1: none beside it), and how many intervals must be of another number of beats."""
ON_BEAT, CENTRED, OF_JUMPS, OFTEN = 0.1, 0.02, 0.9, 0.02
"""Of a beat, how near an interval is to a whole number of them, and the middle one of all; of those of another number,
so many must be as near; of all intervals without a prompt, so many must be of another number."""
WAYS, FEW = 3, 3
"""Numbers of beats other than the usual, each seen so often, that prompts alone do not explain."""
MOST_BEATS, MOST_LOOSE = 5, 2
"""In the usual interval, for a clock that keeps its beat throughout, and for one that drifts: with more beats, moments
are nearly those of the steps."""
LONGEST = 8.0
"""Usual intervals: the beat is found by shorter ones."""


class Relayed(NamedTuple):
    """How sure that is, and why."""

    sure: float
    why: str


def relayed(requests: Requests, arrivals: Arrivals, gap_ns: float) -> Relayed | None:
    """Tell a proxy by what no engine does, or `None`.

    Its bursts hold now one result of everybody, now two; or they come on the beat of a clock, whatever the work.
    """
    for part in stretches(arrivals):
        whose = by_unit(part)
        found = bursts(part, gap_ns, whose)
        several = several_at_once(part, found, whose)
        if several > UNUSUAL:
            return Relayed(
                several,
                f"{several:.0%} of the chunks came in bursts that held more or fewer of each request than usual",
            )
        prompts = worked_on_prompts(requests, found.first_ns)
        beat_ns = beat(found.first_ns, prompts) or loose_beat(found.first_ns, prompts)
        if beat_ns:
            return Relayed(1.0, f"chunks came on the beat of a clock, every {beat_ns / 1e6:.0f} ms, whatever the work")
    return None


def several_at_once(arrivals: Arrivals, found: Bursts, whose: ByUnit) -> float:
    """Of the results, those in bursts that held an unusual number of each unit's; 0 where that varies by unit too.

    Both chunks and tokens are counted: what is gathered may be sent as one chunk. First and last results are left out.
    """
    units = int(arrivals.unit.max()) + 1
    first, last = np.full(units, -1), np.full(units, -1)
    first[arrivals.unit[whose.first]], last[arrivals.unit[whose.last]] = found.of[whose.first], found.of[whose.last]
    pair, place = np.unique(found.of.astype(np.int64) * units + arrivals.unit, return_inverse=True)
    burst, unit = np.divmod(pair, units)
    inner = (burst > first[unit]) & (burst < last[unit])
    inner &= np.bincount(burst[inner], minlength=found.first_ns.size)[burst] > 1
    if inner.sum() < LEAST:
        return 0.0
    counts = (np.bincount(place), np.bincount(place, arrivals.tokens))
    return max(_unusual(count[inner].astype(np.float64), burst[inner]) for count in counts)


def _unusual(count: Floats, burst: Ints) -> float:
    """Of the counts, those that are not the usual one; 0 if they vary within bursts as they do between them."""
    if (total := float(count.var())) == 0:
        return 0.0
    size = np.bincount(burst)
    size, own = size[size > 0], np.cumsum(np.diff(burst, prepend=-1) > 0) - 1
    squares = np.bincount(own, count**2) - np.bincount(own, count) ** 2 / size
    within = float(squares.sum()) / float((size - 1).sum())
    return float((count != np.median(count)).mean()) if 1 - within / total > ALIKE else 0.0


def worked_on_prompts(requests: Requests, moment_ns: Ints) -> Bools:
    """`[moments - 1]`: whether between a moment and the next something waited that had no result yet."""
    started = requests.first_ns > 0
    asked, answered = np.sort(requests.start_ns[started]), np.sort(requests.first_ns[started])
    waited: Bools = np.searchsorted(asked, moment_ns[1:], "right") > np.searchsorted(answered, moment_ns[1:], "left")
    return waited


def beat(moment_ns: Ints, prompts: Bools) -> float | None:
    """The beat that all moments keep, over the whole run: of an engine, whatever is asked for moves all that follow.

    Unless all that is asked for takes one time: so intervals must vary without prompts, or in several ways.
    """
    interval = np.diff(moment_ns).astype(np.float64)
    if interval.size < LEAST:
        return None
    usual = _usual(interval)
    near = interval < LONGEST * usual
    for beats in range(1, MOST_BEATS + 1):
        period = _fitted(interval[near], usual / beats)
        number = np.rint(interval / period)
        jump = near & (number != np.rint(usual / period))
        ways = int((np.bincount(number[jump].astype(np.int64)) >= FEW).sum())
        vary = jump.sum() >= JUMPS and (ways >= WAYS or (jump & ~prompts).sum() >= JUMPS)
        if not vary or np.mean(np.abs(interval / period - number)[jump] < ON_BEAT) < OF_JUMPS:
            continue
        if _in_phase(moment_ns, number) > IN_PHASE:
            return period
    return None


def loose_beat(moment_ns: Ints, prompts: Bools) -> float | None:
    """The beat of a clock that drifts: without prompts, intervals jump from one number of beats to the next."""
    interval = np.diff(moment_ns).astype(np.float64)[~prompts]
    if interval.size < LEAST:
        return None
    usual = _usual(interval)
    interval = interval[interval < LONGEST * usual]
    for beats in range(1, MOST_LOOSE + 1):
        period = _fitted(interval, usual / beats)
        jump = np.abs(interval - usual) > period / 2
        if jump.sum() < max(2 * JUMPS, OFTEN * interval.size):
            continue
        off = np.abs(interval[jump] - usual) / period - 1  # the next number of beats, and no other
        near = np.mean(np.abs(off) < ON_BEAT) >= OF_JUMPS and abs(usual / period - beats) < ON_BEAT
        if near and abs(np.median(off)) < max(CENTRED, 2 * float(np.std(off)) / np.sqrt(off.size)):
            return period
    return None


def _usual(interval: Floats) -> float:
    """Where intervals are densest: the middle of the shortest stretch that holds three in ten."""
    ordered = np.sort(interval)
    held = max(3 * ordered.size // 10, 5)
    at = int(np.argmin(ordered[held:] - ordered[:-held]))
    return float(np.median(ordered[at : at + held]))


def _fitted(interval: Floats, period: float) -> float:
    """The period near one, of which intervals are most nearly whole numbers."""
    for _ in range(3):
        number = np.rint(interval / period)
        period = float(interval @ number) / max(float(number @ number), 1.0) or period
    return period


def _in_phase(moment_ns: Ints, number: Floats) -> float:
    """How well moments are a line through the number of beats before each: 1 if all are, 0 for any."""
    beats = np.concatenate([[0.0], np.cumsum(number)])
    beats -= beats.mean()
    t: npt.NDArray[np.float64] = (moment_ns - moment_ns[0]).astype(np.float64)
    t -= t.mean()
    period = float(beats @ t) / float(beats @ beats)
    return float(np.abs(np.exp(2j * np.pi * (t - period * beats) / period).mean()))
