"""How a sensor behaves, from readings that are worked out by hand: each figure to the digit, and each limit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ipw.profilers.probe.characterise import (
    NotMeasuredError,
    Trace,
    averaging_window,
    changes,
    idle_power,
    mean_power,
    phase_spread,
    resolution,
    rise_time,
    told,
    update_period,
    updates,
)
from ipw.profilers.probe.loads import irregular_pulses

MS, SECOND = 1_000_000, 1_000_000_000


def trace(t_ms: npt.ArrayLike, value: npt.ArrayLike, *, half_ms: float = 0.0, every_ms: float = 1.0) -> Trace:
    t = (np.asarray(t_ms, np.float64) * MS).astype(np.int64)
    half = np.full(t.size, int(half_ms * MS))
    return Trace(t, np.asarray(value, np.float64), half, 2 * half, every_ms * MS)


def test_a_change_lies_between_the_reads_around_it_and_there_must_be_eight() -> None:
    at, value = changes(trace(np.arange(0, 90, 5), np.repeat(np.arange(9.0), 2), half_ms=1))
    assert (at / MS).tolist() == [7.5, 17.5, 27.5, 37.5, 47.5, 57.5, 67.5, 77.5]
    assert value.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    wide = trace([0, 10, 100, 110, 120, 130, 140, 150, 160, 170], np.arange(10.0))
    assert changes(wide)[0][1] == 55 * MS
    with pytest.raises(NotMeasuredError, match="its value changed 7 times only"):
        changes(trace(np.arange(8), np.arange(8.0)))


def test_an_update_that_changed_nothing_is_counted_and_a_long_pause_is_left_out() -> None:
    at = np.array([0, 100, 200, 400, 500, 800, 900, 1000, 1450, 1550, 1650, 1750])
    t = np.sort(np.concatenate([at - 0.5, at + 0.5]))
    value = np.repeat(np.arange(13.0), 2)[1:-1]
    assert update_period(trace(t, value)) == pytest.approx(0.1)


def test_what_is_renewed_less_than_three_reads_apart_is_only_bounded() -> None:
    t, value = np.arange(0, 300, 10), np.repeat(np.arange(10.0), 3)
    assert update_period(trace(t, value, every_ms=10)) == pytest.approx(0.03)
    with pytest.raises(NotMeasuredError, match=r"at least as often as it was read, every 10\.5 ms"):
        update_period(trace(t, value, every_ms=10.5))


@pytest.mark.parametrize(
    ("step", "power"), [(10.0, True), (1.0, True), (0.001, True), (2.0**-3, True), (2.0**-16, True)]
)
def test_steps_are_powers_of_ten_up_to_ten_or_of_two_from_an_eighth_on(step: float, power: bool) -> None:
    values = step * np.array([0, 1, 3, 4, 7, 9, 12, 14, 20, 21])
    assert (resolution(values) == step) == power


def test_steps_that_are_neither_are_those_that_both_are_multiples_of_and_nine_values_tell() -> None:
    odd = np.array([0, 1, 3, 4, 7, 9, 12, 14, 20])
    assert resolution(100.0 * odd) == 10
    assert resolution(0.5 * odd) == 0.125
    assert resolution(0.3 * odd) == pytest.approx(0.1)
    with pytest.raises(NotMeasuredError, match="only 8 different values were seen"):
        resolution(np.tile(odd[:-1], 3))
    with pytest.raises(NotMeasuredError, match="less than a millionth"):
        resolution(np.pi * 1e-5 * odd)


def test_idle_power_is_the_mean_its_rise_and_the_noise_around_that_in_ten_parts() -> None:
    power = 50 + 2 * np.arange(10.0) + np.tile([1, -1], 5)
    found = idle_power(trace(np.arange(1000), np.repeat(power, 100)), counter=False)
    slope, start = np.polyfit(np.arange(10), power, 1)
    rest = power - start - slope * np.arange(10)
    assert found == pytest.approx((power.mean(), 9 * slope, np.sqrt((rest**2).sum() / 8)), rel=2e-3)
    steady = trace(np.arange(0, 2001, 10), 5 + 0.03 * np.arange(0, 2001, 10))
    assert idle_power(steady, counter=True) == pytest.approx((30, 0, 0), abs=1e-9)


def test_idle_power_takes_twenty_readings_and_no_fall_of_a_counter() -> None:
    assert idle_power(trace(np.arange(20), np.full(20, 7.0)), counter=False)[0] == 7
    uneven = np.array([0, *np.repeat(np.arange(5, 45, 5), 2) + np.tile([1, 2], 8), 46, 47, 50])
    assert idle_power(trace(uneven, np.full(uneven.size, 7.0)), counter=False)[0] == pytest.approx(7)
    with pytest.raises(NotMeasuredError, match="nothing was read for a tenth of the time"):
        idle_power(trace([*range(15), *range(21, 50)], np.full(44, 7.0)), counter=False)
    with pytest.raises(NotMeasuredError, match="only 19 readings"):
        idle_power(trace(np.arange(19), np.full(19, 7.0)), counter=False)
    with pytest.raises(NotMeasuredError, match="device lost"):
        idle_power(trace(np.arange(50), np.full(50, 7.0))._replace(failed="device lost"), counter=False)
    falls = np.where(np.arange(100) < 50, np.arange(100.0), np.arange(100.0) - 60)
    with pytest.raises(NotMeasuredError, match="the counter fell meanwhile"):
        idle_power(trace(np.arange(100), falls), counter=True)


def test_a_step_rises_from_a_tenth_to_nine_tenths_of_what_the_load_adds() -> None:
    at = np.arange(0, 2000, 10.0) * MS
    ramp = 100 + 300 * np.clip((at / MS - 500) / 1000, 0, 1)
    assert rise_time(at, ramp, (500 * MS, 1990 * MS)) == pytest.approx(0.8)
    with pytest.raises(NotMeasuredError, match="the load hardly shows"):
        rise_time(at, 100 + 11 * np.clip((at / MS - 500) / 1000, 0, 1), (500 * MS, 1990 * MS))
    assert rise_time(at, 100 + 11.2 * np.clip((at / MS - 500) / 1000, 0, 1), (500 * MS, 1990 * MS)) > 0.7
    with pytest.raises(NotMeasuredError, match="within one update"):
        rise_time(at, np.where(at < 500 * MS, 100.0, 400.0), (500 * MS, 1990 * MS))
    for pulse in ((5 * MS, 1990 * MS), (500 * MS, 505 * MS)):
        with pytest.raises(NotMeasuredError, match="too few updates"):
            rise_time(at, ramp, pulse)
    assert rise_time(at[48:], ramp[48:], (500 * MS, 1990 * MS)) == pytest.approx(0.8)  # two before are enough


def test_how_far_a_load_looks_different_by_its_phase_is_a_share_of_what_it_adds() -> None:
    assert phase_spread([150, 200, 250], 100) == pytest.approx(1.0)
    assert phase_spread([106, 106, 105], 100) == pytest.approx(1 / (17 / 3))
    assert phase_spread([1, 1], 0) == 0
    for power, idle in (([104, 105.9], 100), ([90], 100), ([0, 0], 0)):
        with pytest.raises(NotMeasuredError, match="the load hardly shows"):
            phase_spread(power, idle)


def test_mean_power_is_that_of_the_readings_inside_and_of_a_counter_from_its_first_update_to_its_last() -> None:
    power = trace([0, 10, 20, 30, 40], [1.0, 2, 4, 9, 100])
    assert mean_power(power, 10 * MS, 30 * MS, counter=False) == 5
    with pytest.raises(NotMeasuredError, match=r"only 2 updates in 0\.019 s"):
        mean_power(power, 10 * MS, 29 * MS, counter=False)
    counter = trace(np.arange(0, 200, 10), np.repeat(np.arange(10.0), 2) * 3)
    assert mean_power(counter, 30 * MS, 160 * MS, counter=True) == pytest.approx(3 / 0.02)


def test_of_a_counter_updates_tell_watts_where_they_follow_one_another_by_a_period() -> None:
    at = np.cumsum([0, 100, 100, 114, 86, 100, 116, 84, 100, 100, 100])
    t = np.sort(np.concatenate([at - 0.5, at + 0.5]))
    joules = np.cumsum([0.0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110])
    moments, watts = updates(trace(t, np.repeat(joules, 2)[1:-1]), counter=True)
    kept = [100, 200, 314, 400, 500, 800, 900, 1000]
    assert (moments / MS).tolist() == pytest.approx(kept)
    assert watts.tolist() == pytest.approx(
        [joules[1 + at.tolist().index(k)] / 0.1 - joules[at.tolist().index(k)] / 0.1 for k in kept]
    )


def test_a_power_tells_at_every_reading_and_a_counter_between_its_updates() -> None:
    power = trace(np.arange(20), np.repeat(np.arange(10.0), 2))
    moments, watts = told(power, counter=False)
    assert (moments.tolist(), watts.tolist()) == ([k * MS for k in range(20)], np.repeat(np.arange(10.0), 2).tolist())
    assert told(power, counter=True)[0].size == updates(power, counter=True)[0].size == 8
    assert updates(power, counter=False)[0].size == 9


def test_a_step_is_found_behind_the_rounding_of_large_values_and_of_what_writes_them() -> None:
    odd = np.array([0, 1, 3, 4, 7, 9, 12, 14, 20, 21])
    assert resolution(np.concatenate([[0.0], 1e9 + 0.001 * odd])) == 0.001
    assert resolution(0.001 * odd + 5e-9 * (odd % 2)) == 0.001
    assert resolution(0.1 * odd + 9e-7 * (odd % 2)) == 0.1
    assert resolution([0.5, *range(1, 12)]) == 0.125
    with pytest.raises(NotMeasuredError, match="less than a millionth"):
        resolution(0.1 * odd + 1.3e-6 * (odd % 2))


WINDOWS = [(20, 0.15, 0.0), (20, 1.0, 0.3), (100, 0.5, 0.9), (100, 3.0, 0.0), (100, 10.0, 0.5), (50, 1.0, 0.05)]
FOUND_MS = [3.002318, 19.978579, 50.02957, 299.924737, 986.300098, 50.045943]


@pytest.mark.parametrize(("window", "found_ms"), [*zip(WINDOWS, FOUND_MS, strict=True)], ids=str)
def test_the_window_that_is_found_is_as_it_was_and_near_the_truth(
    window: tuple[int, float, float], found_ms: float
) -> None:
    period_ms, ratio, delay = window
    found = window_of(period_ms, ratio, delay)
    assert 1e3 * found == pytest.approx(found_ms, rel=1e-6)
    assert 1e3 * found == pytest.approx(ratio * period_ms, rel=0.1)


def window_of(period_ms: int, ratio: float, delay: float) -> float:
    """What is found of a sensor that averages over so many of its periods, and tells it a part of one late."""
    period, pulses = period_ms * MS, irregular_pulses(SECOND, 8.0)
    at = np.arange(SECOND + 15 * period, 9 * SECOND, period).astype(np.float64)
    ends, edges = at - delay * period, np.array(pulses, np.float64)

    def worked(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        total: npt.NDArray[np.float64] = (np.clip(t[:, None], edges[:, 0], edges[:, 1]) - edges[:, 0]).sum(axis=1)
        return total

    power = 60 + 240 * (worked(ends) - worked(ends - ratio * period)) / (ratio * period)
    return averaging_window(at, power, pulses, period / 1e9)


def test_of_what_follows_no_average_it_is_told_how_much_the_best_explains() -> None:
    pulses = irregular_pulses(SECOND, 8.0)
    at = np.arange(SECOND, 9 * SECOND, 50 * MS).astype(np.float64)
    with pytest.raises(NotMeasuredError, match=r"of the load \(the best explains \d+ %\)"):
        averaging_window(at, np.random.default_rng(5).random(at.size), pulses, 0.05)
    edges, busy = np.array(pulses, np.float64), np.zeros(at.size)
    for start, end in edges:
        busy = busy + np.clip(np.minimum(at, end) - np.maximum(at - 50 * MS, start), 0, None)
    noisy = 60 + 240 * busy / (50 * MS) + np.random.default_rng(5).normal(scale=60, size=at.size)
    with pytest.raises(NotMeasuredError, match="the best explains 74 %"):
        averaging_window(at, noisy, pulses, 0.05)
    with pytest.raises(NotMeasuredError, match="only 7 updates under load"):
        averaging_window(at[:7], at[:7], pulses, 0.05)
    with pytest.raises(NotMeasuredError, match="the best explains 0 %"):
        averaging_window(at, np.full(at.size, 60.0), pulses, 0.05)
