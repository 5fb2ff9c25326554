"""Curves: knots where the hardware renewed its value, gaps where nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
from energy.simulator import Sampler, closed_loop, one_at_a_time
from hypothesis import given
from hypothesis import strategies as st

from ipw.energy.curve import add_curves, counter_curve, coverage, energy_at, energy_between, power_curve

SECOND = 1_000_000_000
MS = 1_000_000


def polled(power_w: float, *, seconds: float = 10.0, every_ms: int = 5, period_ms: int = 100):  # type: ignore[no-untyped-def]
    """Readings of a latched counter: times, values, status, half-widths."""
    t = np.arange(0, int(seconds * 1000), every_ms) * MS
    value = (t // (period_ms * MS)) * (power_w * period_ms / 1000)
    return t, value, np.zeros(t.size, np.int64), np.full(t.size, 10_000)


# --- counters --------------------------------------------------------------------------------------------------------


def test_knots_are_the_ticks_each_within_its_bracket() -> None:
    curve = counter_curve(*polled(300.0), ticks=True)
    ticks = np.arange(1, 100) * 100 * MS
    assert np.all(np.abs(curve.t_ns - ticks) <= curve.t_err_ns)
    assert np.all(curve.t_err_ns < 3 * MS)
    np.testing.assert_allclose(curve.energy_j, np.arange(99) * 30.0)


def test_a_tick_that_nobody_watched_lies_on_the_grid_of_the_others() -> None:
    t, value, status, half = polled(300.0)
    watched = (t < 1950 * MS) | (t > 2050 * MS)
    curve = counter_curve(t[watched], value[watched], status[watched], half[watched], ticks=True)
    assert np.all(np.abs(curve.t_ns - np.arange(1, 100) * 100 * MS) <= curve.t_err_ns)
    assert np.all(curve.t_err_ns < 6 * MS)
    np.testing.assert_allclose(curve.energy_j, np.arange(99) * 30.0)


def test_a_tick_after_which_nothing_was_read_gives_its_energy_to_the_next() -> None:
    t, value, status, half = polled(300.0)
    watched = (t < 1950 * MS) | (t > 2150 * MS)
    curve = counter_curve(t[watched], value[watched], status[watched], half[watched], ticks=True)
    assert curve.t_ns.size == 98
    assert np.all(curve.t_err_ns < 6 * MS)
    assert curve.energy_j[-1] == pytest.approx(98 * 30.0)


def test_without_ticks_the_knots_are_the_reads_as_old_as_the_update_lets_them_be() -> None:
    curve = counter_curve([0, SECOND, 2 * SECOND], [0.0, 5.0, 9.0], [0, 0, 0], [0, 0, 0], ticks=False)
    assert curve.t_ns.tolist() == [0, SECOND, 2 * SECOND]
    older = counter_curve([0, SECOND], [0.0, 5.0], [0, 0], [0, 0], ticks=False, update_period_s=0.001)
    assert older.t_ns.tolist() == [-500_000, SECOND - 500_000]
    assert older.t_err_ns.tolist() == [500_000, 500_000]
    streamed = counter_curve([0, SECOND], [0.0, 5.0], [0, 0], [0, 0], ticks=False, update_period_s=1.0)
    assert streamed.t_ns.tolist() == [0, SECOND]  # every read is an update


def test_two_packages_at_400_w_for_an_hour_are_exact_through_all_wraps() -> None:
    rng = np.random.default_rng(1)
    wraps = 0
    for package in range(2):
        t = np.sort(rng.uniform(0, 3600e9, 36_000 * 2)).astype(np.int64)
        truth = 400.0 * t / 1e9 + 20_000 * package
        value = truth % 65_532.6
        curve = counter_curve(
            t, value, np.zeros(t.size), np.zeros(t.size), ticks=False, range_j=65_532.6, max_power_w=500
        )
        wraps += int((np.diff(value) < 0).sum())
        assert curve.gaps_ns.size == 0
        assert curve.energy_j[-1] == pytest.approx(truth[-1] - truth[0], rel=1e-3)
    assert wraps >= 40


def test_a_reset_is_a_gap_with_no_energy_and_the_rest_goes_on() -> None:
    t = np.arange(6) * SECOND
    curve = counter_curve(t, [10.0, 20, 30, 2, 12, 22], np.zeros(6), np.zeros(6), ticks=False)
    assert curve.gaps_ns.tolist() == [[2 * SECOND, 3 * SECOND]]
    assert curve.gap_reasons == ("reset",)
    assert curve.energy_j.tolist() == [0, 10, 20, 20, 30, 40]


def test_what_a_counter_saw_during_an_outage_is_known_in_sum_and_placed_nowhere() -> None:
    t = np.arange(6) * SECOND
    status = [0, 0, 4, 4, 0, 0]
    curve = counter_curve(t, [0.0, 10, 0, 0, 40, 50], status, np.zeros(6), ticks=False)
    assert curve.gaps_ns.tolist() == [[SECOND, 4 * SECOND]]
    assert curve.gap_reasons == ("lost",)
    assert curve.energy_j[-1] == 50


def test_a_single_failed_read_of_a_counter_loses_nothing() -> None:
    t = np.arange(6) * 100 * MS
    curve = counter_curve(t, [0.0, 1, np.nan, 3, 4, 5], [0, 0, 0, 0, 1, 0], np.zeros(6), ticks=False)
    assert curve.gaps_ns.size == 0
    assert curve.energy_j.tolist() == [0, 1, 3, 5]


def test_readings_may_come_out_of_order_and_twice() -> None:
    curve = counter_curve([2, 0, 1, 1], [2.0, 0, 1, 1], [0] * 4, [0] * 4, ticks=False)
    assert curve.t_ns.tolist() == [0, 1, 2]
    assert curve.energy_j.tolist() == [0, 1, 2]


def test_no_readings_make_an_empty_curve_that_answers_everything_with_nothing() -> None:
    for curve in (counter_curve([], [], [], [], ticks=True), power_curve([], [], [], [])):
        assert curve.t_ns.size == 0
        assert energy_at(curve, [0, 5]).tolist() == [0, 0]
        assert [x.tolist() for x in energy_between(curve, [0], [5])] == [[0], [0], [0]]
        assert coverage(curve, 0, 5)[0] == 0


def test_times_that_are_no_times_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        counter_curve([0.0, np.nan], [0, 1], [0, 0], [0, 0], ticks=False)
    with pytest.raises(ValueError, match="one length"):
        counter_curve([0, 1], [0.0], [0, 0], [0, 0], ticks=False)


# --- power -----------------------------------------------------------------------------------------------------------


def test_samples_of_a_ramp_integrate_by_the_trapezoid_rule() -> None:
    curve = power_curve([0, SECOND, 2 * SECOND], [0.0, 100, 200], [0, 0, 0], [0, 0, 0])
    assert curve.energy_j.tolist() == [0, 50, 200]


def test_a_mean_over_an_update_counts_for_the_time_before_it_however_often_it_is_read() -> None:
    mean = np.array([100.0, 300.0, 300.0, 50.0, 80.0])  # over 0 to 100 ms, to 200 ms, …; readable from its end on
    t = np.arange(100, 600) * MS
    readings = (t, mean[t // (100 * MS) - 1], np.zeros(t.size), np.zeros(t.size))
    curve = power_curve(*readings, update_period_s=0.1)
    start = np.array([100, 200, 300, 400]) * MS
    energy, _, _ = energy_between(curve, start, start + 100 * MS)
    np.testing.assert_allclose(energy, [30.0, 30.0, 5.0, 8.0], rtol=0.03)


def test_power_that_nobody_read_is_a_gap() -> None:
    t = np.array([0, 1, 2, 30, 31]) * SECOND
    curve = power_curve(t, np.full(5, 10.0), np.zeros(5), np.zeros(5), max_gap_s=5)
    assert curve.gaps_ns.tolist() == [[2 * SECOND, 30 * SECOND]]
    assert curve.energy_j[-1] == 30
    t, status = np.arange(20) * SECOND, np.where((np.arange(20) > 4) & (np.arange(20) < 8), 4, 0)
    lost = power_curve(t, np.full(20, 10.0), status, np.zeros(20), max_gap_s=100)
    assert lost.gap_reasons == ("lost",)
    assert lost.gaps_ns.tolist() == [[4 * SECOND, 8 * SECOND]]
    assert lost.energy_j[-1] == 150


@pytest.mark.parametrize("every_ms", [20, 250, 1000, 30_000])
def test_one_failed_read_of_a_power_costs_one_reading(every_ms: int) -> None:
    t = np.arange(50) * every_ms * MS
    status = np.where(np.arange(50) == 25, 4, 0)
    curve = power_curve(t, np.full(50, 10.0), status, np.zeros(50))
    assert curve.gaps_ns.size == 0
    assert curve.energy_j[-1] == pytest.approx(10.0 * 49 * every_ms / 1e3)


# --- reading curves --------------------------------------------------------------------------------------------------


def test_the_interval_between_two_moments_holds_the_truth() -> None:
    held = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        world = one_at_a_time(rng, 60)
        curve = Sampler().curve(world, rng)
        start = rng.integers(10**9, world.step_ns[-1] - 3 * 10**9, 200)
        end = start + rng.integers(0, 2 * 10**9, 200)
        energy, low, high = energy_between(curve, start, end)
        truth = world.energy_at(end) - world.energy_at(start)
        assert np.all((low <= energy) & (energy <= high))
        held.append(np.mean((low <= truth) & (truth <= high)))
    assert np.mean(held) >= 0.95


def test_a_constant_power_is_exact_between_any_two_moments() -> None:
    curve = counter_curve(*polled(250.0), ticks=True)
    energy, _, _ = energy_between(curve, [1234 * MS, 3 * SECOND], [2345 * MS, 3 * SECOND])
    np.testing.assert_allclose(energy, [1.111 * 250, 0.0], atol=1e-9)


def test_an_interval_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        energy_between(counter_curve(*polled(1.0), ticks=True), [5], [4])


def test_coverage_tells_what_part_of_a_window_lies_between_readings_and_the_longest_silence() -> None:
    t = np.array([0, 1, 2, 6, 7, 8]) * SECOND
    curve = counter_curve(t, [0.0, 1, 2, 0, 1, 2], np.zeros(6), np.zeros(6), ticks=False)
    assert coverage(curve, 0, 8 * SECOND) == (0.5, 4.0)
    assert coverage(curve, -2 * SECOND, 2 * SECOND) == (0.5, 2.0)
    assert coverage(curve, 20 * SECOND, 21 * SECOND) == (0.0, 1.0)


def test_energies_of_added_curves_add_exactly_in_any_order() -> None:
    rng = np.random.default_rng(3)
    world = closed_loop(rng, 40)
    curves = [Sampler(period_s=p).curve(world, rng) for p in (0.1, 0.02, 0.05)]
    total, other = add_curves(curves), add_curves(curves[::-1])
    np.testing.assert_array_equal(total.t_ns, other.t_ns)
    np.testing.assert_allclose(total.energy_j, other.energy_j, rtol=1e-12)
    moments = rng.integers(10**9, world.step_ns[-1], 50)
    np.testing.assert_allclose(energy_at(total, moments), sum(energy_at(c, moments) for c in curves), rtol=1e-9)
    assert total.gap_reasons  # one began later than another
    assert add_curves([]).t_ns.size == 0


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 1e4)), min_size=2, max_size=40), st.data())
def test_energy_is_additive_over_adjacent_windows(steps: list[tuple[int, float]], data: st.DataObject) -> None:
    t = np.cumsum([s[0] for s in steps])
    curve = counter_curve(t, np.cumsum([s[1] for s in steps]), np.zeros(t.size), np.zeros(t.size), ticks=False)
    a, b, c = sorted(data.draw(st.lists(st.integers(0, int(t[-1]) + 10), min_size=3, max_size=3)))
    (ab, bc, ac), low, high = energy_between(curve, [a, b, a], [b, c, c])
    assert ab + bc == pytest.approx(ac, rel=1e-9, abs=1e-9)
    assert np.all(np.isfinite([low, high]))


@pytest.mark.parametrize(("unread_s", "known"), [(0.8, True), (1.6, False)])
def test_a_power_that_nobody_read_for_over_a_second_is_not_known_there(unread_s: float, known: bool) -> None:
    t = np.concatenate([np.arange(0, 3, 0.1), np.arange(3 + unread_s, 6, 0.1)])
    power = np.where(t < 3, 45.0, 130.0)
    curve = power_curve((t * 1e9).astype(np.int64), power, np.zeros(t.size), np.zeros(t.size))
    assert (curve.gaps_ns.size == 0) == known


@pytest.mark.parametrize("batch_s", [1.0, 2.0, 3.9])
@pytest.mark.parametrize("seen", [2, 3, 5])
def test_a_counter_in_batches_that_tells_no_period_holds_what_was_drawn_in_any_part_however_few_were_seen(
    batch_s: float, seen: int
) -> None:
    t = np.arange(0.0, (seen - 1) * batch_s + 0.25, 0.1)
    value = 1e6 + 100.0 * batch_s * np.floor((t - 0.1) / batch_s + 1e-9)
    t_ns, zeros = (t * 1e9).astype(np.int64), np.zeros(t.size)
    curve = counter_curve(t_ns, value, zeros, zeros + 20_000, ticks=False, max_power_w=700.0)
    start = np.linspace(0.15, (seen - 1) * batch_s - 0.4, 40)
    for length_s in (0.2, batch_s / 2, batch_s):
        end = np.minimum(start + length_s, (seen - 1) * batch_s + 0.1)
        _, low, high = energy_between(curve, (start * 1e9).astype(np.int64), (end * 1e9).astype(np.int64))
        assert np.all(low <= 100.0 * (end - start) + 1e-6)
        assert np.all(high >= 100.0 * (end - start) - 1e-6)
