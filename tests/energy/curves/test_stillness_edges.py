"""Just how long a counter may stand still: stretches at each limit, and just beyond it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipw.energy.belief.stillness import stood_still

WATTS = 100.0


def still(t_s: Any, joules: Any, **facts: Any) -> list[tuple[float, float, bool]]:
    t = np.rint(np.asarray(t_s) * 1e9).astype(np.int64)
    found = stood_still(t, np.asarray(joules, np.float64), **facts)
    return [(round(each.start_ns / 1e9, 6), round(each.end_ns / 1e9, 6), each.caught_up) for each in found]


def test_one_that_never_moved_is_not_believed_after_a_twentieth_of_a_second() -> None:
    assert still([0, 0.02, 0.05], [7, 7, 7]) == [(0, 0.05, False)]
    assert still([0, 0.02, 0.049], [7, 7, 7]) == []
    assert still([0, 0.5], [7, 7]) == []


def test_a_coarse_one_may_never_move_for_as_long_as_a_tenth_of_a_watt_takes_three_of_its_steps() -> None:
    t = np.arange(0, 3.11, 0.1)
    assert still(t, 0 * t, resolution_j=0.1) == [(0, 3.1, False)]
    assert still(t[:-2], 0 * t[:-2], resolution_j=0.1) == []


@pytest.mark.parametrize(("reads", "seconds", "facts", "found"), [
    (10, 1.01, {}, True),
    (9, 1.01, {}, False),
    (10, 1.0, {}, False),
    (10, 1.6, {"period_s": 0.5}, True),
    (10, 1.4, {"period_s": 0.5}, False),
    (40, 3.1, {"resolution_j": 0.1}, True),
    (40, 2.9, {"resolution_j": 0.1}, False),
])  # fmt: skip
def test_one_that_moved_a_single_time_says_nothing_once_it_was_looked_at_for_long(
    reads: int, seconds: float, facts: dict[str, float], found: bool
) -> None:
    t = np.linspace(0, seconds, reads)
    assert still(t, np.where(t > 0.45 * seconds, 9, 4), **facts) == ([(0, seconds, False)] if found else [])


def frozen(step_s: float, from_s: float, for_s: float, *, makes_up: float = 0.0) -> tuple[Any, Any]:
    """A counter that steps so often at 100 W, and not for a while, after which it makes up for some of it."""
    t = np.arange(0, from_s + for_s + 10, step_s)
    stands = (t > from_s) & (t < from_s + for_s - step_s / 2)
    after = t >= from_s + for_s - step_s / 2
    return t, WATTS * (np.where(stands, from_s, t) - np.where(after, (1 - makes_up) * for_s, 0))


@pytest.mark.parametrize(("makes_up", "caught_up"), [(0.52, True), (0.48, False)])
def test_a_step_that_makes_up_for_half_of_what_is_usual_tells_what_was_drawn(makes_up: float, caught_up: bool) -> None:
    ((start, end, told),) = still(*frozen(0.1, 10, 6, makes_up=makes_up))
    assert (start, told) == (10, caught_up)
    assert end == pytest.approx(16 if caught_up else 15.9)


def test_a_counter_of_the_usual_kind_may_stand_still_for_three_seconds() -> None:
    assert still(*frozen(0.1, 10, 3.1, makes_up=1)) == []
    assert len(still(*frozen(0.1, 10, 3.2, makes_up=1))) == 1


def test_one_that_is_renewed_each_two_seconds_may_for_six() -> None:
    t = np.arange(0, 60, 0.1)
    for stands_s, found in ((5.9, 0), (6.4, 1)):
        shown = np.floor(t / 2 + 1e-9) * 2
        shown = np.where((t >= 20) & (t < 20 + stands_s), 20, shown)
        assert len(still(t, WATTS * shown)) == found


def test_one_of_coarse_steps_may_for_twenty_times_as_long_as_a_step_usually_takes() -> None:
    for for_s, found in ((19.0, 0), (23.0, 1)):
        t, joules = frozen(1.0, 30, for_s, makes_up=1)
        assert len(still(t, joules, resolution_j=100.0)) == found


def test_several_stretches_are_all_found_and_the_last_reading_ends_one() -> None:
    t = np.arange(0, 30, 0.1)
    joules = WATTS * (np.minimum(t, 5) + np.clip(t - 10, 0, 5) + np.clip(t - 20, 0, 2))
    found = still(t, joules)
    assert [(start, end) for start, end, _ in found] == [(5, 10), (15, 20), (22, 29.9)]
