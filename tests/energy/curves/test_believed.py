"""Readings that cannot be true fail, whatever they are; what a device can do is believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipw.energy.belief.believed import Facts, doubtful_counts, doubtful_power, sentinel
from ipw.energy.curve import Curve, counter_curve, power_curve

SECOND, MS = 1_000_000_000, 1_000_000
NOT_AVAILABLE = [
    number * unit
    for number in (0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
    for unit in (1.0, 1e-3, 1e-6, 1e-9)
    if number * unit > 1
]


def power(values: Any, every_ms: int = 20, **facts: Any) -> Curve:
    t = np.arange(len(values)) * every_ms * MS
    return power_curve(t, values, np.zeros(len(t)), np.zeros(len(t)), **({"max_power_w": 700.0} | facts))


def counter(values: Any, every_ms: int = 100, **facts: Any) -> Curve:
    t = np.arange(len(values)) * every_ms * MS
    given = {"ticks": False, "max_power_w": 700.0} | facts
    return counter_curve(t, values, np.zeros(len(t)), np.zeros(len(t)), **given)


# --- power -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [*NOT_AVAILABLE, 4294967.295, 3700.0, 1e9, -1.0, -65535.0])
def test_a_power_that_cannot_be_is_a_reading_that_failed(garbage: float) -> None:
    watts = np.full(500, 100.0)
    watts[50::50] = garbage
    curve = power(watts)
    assert curve.energy_j[-1] == pytest.approx(100 * 499 * 0.02)
    assert curve.gaps_ns.size == 0


@pytest.mark.parametrize("garbage", [4294967.295, np.nan, np.inf, -np.inf])
def test_a_sensor_that_tells_only_garbage_tells_nothing(garbage: float) -> None:
    assert power(np.full(100, garbage)).t_ns.size == 0


def test_a_device_that_works_never_draws_nothing_but_a_rail_of_several_may() -> None:
    watts = np.full(100, 100.0)
    watts[30:33] = 0.0
    assert power(watts, may_rest=False).energy_j[-1] == pytest.approx(198.0)
    assert power(watts, may_rest=True).energy_j[-1] == pytest.approx(192.0)
    assert power(np.zeros(100), may_rest=False).t_ns.size == 0
    assert power(np.zeros(100), may_rest=True).energy_j[-1] == 0.0


def test_an_idle_rail_whose_converter_is_off_by_a_step_draws_nothing() -> None:
    assert not doubtful_power(np.array([-0.15, 0.0, 0.15]), max_power_w=130.0).any()


def test_a_peak_of_twice_the_rated_power_is_believed() -> None:
    watts = np.full(500, 350.0)  # rated, and what a sensor tells as its limit is twice that
    watts[100:105] = 2 * 350.0
    assert power(watts).energy_j[-1] == pytest.approx(350 * 499 * 0.02 + 5 * 350 * 0.02)


def test_a_long_run_of_impossible_power_is_an_outage() -> None:
    watts = np.full(500, 100.0)
    watts[100:200] = 65535.0
    curve = power(watts)
    assert curve.gap_reasons == ("impossible values",)
    assert curve.energy_j[-1] == pytest.approx(100 * (499 - 101) * 0.02)


# --- counters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [*NOT_AVAILABLE, 0.0, -1.0, 3.69e11])
@pytest.mark.parametrize("start_j", [1000.0, 3.5e6])
@pytest.mark.parametrize("many", [1, 3])
def test_a_value_that_is_none_of_a_counter_is_a_reading_that_failed(garbage: float, start_j: float, many: int) -> None:
    joules = start_j + 10.0 * np.arange(300)
    for at in (100, 200):
        joules[at : at + many] = garbage
    curve = counter(joules)
    assert curve.energy_j[-1] == pytest.approx(10.0 * 299)
    assert curve.gaps_ns.size == 0


def test_three_different_wrong_values_are_as_wrong_as_one() -> None:
    joules = 1e6 + 10.0 * np.arange(100)
    joules[50:53] = 5e9, 3.0, 7e7
    assert counter(joules).energy_j[-1] == pytest.approx(990.0)


@pytest.mark.parametrize("garbage", [4294967.295, 4294.967295, 0.0])
def test_the_same_holds_for_a_counter_whose_ticks_were_watched(garbage: float) -> None:
    t = np.arange(0, 10_000, 5) * MS
    joules = 5e5 + t // (100 * MS) * 30.0
    joules[1000:1003] = garbage
    curve = counter_curve(t, joules, np.zeros(t.size), np.zeros(t.size), ticks=True, max_power_w=700.0)
    assert curve.gaps_ns.size == 0
    assert curve.energy_j[-1] == pytest.approx(98 * 30.0)


@pytest.mark.parametrize("garbage", [4294967.295, 0.0, 3.69e11])
def test_the_first_and_the_last_value_may_be_wrong_too(garbage: float) -> None:
    joules = 1e6 + 10.0 * np.arange(100)
    joules[:2] = joules[-2:] = garbage
    curve = counter(joules)
    assert curve.energy_j[-1] == pytest.approx(950.0)
    assert curve.gaps_ns.size == 0


def test_a_jump_that_stays_loses_the_time_of_the_jump_alone() -> None:
    joules = 10.0 * np.arange(100) + np.where(np.arange(100) >= 50, 1e9, 0.0)
    curve = counter(joules)
    assert curve.gap_reasons == ("impossible power",)
    assert curve.energy_j[-1] == pytest.approx(980.0)


def test_a_counter_that_starts_anew_is_believed_from_then_on() -> None:
    joules = np.concatenate([1e6 + 10.0 * np.arange(50), 10.0 * np.arange(50)])
    curve = counter(joules)
    assert curve.gap_reasons == ("reset",)
    assert curve.energy_j[-1] == pytest.approx(980.0)


def test_a_counter_that_wraps_is_not_impossible() -> None:
    joules = (65_000 + 30.0 * np.arange(100)) % 65_532.6
    curve = counter(joules, range_j=65_532.6)
    assert curve.gaps_ns.size == 0
    assert curve.energy_j[-1] == pytest.approx(2970.0)


def test_a_wrong_value_beside_a_wrap_is_left_out() -> None:
    joules = (65_000 + 30.0 * np.arange(100)) % 65_532.6
    for at in (17, 18, 60):
        wrong = joules.copy()
        wrong[at] = 4294.967295
        assert counter(wrong, range_j=65_532.6).energy_j[-1] == pytest.approx(2970.0)


@pytest.mark.parametrize("batch_s", [1.0, 2.0, 2.2, 30.0])
def test_joules_that_come_in_batches_are_over_the_time_since_the_last_batch(batch_s: float) -> None:
    t = np.arange(0, int(20 * batch_s * 10)) * 100 * MS
    joules = 600.0 * batch_s * np.floor((t / 1e9 + 0.05) / batch_s)
    refused = doubtful_counts(t, joules, Facts(max_power_w=600.0))
    assert not refused.any()
    curve = counter_curve(t, joules, np.zeros(t.size), np.zeros(t.size), ticks=False, max_power_w=600.0)
    assert curve.gaps_ns.size == 0
    assert curve.energy_j[-1] == pytest.approx(joules[-1] - joules[0], rel=0.1)


@pytest.mark.parametrize("range_j", [1e-6, 1.0, 500.0])
def test_a_range_that_the_counter_is_beyond_is_no_range(range_j: float) -> None:
    curve = counter(1e5 + 10.0 * np.arange(100), range_j=range_j)
    assert curve.gaps_ns.size == 0
    assert curve.energy_j[-1] == pytest.approx(990.0)


def test_a_counter_that_wavers_by_less_than_a_step_did_not_start_anew() -> None:
    joules = 1e6 + 10.0 * np.arange(100)
    joules[[30, 60]] -= 18.0
    curve = counter(joules)
    assert curve.gaps_ns.size == 0
    assert curve.energy_j[-1] == pytest.approx(990.0)


def test_whole_watt_hours_are_no_leap() -> None:
    t = np.arange(0, 600) * SECOND
    joules = 3600.0 * np.floor(50.0 * t / 1e9 / 3600)
    assert not doubtful_counts(t, joules, Facts(max_power_w=3000.0, resolution_j=3600.0)).any()


def test_a_load_that_begins_is_no_leap() -> None:
    joules = np.cumsum(np.where(np.arange(200) < 100, 0.5, 70.0))
    assert not doubtful_counts(np.arange(200) * 100 * MS, joules, Facts(max_power_w=700.0)).any()


def test_a_sentinel_is_one_in_whatever_unit_it_was_counted() -> None:
    assert sentinel(np.array(NOT_AVAILABLE)).all()
    assert not sentinel(np.array([65.5, 65534.0, 4294967.0, 0.0, 100.0, 2147.5])).any()


@settings(deadline=None)
@given(
    st.lists(st.floats(0.0, 1000.0), min_size=4, max_size=80),
    st.sets(st.integers(1, 78), max_size=5),
    st.sampled_from([4294967.295, 65535.0, 1e12, -1.0]),
)
def test_of_a_counter_with_some_wrong_values_just_these_are_refused(
    watts: list[float], at: set[int], garbage: float
) -> None:
    joules = 1e6 + np.concatenate([[0.0], np.cumsum(np.array(watts) * 0.1)])
    joules[[k for k in at if k < joules.size - 1]] = garbage
    refused = doubtful_counts(np.arange(joules.size) * 100 * MS, joules, Facts(max_power_w=700.0))
    assert refused.tolist() == (joules == garbage).tolist()


@settings(deadline=None)
@given(st.lists(st.floats(-1e7, 1e7, allow_nan=False), min_size=2, max_size=60), st.booleans())
def test_no_window_holds_more_than_the_device_can_draw(values: list[float], ticks: bool) -> None:
    t = np.arange(len(values)) * 100 * MS
    nothing = np.zeros(len(values))
    for curve in (
        counter_curve(t, values, nothing, nothing, ticks=ticks, max_power_w=700.0),
        power_curve(t, values, nothing, nothing, max_power_w=700.0),
    ):
        if curve.t_ns.size > 1:
            longest_s = float(np.ptp(curve.t_ns) + 2 * curve.t_err_ns.max()) / 1e9 + 0.2 * curve.t_ns.size
            assert curve.energy_j[-1] <= 1.5 * 700.0 * longest_s + 1e-6
