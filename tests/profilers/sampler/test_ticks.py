from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.profilers.sampler.ticks import MS, Cadence, TickFollower

S = 1_000 * MS
POLL_NS = 100 * MS


@dataclass
class Seen:
    """What a follower made of a counter over some simulated time."""

    reads: list[int] = field(default_factory=list)
    error_ms: list[float] = field(default_factory=list)
    """Of each tick that was seen: from the middle between the reads around it to the truth."""

    def share_within(self, limit_ms: float) -> float:
        return sum(error <= limit_ms for error in self.error_ms) / len(self.error_ms)


def follow(
    follower: TickFollower, ticks: Sequence[int], start_ns: int, end_ns: int, *, wake_us: float = 100, seed: int = 1
) -> Seen:
    """Let it read a counter with these ticks; the process wakes some time after it wanted to.

    To go on where another call ended, start at its last read.
    """
    lateness, seen = random.Random(seed), Seen()
    now = last = start_ns
    count = bisect_right(ticks, now)
    while True:
        now = max(follower.due_ns, now) + 5_000 + int(lateness.expovariate(1 / (wake_us * 1_000)))
        if now >= end_ns:
            return seen
        before, count = count, bisect_right(ticks, now)
        if count != before:
            seen.error_ms.append(abs((now + last) / 2 - ticks[count - 1]) / MS)
        follower.observe(now, count != before)
        seen.reads.append(now)
        last = now


def regular(period_ms: float, until_ns: int, jitter_ms: float = 0.0, from_ns: int = 30 * MS) -> list[int]:
    """Ticks on a grid, each shifted by up to `jitter_ms`."""
    scatter = random.Random(7)
    count = int((until_ns - from_ns) / (period_ms * MS))
    return sorted(from_ns + int((k * period_ms + scatter.uniform(-jitter_ms, jitter_ms)) * MS) for k in range(1, count))


def wandering(shortest_ms: float, longest_ms: float, until_ns: int) -> list[int]:
    """Ticks each of which comes some time between these after the one before it."""
    scatter, ticks = random.Random(7), [0]
    while ticks[-1] < until_ns:
        ticks.append(ticks[-1] + int(scatter.uniform(shortest_ms, longest_ms) * MS))
    return ticks


@pytest.mark.parametrize("period_ms", [10.0, 20.05, 100.0, 101.37, 250.0])
def test_a_steady_counter_is_read_two_or_three_times_a_tick_and_no_tick_is_missed(period_ms: float) -> None:
    follower = TickFollower(0, POLL_NS)
    ticks = regular(period_ms, 42 * S)
    follow(follower, ticks, 0, 2 * S)
    seen = follow(follower, ticks, 2 * S, 40 * S)
    assert len(seen.reads) < 2.8 * 38_000 / period_ms
    assert seen.share_within(1.0) > 0.95
    assert seen.share_within(2.0) > 0.995
    assert follower.missed <= 2
    assert follower.period_ns == pytest.approx(period_ms * MS, rel=0.02)
    assert follower.bracket_ns < 1.5 * MS


@pytest.mark.parametrize(
    "ticks",
    [wandering(100, 103, 62 * S), wandering(18, 23, 62 * S), regular(100, 62 * S, 2.0), regular(20, 62 * S, 2.0)],
    ids=["100 to 103 ms", "18 to 23 ms", "100 ms, 2 ms early or late", "20 ms, 2 ms early or late"],
)
def test_a_jittering_counter_costs_more_reads_and_few_ticks(ticks: Sequence[int]) -> None:
    follower = TickFollower(0, POLL_NS)
    follow(follower, ticks, 0, 2 * S)
    seen = follow(follower, ticks, 2 * S, 60 * S)
    truth = bisect_right(ticks, 60 * S) - bisect_right(ticks, 2 * S)
    assert len(seen.reads) < 4 * truth
    assert seen.share_within(2.0) > 0.96
    assert follower.missed < 0.04 * truth


@given(
    period_ms=st.floats(8.0, 300.0),
    jitter=st.floats(0.0, 0.01),
    wake_us=st.floats(1.0, 300.0),
    seed=st.integers(0, 2**32),
)
def test_whatever_the_period_nearly_every_tick_is_bracketed_within_2_ms(
    period_ms: float, jitter: float, wake_us: float, seed: int
) -> None:
    follower = TickFollower(0, POLL_NS)
    ticks = regular(period_ms, 12 * S, jitter * period_ms)
    follow(follower, ticks, 0, 3 * S, wake_us=wake_us, seed=seed)
    seen = follow(follower, ticks, 3 * S, 10 * S, wake_us=wake_us, seed=seed)
    assert seen.share_within(2.0) > 0.8


@given(st.lists(st.tuples(st.integers(0, 10**10), st.booleans()), max_size=200), st.integers(10**6, 10**10))
def test_whatever_it_sees_the_next_read_is_neither_past_nor_far(steps: list[tuple[int, bool]], poll_ns: int) -> None:
    follower = TickFollower(0, poll_ns)
    now = 0
    for late_ns, changed in steps:
        now = max(now, follower.due_ns) + late_ns
        follower.observe(now, changed)
        assert now <= follower.due_ns <= now + max(poll_ns, 1_500 * MS)


@pytest.mark.parametrize("period_ms", [1.0, 3.0])
def test_a_counter_that_renews_itself_all_the_time_is_read_on_its_cadence(period_ms: float) -> None:
    follower = TickFollower(0, POLL_NS)
    ticks = regular(period_ms, 62 * S)
    follow(follower, ticks, 0, 30 * S)
    seen = follow(follower, ticks, 30 * S, 60 * S)
    assert len(seen.reads) == pytest.approx(300, rel=0.1)
    assert follower.resting


def test_a_counter_that_sleeps_costs_little_and_is_followed_when_it_wakes() -> None:
    follower = TickFollower(0, POLL_NS)
    ticks = regular(100, 60 * S, from_ns=30 * S)
    follow(follower, ticks, 0, 2 * S)
    assert follower.resting
    asleep = follow(follower, ticks, 2 * S, 30 * S)
    assert len(asleep.reads) <= 281
    follow(follower, ticks, 30 * S, 33 * S)
    awake = follow(follower, ticks, 33 * S, 50 * S)
    assert awake.share_within(2.0) > 0.99


def test_a_counter_that_ticks_every_few_seconds_is_hunted_ever_more_rarely() -> None:
    follower = TickFollower(0, POLL_NS)
    ticks = regular(3_000, 1_000 * S)
    follow(follower, ticks, 0, 600 * S)
    seen = follow(follower, ticks, 600 * S, 900 * S)
    assert len(seen.reads) < 1.6 * 3_000


def test_a_period_that_changes_is_learned_again() -> None:
    follower = TickFollower(0, POLL_NS)
    ticks = regular(100, 20 * S) + regular(20, 60 * S, from_ns=20 * S)
    follow(follower, ticks, 0, 25 * S)
    seen = follow(follower, ticks, 25 * S, 50 * S)
    assert follower.period_ns == pytest.approx(20 * MS, rel=0.02)
    assert seen.share_within(2.0) > 0.99


@pytest.mark.parametrize("stall_ms", [45, 150, 10_000])
def test_after_a_stall_it_says_what_it_missed_and_follows_again(stall_ms: int) -> None:
    follower = TickFollower(0, POLL_NS)
    ticks = regular(100, 62 * S)
    follow(follower, ticks, 0, 20 * S)
    missed = follower.missed
    later = 20 * S + stall_ms * MS
    follow(follower, ticks, later, later + 4 * S)
    assert stall_ms // 100 - 1 <= follower.missed - missed <= stall_ms // 100 + 8
    seen = follow(follower, ticks, later + 4 * S, 50 * S)
    assert seen.share_within(2.0) > 0.99


def test_ticks_that_come_as_expected_are_watched_ever_more_rarely_but_each_is_read() -> None:
    follower = TickFollower(0, POLL_NS)
    follower.stride = 10
    ticks = regular(100, 42 * S)
    read_ns = follow(follower, ticks, 0, 5 * S).reads[-1]
    watched, ticked = follower.watched, follower.ticks
    seen = follow(follower, ticks, read_ns, 40 * S)
    assert follower.watched - watched == pytest.approx(350 / 20, abs=2)  # nobody says when: one in twice the stride
    assert follower.ticks - ticked == pytest.approx(350, abs=1)
    assert len(seen.reads) < 1.1 * 350
    assert follower.missed == 0


@pytest.mark.parametrize("periods", [1, 2, 5, 12])
def test_the_tick_that_is_to_be_watched_is(periods: int) -> None:
    follower = TickFollower(0, POLL_NS)
    follower.stride = 10
    ticks = regular(100, 42 * S)
    now_ns = follow(follower, ticks, 0, 20 * S).reads[-1]
    follower.watch_now(now_ns)
    now_ns = follow(follower, ticks, now_ns, 20_300 * MS).reads[-1]
    told_ns = ticks[bisect_right(ticks, now_ns) + periods]
    watched = follower.watched
    follower.watch_at(told_ns + 2 * MS)
    now_ns = [now_ns, *follow(follower, ticks, now_ns, told_ns - 5 * MS).reads][-1]
    assert follower.watched == watched
    seen = follow(follower, ticks, now_ns, told_ns + 5 * MS)
    assert follower.watched == watched + 1
    assert seen.error_ms[-1] < 1.0


def test_a_costly_counter_is_read_only_around_a_tick_now_and_then() -> None:
    follower = TickFollower(0, POLL_NS, costly=True)
    follower.stride = 16
    ticks = regular(100, 62 * S)
    follow(follower, ticks, 0, 10 * S)
    watched, missed = follower.watched, follower.missed
    seen = follow(follower, ticks, 10 * S, 60 * S, wake_us=3_000)  # the call itself takes long
    assert 0.9 * 50 / 1.6 < follower.watched - watched < 1.5 * 50 / 1.6
    assert len(seen.reads) < 4 * 50  # to follow every tick takes ten a second and more
    assert follower.missed - missed < 10


def test_a_costly_counter_that_is_to_be_watched_now_is() -> None:
    follower = TickFollower(0, POLL_NS, costly=True)
    follower.stride = 16
    ticks = regular(100, 62 * S)
    follow(follower, ticks, 0, 20 * S)
    assert follower.due_ns > 20 * S + 200 * MS
    follower.watch_now(20 * S)
    assert follower.due_ns < 20 * S + 100 * MS
    watched = follower.watched
    follow(follower, ticks, 20 * S, 20 * S + 200 * MS)
    assert follower.watched > watched


def test_ticks_that_stray_are_watched_closely_again() -> None:
    follower = TickFollower(0, POLL_NS)
    follower.stride = 10
    ticks = regular(100, 20 * S) + regular(100, 62 * S, 5.0, from_ns=20 * S)
    follow(follower, ticks, 0, 22 * S)
    watched, ticked = follower.watched, follower.ticks
    follow(follower, ticks, 22 * S, 60 * S)
    assert follower.watched - watched > 0.2 * (follower.ticks - ticked)


def test_a_cadence_alone_keeps_its_period_and_does_not_catch_up() -> None:
    cadence = Cadence(0, 100)
    due = []
    for now in (0, 103, 204, 650, 751):
        cadence.advance(now)
        due.append(cadence.due_ns)
        assert cadence.slack_ns == 0
    assert due == [100, 203, 304, 750, 851]


def test_a_cadence_with_leeway_takes_the_chance_of_any_read_that_is_nearly_due() -> None:
    cadence = Cadence(0, 100, 20)
    cadence.advance(0)
    assert (cadence.due_ns - cadence.slack_ns, cadence.due_ns) == (108, 120)


@pytest.mark.parametrize(
    "ticks",
    [regular(100, 30 * S), regular(20, 30 * S, 2.0), wandering(18, 60, 30 * S), regular(3000, 30 * S)],
    ids=["steady", "jittering", "wandering", "rare"],
)
def test_it_counts_no_tick_twice_and_what_it_counts_or_misses_are_all_that_there_were(ticks: Sequence[int]) -> None:
    follower = TickFollower(0, POLL_NS)
    seen = follow(follower, ticks, 0, 30 * S)
    there = bisect_right(ticks, seen.reads[-1])
    assert follower.ticks <= len(seen.error_ms) <= there
    if follower.period_ns is not None:  # it did not rest, where it counts nothing
        assert follower.ticks == len(seen.error_ms)


def test_of_a_stalled_process_the_ticks_that_passed_are_missed_and_not_counted() -> None:
    follower, ticks = TickFollower(0, POLL_NS), regular(100, 30 * S)
    first = follow(follower, ticks, 0, 10 * S)
    counted, missed = follower.ticks, follower.missed
    assert counted == len(first.error_ms)
    second = follow(follower, ticks, 12 * S, 20 * S)
    assert follower.ticks - counted == len(second.error_ms)
    assert follower.missed - missed == pytest.approx(20, abs=2)
