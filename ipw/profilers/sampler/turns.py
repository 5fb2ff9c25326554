"""Whose ticks are watched next, and when in a period all counters are read.

A wake-up costs far more than a read, 0.1 ms and more of a core. So all counters are read at one moment of each period,
some time before the ticks of those whose turn it is. When these are watched, that read waits for them and is the first
of the two or three around their ticks. Then it is the turn of those that tick next before them, and the moment goes
back past the ticks of these alone: so there is still one read between any two ticks of a counter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter

from ipw.profilers.sampler.ticks import MS, TickFollower

CYCLE_NS = 1_600 * MS
"""After so long it is a counter's turn again, where there are not too many. It is also how far apart the readings of a
counter are that is slow to answer."""
SHORTEST_TURN_NS, REPLAN_NS = 300 * MS, 400 * MS
"""A turn lasts so long at least, and so often it is looked when ticks come now."""
ALIKE = 1e-4
"""Periods that differ by no more than this part of them drift apart by microseconds within a turn."""
MOVED = attrgetter("moved")
TOGETHER_NS = MS
"""Ticks this close to one another are watched in the same turn."""
AHEAD, GUARDS_AHEAD = 1 / 8, 1.5
"""All are read such a part of the period before the ticks of those whose turn it is, or half-way from the ticks before
them if that is less, but so many guards at least: a late wake-up comes before these ticks too."""


class Turns:
    """Who is to be watched when, of all that are followed."""

    def __init__(self, followers: Sequence[TickFollower]) -> None:
        self.due_ns = 0
        """When `plan` is to be called next, after whatever is read then or later."""
        self._followers = followers
        self._alike = False
        """Whether all tick as often, so that what was planned holds for as long as nobody moves."""
        self._leader: TickFollower | None = None
        """Shortly before its ticks all are read."""
        self._turn_ends_ns = 0

    def plan(self, now: int) -> bool:
        """Tell those who follow when to read, and whom to watch, now that something was read. Tells whether it did."""
        self.due_ns = now + REPLAN_NS
        if self._alike and now < self._turn_ends_ns and not any(map(MOVED, self._followers)):
            self.due_ns = min(self.due_ns, self._turn_ends_ns)
            return False
        self._plan(now)
        return True

    def _plan(self, now: int) -> None:
        for follower in self._followers:
            follower.moved = False
        following = [follower for follower in self._followers if follower.period_ns is not None]
        for follower in following:
            if follower.costly:
                follower.stride = _times(CYCLE_NS, follower)
        cheap = [follower for follower in following if not follower.costly]
        self._alike = False
        if not cheap:
            return
        periods_ns = [follower.period_ns or 0.0 for follower in cheap]
        period_ns = min(periods_ns)
        self._alike = max(periods_ns) - period_ns < ALIKE * period_ns
        phases = [follower.phase_ns(now) or 0.0 for follower in cheap]
        leader = cheap.index(self._leader) if self._leader in cheap else 0
        turn_is_over = now >= self._turn_ends_ns or self._leader not in cheap
        if turn_is_over:
            leader = next_leader(phases, period_ns, leader)
        self._leader = cheap[leader]
        before = next_leader(phases, period_ns, leader)
        gap_ns = (phases[leader] - phases[before]) % period_ns or period_ns
        ahead_ns = max(min(AHEAD * period_ns, gap_ns / 2), GUARDS_AHEAD * self._leader.guard_ns)
        sweep_ns = phases[leader] - ahead_ns
        if turn_is_over:
            count = moments(phases, period_ns)
            turn_ns = max(CYCLE_NS / count, SHORTEST_TURN_NS)
            sweeps = max(round((turn_ns - sweep_ns) / period_ns), 1)
            # with the last of them, which comes a little early or late
            self._turn_ends_ns = now + int(sweep_ns + (sweeps - 1 / 8) * period_ns)
            for follower, phase in zip(cheap, phases, strict=True):
                follower.stride = _times(turn_ns * count, follower)
                if (phases[leader] - phase) % period_ns <= TOGETHER_NS:
                    follower.watch_at(now + phases[leader] + sweeps * period_ns)
        self.due_ns = min(self.due_ns, self._turn_ends_ns)
        for follower, phase in zip(cheap, phases, strict=True):
            follower.read_before_ticks((phase - sweep_ns) % period_ns)


def next_leader(phases_ns: Sequence[float], period_ns: float, leader: int) -> int:
    """Whose tick comes last before the leader's and those just before it; the leader's own, if there is no other."""
    before = [(phases_ns[leader] - phase) % period_ns for phase in phases_ns]
    earlier = [number for number, time_ns in enumerate(before) if time_ns > TOGETHER_NS]
    return min(earlier, key=lambda number: before[number], default=leader)


def moments(phases_ns: Sequence[float], period_ns: float) -> int:
    """At how many moments of a period ticks come, those that are watched together being one."""
    ordered = sorted(phases_ns)
    gaps = [*(after - before for before, after in pairwise(ordered)), ordered[0] + period_ns - ordered[-1]]
    return max(sum(gap > TOGETHER_NS for gap in gaps), 1)


def _times(time_ns: float, follower: TickFollower) -> int:
    return max(round(time_ns / (follower.period_ns or time_ns)), 1)
