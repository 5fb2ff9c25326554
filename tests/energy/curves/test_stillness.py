"""A counter that stands still for longer than it may is not believed; one that is renewed seldom is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipw.energy.belief.stillness import stood_still
from ipw.energy.curve import counter_curve, coverage

SECOND, MS = 1_000_000_000, 1_000_000


def still(t_s: Any, joules: Any, **facts: Any) -> list[Any]:
    t = np.rint(np.asarray(t_s) * 1e9).astype(np.int64)
    found = stood_still(t, np.asarray(joules, np.float64), **facts)
    return [(each.start_ns / 1e9, each.end_ns / 1e9, each.caught_up) for each in found]


T = np.arange(0, 30, 0.1)


@pytest.mark.parametrize("facts", [{}, {"period_s": 1e-3}, {"period_s": 0.2}, {"resolution_j": 61e-6}])
def test_a_counter_that_never_moves_is_still_from_the_first_reading_to_the_last(facts: dict[str, float]) -> None:
    for value in (0.0, 12345.678):
        assert still(T, np.full(T.size, value), **facts) == [(0.0, pytest.approx(29.9), False)]
        assert still(T[:5], np.full(5, value), **facts) == [(0.0, pytest.approx(0.4), False)]


def test_two_readings_say_nothing() -> None:
    assert still([0.0, 5.0], [1.0, 1.0]) == []


@pytest.mark.parametrize("from_s", [3.0, 10.0, 25.0])
def test_a_counter_that_freezes_is_still_from_then_on(from_s: float) -> None:
    (found,) = still(T, 100.0 * np.minimum(T, from_s))
    assert found == (pytest.approx(from_s, abs=0.11), pytest.approx(29.9), False)


def test_one_that_freezes_for_a_while_and_goes_on_from_there_lost_that_time() -> None:
    joules = 100.0 * np.where(T < 10, T, np.maximum(T - 6, 10.0))
    (found,) = still(T, joules)
    assert found == (pytest.approx(10.0, abs=0.11), pytest.approx(16.0, abs=0.11), False)


def test_one_that_freezes_for_a_while_and_makes_up_for_it_lost_nothing() -> None:
    joules = 100.0 * np.where((T >= 10) & (T < 16), 10.0, T)
    ((start, end, caught_up),) = still(T, joules)
    assert (start, end, caught_up) == (pytest.approx(10.0, abs=0.11), pytest.approx(16.0, abs=0.11), True)
    t = np.rint(T * 1e9).astype(np.int64)
    curve = counter_curve(t, joules, np.zeros(t.size), np.zeros(t.size), ticks=False)
    assert curve.energy_j[-1] == pytest.approx(2990.0)
    assert set(curve.gap_reasons) == {"stood still"}
    assert not curve.gap_lost.any()


@pytest.mark.parametrize("batch_s", [1.0, 2.0, 2.23, 5.0, 30.0])
@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_batches_are_no_stillness(batch_s: float, jitter: float) -> None:
    rng = np.random.default_rng(0)
    t = np.arange(0, 12 * batch_s, 0.1)
    ends = np.cumsum(batch_s * (1 + jitter * rng.uniform(-1, 1, 14)))
    joules = 50.0 * np.concatenate([[0.0], ends])[np.searchsorted(ends, t, "right")]
    assert still(t, joules) == []
    assert still(t, joules, period_s=1e-3) == []  # whatever it is said to be


def test_a_frozen_batch_is_found_after_three_of_its_periods() -> None:
    t = np.arange(0, 60, 0.1)
    joules = 50.0 * np.minimum(np.floor(t / 2) * 2, 20.0)
    ((start, _, caught_up),) = still(t, joules)
    assert (start, caught_up) == (pytest.approx(20.0, abs=0.2), False)


def test_an_idle_counter_that_is_renewed_once_a_second_is_not_still() -> None:
    """As some GPUs are while nothing runs, and ten times as often under load."""
    ticks = np.concatenate([np.arange(0, 10, 1.0), np.arange(10, 20, 0.1), np.arange(20, 30, 1.0)])
    joules = 20.0 * ticks[np.searchsorted(ticks, T, "right") - 1]
    assert still(T, joules) == []


def test_a_counter_of_whole_watt_hours_waits_for_the_next() -> None:
    t = np.arange(0, 600, 0.25)
    for watts in (5.0, 50.0):
        assert still(t, 3600.0 * np.floor(watts * t / 3600), resolution_j=3600.0, period_s=1.0) == []


def test_time_in_which_nobody_looked_is_no_stillness() -> None:
    t = np.concatenate([np.arange(0, 10, 0.1), np.arange(20, 30, 0.1)])
    assert still(t, 100.0 * t) == []


def test_what_moved_once_in_a_long_time_says_nothing_about_what_was_drawn_when() -> None:
    ((start, end, caught_up),) = still(T, np.where(T < 12, 1000.0, 1500.0))
    assert (start, end, caught_up) == (0.0, pytest.approx(29.9), False)


def test_a_frozen_counter_has_no_joules() -> None:
    for ticks in (True, False):
        t = np.rint(T * 1e9).astype(np.int64)
        curve = counter_curve(t, np.full(t.size, 5.0), np.zeros(t.size), np.zeros(t.size), ticks=ticks)
        assert curve.gap_lost.all()
        assert coverage(curve, 5 * SECOND, 25 * SECOND)[0] == 0.0


def test_one_that_freezes_halfway_has_the_joules_until_then() -> None:
    t = np.arange(0, 30_000, 5) * MS
    joules = np.minimum(t // (100 * MS), 150) * 30.0
    curve = counter_curve(t, joules, np.zeros(t.size), np.zeros(t.size), ticks=True)
    assert curve.energy_j[-1] == pytest.approx(149 * 30.0)
    assert coverage(curve, 5 * SECOND, 25 * SECOND)[0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("period_s", "found"), [(1e-3, 1), (0.1, 1), (None, 0), (1.0, 0)])
def test_a_counter_that_says_that_it_is_renewed_often_may_stand_still_for_a_second_only(
    period_s: float | None, found: int
) -> None:
    facts = {} if period_s is None else {"period_s": period_s}
    assert len(still(T, 100.0 * np.minimum(T, 28.0), **facts)) == found
    assert still(T, 100.0 * np.minimum(T, 29.2), **facts) == []
