"""Which readings can be true at all: nothing beyond what a device can draw, and no stand-in for "no value"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.belief.limits import MARGIN, NOTHING_W, SAME, SENTINELS
from ipw.energy.belief.renewal import UNTOLD_PERIOD_S

OFFSET_W = 0.2
"""Below 0 by so much is an idle rail's offset: one step of an INA3221 (40 µV) across 5 mΩ at 20 V."""
LONGEST_GLITCH = 3
"""A counter that leaves its course comes back to it within so many different values, or it was another course."""
NO_RANGE = 0.5
"""A range that more of a counter's values than this are beyond is none."""
FEW_OF = 10
"""At the beginning or the end, values off the course are less than one in so many."""
SPIKE = 5.0
"""A step of so many times the usual power, which the next step takes back, was no energy."""


Doubt = Callable[[Ints, Floats], Bools]
"""Which readings, in order of time, cannot be true."""


def power_doubt(max_power_w: float | None, *, may_rest: bool) -> Doubt:
    """What to doubt of a power; `may_rest` says whether it can be 0."""
    return lambda _, power_w: doubtful_power(power_w, max_power_w=max_power_w, may_rest=may_rest)


def counter_doubt(
    range_j: float | None, max_power_w: float | None, resolution_j: float | None, period_s: float | None
) -> Doubt:
    """What to doubt of a counter."""
    return partial(doubtful_counts, facts=Facts(range_j, max_power_w, resolution_j or 0.0, period_s))


def doubtful_power(power_w: Floats, *, max_power_w: float | None, may_rest: bool = True) -> Bools:
    """Which values are no power: above the limit, below 0, a sentinel, or next to nothing where that cannot be."""
    least = power_w < (-OFFSET_W if may_rest else NOTHING_W)
    refused: Bools = least | sentinel(power_w)
    if max_power_w is not None:
        refused |= power_w > MARGIN * max_power_w
    return refused


def sentinel(values: Floats) -> Bools:
    """Which values are an integer that stands for "not available" in one of the units that sensors count in."""
    known = np.asarray(SENTINELS)
    at = np.clip(np.searchsorted(known, values), 1, known.size - 1)
    near = np.minimum(np.abs(values - known[at]), np.abs(values - known[at - 1]))
    found: Bools = near <= SAME * np.abs(values)
    return found


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a counter."""

    range_j: float | None = None
    max_power_w: float | None = None
    resolution_j: float = 0.0
    period_s: float | None = None
    """How often it is renewed, as told or learnt."""

    def most_j(self, seconds: Floats) -> Floats:
        """Most that it can count in so many seconds."""
        return np.full(seconds.shape, np.inf) if self.max_power_w is None else self._most_j(seconds, self.max_power_w)

    def _most_j(self, seconds: Floats, limit_w: float) -> Floats:
        return MARGIN * limit_w * seconds + 2 * self.resolution_j


def doubtful_counts(t_ns: Ints, value_j: Floats, facts: Facts) -> Bools:
    """Which values of a counter, in order of time, are none of it: sentinels, and those that leave its course.

    A value that is lower than the one before it, or higher than the device can have drawn since the update before, is
    off the course if one of the next few goes on from where the counter was. Else the counter has another course from
    then on (it started anew, or jumped), which is not for here to judge. Energy may have been counted since the last
    update, not since the last read: a counter that is renewed every two seconds brings two seconds at once.
    """
    refused = (value_j < 0) | sentinel(value_j)
    if facts.range_j is not None:
        beyond = value_j > facts.range_j + facts.resolution_j
        refused |= beyond
        if beyond.mean() > NO_RANGE:
            return doubtful_counts(t_ns, value_j, replace(facts, range_j=None))
    kept = np.flatnonzero(~refused)
    if kept.size < 3:
        return refused
    starts = kept[np.flatnonzero(np.diff(value_j[kept], prepend=np.nan) != 0)]
    course = _Course(t_ns, value_j, starts, kept, facts)
    for first, behind in course.glitches():
        refused[starts[first] : starts[behind] if behind < starts.size else None] = True
    return refused


class _Course:
    """The different values of a counter one after the other, and which steps between them are possible."""

    def __init__(self, t_ns: Ints, value_j: Floats, starts: Ints, kept: Ints, facts: Facts) -> None:
        """`starts` are the first readings of each value, among those that are `kept`."""
        self._facts = facts
        self._value = value_j[starts]
        self._since_s = (t_ns[starts] - t_ns[0]) / 1e9
        lasts = kept[np.searchsorted(kept, starts[1:]) - 1]
        self._until_s = (t_ns[lasts] - t_ns[0]) / 1e9
        """When each value but the last was last seen."""
        self._period_s = facts.period_s
        if self._period_s is None and starts.size > 3:
            self._period_s = float(np.median(np.diff(self._since_s)))

    def glitches(self) -> list[tuple[int, int]]:
        """Values, from … to before …, between two that go on as if they had not been there."""
        numbers = np.arange(1, self._value.size)
        bad = numbers[~self._possible(numbers - 1, numbers)]
        usual_w = self._usual_w()
        found: list[tuple[int, int]] = []
        behind = 0
        for at in bad.tolist():
            if at <= behind:
                continue
            for first, last in self._candidates(at, usual_w):
                if first > behind and bool(self._possible(np.array([first - 1]), np.array([last]))[0]):
                    found.append((first, last))
                    behind = last
                    break
            else:
                if few := self._at_an_end(at):
                    found.append(few)
                    behind = few[1]
        return found

    def _at_an_end(self, at: int) -> tuple[int, int] | None:
        """The few values before a bad one, or from it on, where nearly all others are on the other side."""
        size = self._value.size
        if at <= LONGEST_GLITCH and size > FEW_OF * at:
            return 0, at
        if size - at <= LONGEST_GLITCH and size > FEW_OF * (size - at):
            return at, size
        return None

    def _candidates(self, at: int, usual_w: float) -> list[tuple[int, int]]:
        """Values that may be off: those from the bad one on, or where it is lower, those before it.

        They came, or they go, with a leap: what goes on at the usual pace is a new course, unless it is lower by less
        than a usual step and then goes on from where it was, as counters do that waver.
        """
        reach = range(1, LONGEST_GLITCH + 1)
        fell_j = float(self._value[at - 1] - self._value[at])
        fell, wavers = fell_j > 0, 0 < fell_j < usual_w * float(np.median(np.diff(self._since_s)))
        ends = [at + k for k in reach if at + k < self._value.size]
        after = [(at, end) for end in ends if self._leaps(end, usual_w) or (wavers and self._goes_on(at, end, usual_w))]
        before = [(at - k, at) for k in reach if fell and at - k > 0 and self._leaps(at - k, usual_w)]
        return [*after, *before]

    def _goes_on(self, at: int, end: int, usual_w: float) -> bool:
        """Whether the counter rose about as usual from the value before the one at `at` to that at `end`."""
        rose_j, apart_s = (float(x[end] - x[at - 1]) for x in (self._value, self._since_s))
        return rose_j > usual_w * apart_s / 2

    def _leaps(self, at: int, usual_w: float) -> bool:
        """Whether the counter comes to a value in no usual step."""
        step_j, apart_s = (float(x[at] - x[at - 1]) for x in (self._value, self._since_s))
        return step_j < 0 or step_j > SPIKE * usual_w * apart_s

    def _usual_w(self) -> float:
        step, seconds = np.diff(self._value), np.diff(self._since_s)
        rising = step > 0
        return float(np.median(step[rising] / seconds[rising])) if rising.any() else 0.0

    def _possible(self, before: Ints, after: Ints) -> Bools:
        """Whether the counter can have gone from one value to another."""
        step = self._value[after] - self._value[before]
        if self._facts.range_j is not None:
            step = np.where(step < 0, step + self._facts.range_j, step)
        possible: Bools = (step >= 0) & (step <= self._facts.most_j(self._time_s(before, after)))
        return possible

    def _time_s(self, before: Ints, after: Ints) -> Floats:
        """Longest time between two updates: a period more than between their reads.

        Where no period is known, it may be as long as since the value before them was last seen.
        """
        apart: Floats = self._since_s[after] - self._since_s[before]
        if self._period_s is not None:
            return apart + self._period_s
        earlier = np.where(before > 0, self._until_s[np.maximum(before - 1, 0)], -UNTOLD_PERIOD_S)
        longest: Floats = self._since_s[after] - earlier
        return longest
