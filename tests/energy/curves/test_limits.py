"""The most that anything may draw: by class, as a device tells it, and which of what it tells is no limit."""

from __future__ import annotations

import math

import pytest

from ipw.energy.belief.limits import OF_SCOPE, SENTINELS, most_power_w

GPU_W = OF_SCOPE["gpu"].power_w


@pytest.mark.parametrize("told_w", [1.0, 2, 700.0, 4 * GPU_W])
def test_a_limit_is_believed_from_one_watt_to_four_times_the_class(told_w: float) -> None:
    assert most_power_w("gpu", told_w) == told_w


@pytest.mark.parametrize(
    "told_w", [0.99, 0.0, -5.0, 4.01 * GPU_W, math.inf, math.nan, None, "700", True, [700.0], 2**31 - 1]
)
def test_what_is_no_limit_leaves_that_of_the_class(told_w: object) -> None:
    assert most_power_w("gpu", told_w) == GPU_W


def test_a_scope_that_nobody_knows_is_the_largest() -> None:
    assert most_power_w("toaster") == most_power_w("wall") == max(each.power_w for each in OF_SCOPE.values())
    assert most_power_w(None) == most_power_w("wall")


def test_a_part_may_draw_no_more_than_what_it_is_a_part_of() -> None:
    order = ["ane", "soc"], ["core", "package"], ["uncore", "package"], ["package", "system"], ["system", "wall"]
    for part, whole in order:
        assert most_power_w(part) <= most_power_w(whole)


def test_numbers_with_all_bits_set_stand_for_nothing_in_any_unit_in_which_they_are_above_a_watt() -> None:
    told = [65.535, 65535.0, 2.147483647, 2147483.648, 4.294967295, 4294967296.0, 18446744073709551615.0]
    assert all(any(math.isclose(each, known) for known in SENTINELS) for each in told)
    assert not any(math.isclose(0.065535, known) for known in SENTINELS)
