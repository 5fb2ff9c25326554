"""How often a counter is renewed, told by its readings alone."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.belief.limits import LEAST_LIMIT_W, MOST_LIMIT, OF_SCOPE, SENTINELS, most_power_w
from ipw.energy.belief.renewal import UNTOLD_PERIOD_S, changes, learnt_period_s, seldom_renewed, waited

S = 1_000_000_000


def test_changes_are_the_first_readings_of_new_values() -> None:
    assert changes(np.array([1.0, 1, 2, 2, 5, 4])).tolist() == [2, 4, 5]
    assert changes(np.array([3.0])).tolist() == []


def test_three_changes_tell_a_period_and_two_do_not() -> None:
    t = np.arange(8) * S
    assert learnt_period_s(t, np.array([0.0, 1, 1, 2, 2, 3, 3, 3])) == 2.0
    assert learnt_period_s(t, np.array([0.0, 1, 1, 2, 2, 2, 2, 2])) is None
    assert learnt_period_s(t, np.array([0.0, 1, 2, 2, 2, 2, 3, 3])) == 2.5  # the median of 1 and 4


@pytest.mark.parametrize(("reads", "seldom"), [(2, False), (3, True), (5, True)])
def test_a_counter_is_seldom_renewed_where_most_values_are_read_more_than_twice(reads: int, *, seldom: bool) -> None:
    value = np.repeat(np.arange(10.0), reads)
    assert seldom_renewed(np.arange(value.size) * S, value, 0.1) == seldom


@pytest.mark.parametrize(("resolution_j", "seldom"), [(0.3, True), (0.35, False), (1.0, False)])
def test_a_counter_whose_changes_are_few_of_its_steps_is_coarse_and_not_seldom_renewed(
    resolution_j: float, *, seldom: bool
) -> None:
    value = np.repeat(np.arange(10.0), 5)
    assert seldom_renewed(np.arange(value.size) * S, value, resolution_j) == seldom


def test_one_whose_changes_are_two_and_a_half_reads_apart_is_seldom_renewed() -> None:
    t = np.cumsum([0, 2, 2, 1, 2, 2, 1, 2, 2, 1]) * S  # a read each two seconds, a change each five
    assert seldom_renewed(t, np.array([0.0, 0, 0, 1, 1, 1, 2, 2, 2, 3]), 0.1)


def test_two_changes_far_apart_tell_that_nothing_was_renewed_between_them() -> None:
    assert seldom_renewed(np.arange(24) * S, np.repeat([0.0, 1.0, 2.0], 8), 0.1)


def test_too_few_changes_tell_nothing_of_how_seldom_it_is_renewed() -> None:
    assert not seldom_renewed(np.arange(20) * S, np.repeat([0.0, 1.0], 10), 0.1)


def test_energy_may_be_as_old_as_the_value_before_it_and_a_period_more() -> None:
    t = np.array([0, 1, 2, 3, 4, 5]) * S
    value = np.array([0.0, 1, 1, 1, 4, 4])
    np.testing.assert_allclose(waited(t, value, 0.5) / 1e9, [0.5, 0.5, 1.5, 2.5, 0.5])


def test_a_counter_that_does_not_say_its_period_is_taken_for_renewed_every_three_seconds_at_its_beginning() -> None:
    t = np.arange(6) * S
    few = np.array([0.0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(waited(t, few, None) / 1e9, UNTOLD_PERIOD_S + np.array([0, 1, 0, 1, 2]))
    learnt = np.array([0.0, 0, 1, 2, 3, 3])
    np.testing.assert_allclose(waited(t, learnt, None) / 1e9, [3, 4, 1, 1, 1])
    assert waited(t[:1], learnt[:1], None).size == 0


# --- the most that a device can draw ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", sorted(OF_SCOPE))
def test_a_limit_that_can_be_one_is_believed_and_another_is_that_of_the_class(scope: str) -> None:
    rated = OF_SCOPE[scope].power_w
    for told in (LEAST_LIMIT_W, 75, MOST_LIMIT * rated):
        assert most_power_w(scope, told) == told
    nonsense: list[object] = [0.99 * LEAST_LIMIT_W, 0, -5.0, 1.01 * MOST_LIMIT * rated, True, "400", None]
    for wrong in [*nonsense, float("nan"), float("inf")]:
        assert most_power_w(scope, wrong) == rated


def test_a_scope_that_nobody_knows_is_taken_for_the_largest() -> None:
    assert most_power_w("quantum") == max(most.power_w for most in OF_SCOPE.values()) == 150_000
    assert most_power_w(None, 300.0) == 300.0


@pytest.mark.parametrize("bits", ["65535", "2147483647", "2147483648", "4294967295", "9223372036854775807"])
@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_whole_numbers_of_set_bits_are_no_values_in_any_unit(bits: str, unit: float) -> None:
    assert any(abs(int(bits) * unit - each) <= 1e-9 * each for each in SENTINELS)


def test_what_is_no_such_number_is_none_of_them() -> None:
    assert all(each > 1 for each in SENTINELS)
    assert list(SENTINELS) == sorted(SENTINELS)
    assert not any(abs(each - 400.0) < 1 for each in SENTINELS)
