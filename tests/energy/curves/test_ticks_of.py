"""Where a value changed, by hand: brackets of changes, hidden renewals, and what is between two moments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ipw.energy.knots import IMPOSSIBLE, between, sorted_out, ticks_of, updates

MS = 1_000_000


def ms(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    return (np.asarray(values, np.float64) * MS).astype(np.int64)


def test_a_change_lies_in_the_middle_between_the_reads_around_it_widened_by_how_long_they_took() -> None:
    t, value, half = ms([0, 10, 20, 50]), np.array([1.0, 1.0, 3.0, 4.0]), np.array([1.0, 2, 4, 6]) * MS
    at, new, err = ticks_of(t, value, half)
    assert at.tolist() == ms([(8 + 24) / 2, (16 + 56) / 2]).tolist()
    assert new.tolist() == [3.0, 4.0]
    assert err.tolist() == [8.0 * MS, 20.0 * MS]


def test_where_nothing_changed_there_is_no_tick() -> None:
    assert ticks_of(ms([0, 10, 20]), np.ones(3), np.zeros(3))[0].size == 0


def test_a_change_that_nobody_watched_joins_the_next_one_that_was() -> None:
    t = ms([0, 1, 100, 101, 301, 400, 401, 499, 500, 501, 599, 600, 601])
    value = np.array([0.0, 1, 1, 2, 3, 3, 4, 4, 4, 5, 5, 5, 6])
    at, new, err = ticks_of(t, value, np.zeros(t.size), sparse=True)
    assert 3.0 not in new.tolist()  # somewhere in 200 ms
    assert new.tolist() == [1, 2, 4, 5, 6]
    assert err.max() == 0.5 * MS
    assert np.all(np.diff(at) > 0)


def test_a_fall_is_kept_however_widely_it_was_bracketed() -> None:
    t = ms([0, 1, 100, 101, 301, 400, 401, 499, 500, 501, 599, 600, 601])
    value = np.array([10.0, 11, 11, 12, 3, 3, 4, 4, 4, 5, 5, 5, 6])
    assert ticks_of(t, value, np.zeros(t.size), sparse=True)[1].tolist() == [11, 12, 3, 4, 5, 6]


def test_a_power_that_was_read_often_has_a_knot_at_each_renewal_and_at_both_ends() -> None:
    t, power = ms(np.arange(0, 100, 10)), np.array([5.0, 5, 5, 7, 7, 7, 7, 9, 9, 9])
    at, value, err = updates(t, power, np.full(10, 1.0 * MS), 40.0 * MS)
    assert at.tolist() == ms([0, 25, 65, 90]).tolist()
    assert value.tolist() == [5, 7, 9, 9]
    assert err.tolist() == [1.0 * MS, 6.0 * MS, 6.0 * MS, 1.0 * MS]


def test_a_renewal_that_equal_values_hide_lies_a_period_before_the_next_one() -> None:
    t = ms(np.arange(0, 210, 10))
    power = np.where(np.arange(21) < 13, 5.0, 7.0)
    at, value, _ = updates(t, power, np.zeros(21), 40.0 * MS)
    assert at.tolist() == ms([0, 85, 125, 200]).tolist()
    assert value.tolist() == [5, 5, 7, 7]


@pytest.mark.parametrize(("period_ms", "as_read"), [(16.0, True), (17.0, False)])
def test_a_power_that_was_read_no_faster_than_it_is_renewed_has_its_knots_where_it_was_read(
    period_ms: float, *, as_read: bool
) -> None:
    t, power = ms(np.arange(0, 60, 10)), np.array([5.0, 5, 7, 7, 9, 9])
    at, _, _ = updates(t, power, np.zeros(6), period_ms * MS)
    assert (at.tolist() == t.tolist()) == as_read


def test_a_power_that_never_changed_and_a_single_reading_are_left_as_they_are() -> None:
    t = ms([0, 10, 20])
    assert updates(t, np.full(3, 5.0), np.zeros(3), 100.0 * MS)[0].tolist() == t.tolist()
    assert updates(t[:1], np.array([5.0]), np.zeros(1), 100.0 * MS)[0].tolist() == [0]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(0, 10, [0]), (5, 15, [0, 1]), (10, 20, [1]), (10, 21, [1, 2]), (25, 99, [2]), (-5, 5, [0]), (30, 40, [])],
)
def test_between_two_moments_are_the_intervals_that_overlap_them(start: int, end: int, found: list[int]) -> None:
    assert list(between(np.array([0, 10, 20, 30]), start, end)) == found


def test_readings_are_sorted_each_moment_counts_once_and_what_is_bad_is_kept_apart() -> None:
    t, value = [30, 10, 20, 20, 40, 50], [3.0, 1.0, 2.0, 9.0, np.nan, 5.0]
    good_t, good, half, bad_t, codes = sorted_out(t, value, [0, 0, 0, 0, 0, 7], [3.0, 1, 2, 9, 4, 5])
    assert (good_t.tolist(), good.tolist(), half.tolist()) == ([10, 20, 30], [1, 2, 3], [1, 2, 3])
    assert (bad_t.tolist(), codes.tolist()) == ([40, 50], [0, 7])
    doubted = sorted_out(t, value, [0, 0, 0, 0, 0, 7], [3.0, 1, 2, 9, 4, 5], doubt=lambda _, value: value == 2.0)
    assert doubted[0].tolist() == [10, 30]
    assert (doubted[3].tolist(), doubted[4].tolist()) == ([20, 40, 50], [IMPOSSIBLE, 0, 7])
