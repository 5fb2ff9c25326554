"""What is learned of a sensor, from readings of one whose behaviour is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipw.profilers.probe.characterise import (
    Floats,
    Ints,
    NotMeasuredError,
    Trace,
    averaging_window,
    idle_power,
    mean_power,
    phase_spread,
    resolution,
    rise_time,
    update_period,
    updates,
)
from ipw.profilers.probe.loads import PHASES, Pulses, irregular_pulses, phased_pulses

MS, SECOND = 1_000_000, 1_000_000_000
HALF_NS = 10_000
FEW = settings(max_examples=25, deadline=None)


def reads(seconds: float, every_ns: int = MS, seed: int = 0) -> Ints:
    """Moments of reads, none exactly on time."""
    count = int(seconds * SECOND / every_ns)
    return np.sort(np.arange(count) * every_ns + np.random.default_rng(seed).integers(0, every_ns // 2, count)) + SECOND


def trace(t: Ints, value: npt.ArrayLike) -> Trace:
    return Trace(
        t,
        np.asarray(value, np.float64),
        np.full(t.size, HALF_NS),
        np.full(t.size, 2 * HALF_NS),
        float(np.median(np.diff(t))),
    )


def worked_s(t: Floats, pulses: Pulses) -> Floats:
    """Seconds of work up to each moment."""
    total = np.zeros(np.shape(t))
    for start, end in pulses:
        total += np.clip(t, start, end) - start
    return total / SECOND


def shown(
    t: Ints, period_ns: float, window_ns: float, pulses: Pulses, idle_w: float = 60.0, work_w: float = 240.0
) -> Floats:
    """A power sensor that is renewed every period, and tells the mean over the window before."""
    latch = np.floor(t / period_ns) * period_ns
    busy = (worked_s(latch, pulses) - worked_s(latch - window_ns, pulses)) / window_ns * SECOND
    return idle_w + work_w * busy


def counted(t: Ints, period_ns: float, pulses: Pulses, idle_w: float = 60.0, work_w: float = 240.0) -> Floats:
    """A counter that is renewed every period."""
    latch = np.floor(t / period_ns) * period_ns
    joules = idle_w * latch / SECOND + work_w * worked_s(latch, pulses)
    return np.floor(joules * 1e3) / 1e3


# --- update period ---------------------------------------------------------------------------------------------------


@FEW
@given(st.floats(5, 300), st.floats(0, 0.1), st.integers(0, 99))
def test_the_update_period_is_found_through_jitter(period_ms: float, jitter: float, seed: int) -> None:
    period = period_ms * MS
    t = reads(max(1.0, 20 * period_ms / 1e3), seed=seed)
    ticks = np.arange(0.0, t[-1] + period, period)
    ticks += np.random.default_rng(seed).uniform(-jitter, jitter, ticks.size) * period
    value = np.searchsorted(ticks, t) * 1.0
    assert update_period(trace(t, value)) == pytest.approx(period_ms / 1e3, rel=0.02 + jitter / 5)


@FEW
@given(st.floats(20, 100), st.floats(0.5, 1.0), st.integers(0, 99))
def test_updates_that_leave_the_value_as_it_was_are_allowed_for(period_ms: float, varied: float, seed: int) -> None:
    t = reads(8.0, seed=seed)
    number = np.floor(t / (period_ms * MS)).astype(int)
    chance = np.random.default_rng(seed)
    steps = np.cumsum(chance.random(number.max() + 1) < varied).astype(float)
    assert update_period(trace(t, steps[number])) == pytest.approx(period_ms / 1e3, rel=0.02)


def test_what_is_renewed_at_every_reading_is_only_bounded() -> None:
    t = reads(1.0)
    with pytest.raises(NotMeasuredError, match="at least as often as it was read"):
        update_period(trace(t, t / 1e9))


def test_a_value_that_hardly_changes_has_no_period() -> None:
    t = reads(1.0)
    with pytest.raises(NotMeasuredError, match="changed 2 times only"):
        update_period(trace(t, np.floor(t / (400.0 * MS))))


def test_updates_without_rhythm_have_no_period() -> None:
    t = reads(10.0)
    ticks = np.cumsum(np.random.default_rng(3).exponential(80 * MS, 400)) + SECOND
    with pytest.raises(NotMeasuredError, match="no regular time"):
        update_period(trace(t, np.searchsorted(ticks, t) * 1.0))


# --- resolution ------------------------------------------------------------------------------------------------------


@FEW
@given(st.sampled_from([1e-6, 1e-3, 1e-2, 0.1, 1.0]), st.floats(0, 1e5), st.integers(0, 99))
def test_a_decimal_step_is_found(step: float, start: float, seed: int) -> None:
    steps = np.random.default_rng(seed).integers(1, 100_000, 60)
    values = (np.floor(start / step) + np.cumsum(steps)) * step
    assert resolution(values) == pytest.approx(step)


@pytest.mark.parametrize("bits", [14, 16])
def test_rapls_binary_step_is_found_behind_its_rounding_to_millionths(bits: int) -> None:
    counts = np.cumsum(np.random.default_rng(1).integers(1, 5000, 200))
    assert resolution(np.floor(counts * 2.0**-bits * 1e6) / 1e6) == 2.0**-bits


def test_a_few_values_have_no_step() -> None:
    with pytest.raises(NotMeasuredError, match="only 2 different values"):
        resolution([60.0, 61.0, 60.0, 61.0])


# --- at rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counter", [True, False])
def test_idle_power_and_its_drift(counter: bool) -> None:
    t = reads(10.0)
    seconds = (np.floor(t / (100.0 * MS)) * 100 * MS - SECOND) / SECOND
    value = 50 * seconds + seconds**2 / 2 if counter else 50 + seconds
    mean, drift, noise = idle_power(trace(t, value), counter=counter)
    assert mean == pytest.approx(55, rel=0.01)
    assert drift == pytest.approx(9, rel=0.05)  # from the first tenth to the last
    assert noise < 0.1


def test_a_counter_that_falls_meanwhile_has_no_idle_power() -> None:
    t = reads(10.0)
    with pytest.raises(NotMeasuredError, match="fell"):
        idle_power(trace(t, (t / 1e9 * 50) % 260), counter=True)


# --- under load ------------------------------------------------------------------------------------------------------


@FEW
@given(st.sampled_from([20, 100]), st.floats(0.15, 10), st.integers(0, 99))
def test_the_averaging_window_is_found_whether_shorter_or_longer_than_the_period(
    period_ms: int, ratio: float, seed: int
) -> None:
    t = reads(12.0, seed=seed)
    pulses = irregular_pulses(int(t[0]), 11.0)
    told = trace(t, shown(t, period_ms * MS, ratio * period_ms * MS, pulses))
    found = averaging_window(*updates(told, counter=False), pulses, period_ms / 1e3)
    assert found == pytest.approx(ratio * period_ms / 1e3, rel=0.1, abs=1e-3)  # it is read once a millisecond


def test_a_counter_that_misses_nothing_looks_at_its_whole_period() -> None:
    t = reads(10.0)
    pulses = irregular_pulses(int(t[0]), 9.0)
    told = updates(trace(t, counted(t, 100 * MS, pulses)), counter=True)
    assert averaging_window(*told, pulses, 0.1) == pytest.approx(0.1, rel=0.05)


def test_values_that_have_nothing_to_do_with_the_load_have_no_window() -> None:
    t = reads(10.0)
    noise = np.random.default_rng(5).random(200)[np.floor(t / (100 * MS)).astype(int)]
    with pytest.raises(NotMeasuredError, match="no moving average"):
        averaging_window(*updates(trace(t, noise), counter=False), irregular_pulses(int(t[0]), 9.0), 0.1)


def test_an_average_over_a_second_rises_for_four_fifths_of_one() -> None:
    t = reads(6.0)
    pulse = (int(t[0]) + 2 * SECOND, int(t[0]) + 6 * SECOND)
    value = shown(t, 20 * MS, SECOND, [pulse])
    assert rise_time(t.astype(float), value, pulse) == pytest.approx(0.8, abs=0.05)


def test_a_load_that_does_not_show_has_no_rise() -> None:
    t = reads(2.0)
    with pytest.raises(NotMeasuredError, match="hardly shows"):
        rise_time(t.astype(float), np.full(t.size, 60.0), (int(t[900]), int(t[-1])))


PERIOD = 100 * MS


@pytest.mark.parametrize(("window_ms", "part_time"), [(25, True), (50, True), (100, False), (1000, False)], ids=str)
def test_only_a_sensor_that_looks_away_is_fooled_by_the_phase_of_a_load(window_ms: int, part_time: bool) -> None:
    t = reads(12.0)
    pulses, groups = phased_pulses(int(t[0]), PERIOD, 12, lead=10)
    told = trace(t, shown(t, PERIOD, window_ms * MS, pulses))
    spread = phase_spread([mean_power(told, *group, counter=False) for group in groups], 60.0)
    assert (spread > 0.25) == part_time


def test_a_counter_that_misses_nothing_is_not_fooled() -> None:
    t = reads(12.0)
    pulses, groups = phased_pulses(int(t[0]), PERIOD, 12)
    told = trace(t, counted(t, PERIOD, pulses))
    assert phase_spread([mean_power(told, *group, counter=True) for group in groups], 60.0) < 0.05


# --- loads -----------------------------------------------------------------------------------------------------------


def test_pulses_never_overlap_and_begin_when_they_should() -> None:
    irregular = irregular_pulses(SECOND, 5.0)
    phased, groups = phased_pulses(SECOND, PERIOD, 10)
    for pulses in (irregular, phased):
        edges = np.array(pulses).ravel()
        assert edges[0] == SECOND
        assert np.all(np.diff(edges) > 0)
    assert len(groups) == PHASES
    phases = {round((start - SECOND) / PERIOD % 1, 3) for start, _ in groups}
    assert phases == {k / PHASES for k in range(PHASES)}
