"""Small parts of the attribution, each by hand: cuts of a long run, bends of a law, limits that are none, renewals."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy import pieces
from ipw.energy.belief.told_limits import is_no_limit, power_of_steps
from ipw.energy.curve import Curve
from ipw.energy.knots import updates
from ipw.energy.regression import nonnegative, regress, triangle
from ipw.energy.saturation import BENDS, concave_law, linear
from ipw.energy.segments import Segments
from ipw.energy.timeline import Spans

SECOND, MS = 1_000_000_000, 1_000_000


# --- pieces ----------------------------------------------------------------------------------------------------------


def spans(*start: int) -> Spans:
    zeros = np.zeros(len(start), np.int64)
    at = np.array(start, np.int64)
    return Spans(at, at + 1, zeros, ("a",), np.arange(len(start)), np.ones(len(start)))


def test_a_long_run_is_cut_into_pieces_of_as_many_events_each() -> None:
    t = np.arange(1001)
    curve = Curve(t, np.linspace(0, 1000, 1001), np.zeros(1001))
    assert pieces._cuts(curve, spans(), (0, 1000), 101).tolist() == list(range(100, 1000, 100))
    assert pieces._cuts(curve, spans(), (0, 1000), 1001).tolist() == []
    assert pieces._cuts(curve, spans(), (0, 1000), 1000).tolist() == [500]
    assert pieces._cuts(curve, spans(), (5, 5), 100).tolist() == []


def test_nothing_is_cut_at_the_first_knot_or_the_last() -> None:
    t = np.arange(101)
    curve = Curve(t, np.linspace(0, 100, 101), np.zeros(101))
    assert pieces._cuts(curve, spans(*[99] * 500), (0, 100), 400).tolist() == []
    assert pieces._cuts(curve, spans(*[-1] * 500), (0, 100), 400).tolist() != [0]


def test_a_span_is_two_events_so_that_busy_times_make_short_pieces() -> None:
    t = np.arange(1001)
    curve = Curve(t, np.linspace(0, 1000, 1001), np.zeros(1001))
    busy = spans(*range(100, 200), *range(100, 200), *range(100, 200), *range(100, 200), *range(100, 200))
    (cut,) = pieces._cuts(curve, busy, (0, 1000), 1001).tolist()
    assert cut == pytest.approx(182, abs=1)  # 182 knots and 82 times five spans before it: half of 2001 events


# --- laws ------------------------------------------------------------------------------------------------------------


def test_the_bends_of_a_law_are_powers_of_the_load_less_what_keeps_the_energy() -> None:
    load = np.random.default_rng(0).uniform(50, 400, 300)
    n = load.size
    seg = Segments(
        0, np.arange(n + 1) * SECOND, np.ones(n), np.vstack([np.ones(n), np.zeros(n)]), np.zeros((2, n)),
        np.zeros((1, n)), np.zeros((1, n)), np.zeros(n, np.int64), np.arange(n + 1), np.zeros(n, bool), load,
        np.ones(n, bool),
    )  # fmt: skip
    law = concave_law(seg, load, load / (0.01 * load), 0.01 * load)
    assert law.bends.shape == (BENDS, n)
    x = load / load.max()
    for k in range(BENDS):
        taken = load * x ** (k + 1) - law.bends[k]
        share = taken / (law.mean * load)
        np.testing.assert_allclose(share, share[0], rtol=1e-6)
        assert law.bends[k].sum() == pytest.approx(0, abs=1e-6 * taken.sum())
    nothing = concave_law(seg, np.zeros(n), load, load)
    assert (nothing.mean.tolist(), nothing.slope.tolist()) == ([1.0] * n, [1.0] * n)
    straight = linear(load)
    assert straight.bends.shape == (BENDS, n)
    assert not straight.bends.any()


# --- limits ----------------------------------------------------------------------------------------------------------


def test_the_steps_of_a_counter_are_powers_less_its_resolution_at_both_ends() -> None:
    t = np.array([0, 1, 2, 3, 5]) * SECOND
    moments, watts = power_of_steps(t, np.array([10.0, 10, 15, 15, 35]), 0.5)
    assert (moments / SECOND).tolist() == [2, 5]
    assert watts.tolist() == [(5 - 1) / 2, (20 - 1) / 3]


def held(count: int, every_s: float, of: int = 0, distinct: int = 5) -> bool:
    """Whether so many readings in a row at 40 W, among `of` at 5 W, refute a limit of 20 W."""
    watts = np.concatenate([np.full(of, 5.0), 40 + np.arange(count) % distinct])
    t = (np.arange(watts.size) * every_s * SECOND).astype(np.int64)
    return is_no_limit(20.0, 1000.0, t, watts)


def test_ten_readings_over_a_second_that_are_a_third_of_all_and_of_three_values_refute_a_limit() -> None:
    assert held(10, 0.12)
    assert held(11, 0.1)  # a second from the first to the last
    assert not held(10, 0.1)
    assert not held(9, 1.0)
    assert held(10, 1.0, of=20)
    assert not held(10, 1.0, of=21)
    assert held(10, 1.0, distinct=3)
    assert not held(10, 1.0, distinct=2)


def test_of_several_runs_beyond_a_limit_the_longest_counts() -> None:
    watts = np.array([40.0, 41, 42] * 3 + [5.0] + [40, 41, 42, 43] * 3 + [5.0] + [40, 41])
    t = np.arange(watts.size) * SECOND
    assert is_no_limit(20.0, 1000.0, t, watts)
    assert not is_no_limit(20.0, 1000.0, t[:10], watts[:10])
    assert is_no_limit(20.0, 1000.0, t[:12], np.append(np.full(2, 0.0), watts[10:20]))


# --- renewals --------------------------------------------------------------------------------------------------------


def test_two_readings_of_a_power_are_enough_for_a_renewal_between_them() -> None:
    t = np.array([0, 100]) * MS
    at, value, _ = updates(t, np.array([5.0, 7.0]), np.zeros(2), 1000.0 * MS)
    assert (at / MS).tolist() == [0, 50, 100]
    assert value.tolist() == [5, 7, 7]


# --- regression ------------------------------------------------------------------------------------------------------


def test_the_triangle_of_a_tall_matrix_has_its_squares() -> None:
    rows = np.random.default_rng(0).standard_normal((2, 3000, 4))
    factor = triangle(rows)
    assert factor.shape == (2, 4, 4)
    np.testing.assert_allclose(np.swapaxes(factor, 1, 2) @ factor, np.swapaxes(rows, 1, 2) @ rows, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.tril(factor, -1), 0, atol=1e-12)


def test_a_fit_without_negative_parts_satisfies_its_conditions() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = rng.standard_normal((12, 5)), rng.standard_normal(12)
        held = rng.random(5) < 0.7
        x = nonnegative(a, b, held)
        slope = a.T @ (b - a @ x)
        assert np.all(x[held] >= 0)
        np.testing.assert_allclose(slope[(x > 0) | ~held], 0, atol=1e-9)
        assert np.all(slope[held & (x == 0)] <= 1e-9)


def test_small_parts_are_found_beside_large_ones() -> None:
    a = np.eye(3)
    assert nonnegative(a, np.array([1e6, 0.5, -3.0]), np.ones(3, bool)).tolist() == pytest.approx([1e6, 0.5, 0])
    assert nonnegative(a, np.array([1e6, 0.5, -3.0]), np.zeros(3, bool)).tolist() == pytest.approx([1e6, 0.5, -3])


def test_precise_values_tell_coefficients_and_their_covariance() -> None:
    rng = np.random.default_rng(2)
    columns = rng.standard_normal((2, 500))
    values = np.array([3.0, -2.0]) @ columns + rng.standard_normal(500)
    x, cov = regress(columns, values, np.zeros(2, bool), np.full(2, np.inf))
    assert x.tolist() == pytest.approx([3, -2], abs=0.15)
    np.testing.assert_allclose(cov, np.linalg.inv(columns @ columns.T), rtol=0.12, atol=2e-4)
    wild = values.copy()
    wild[:10] += 1000
    assert regress(columns, wild, np.zeros(2, bool), np.full(2, np.inf))[0].tolist() == pytest.approx([3, -2], abs=0.25)


def test_a_prior_draws_held_coefficients_to_what_they_have_in_common_and_the_others_to_nothing() -> None:
    # both columns always come together, so only their sum is told: 10
    columns = np.ones((2, 400))
    values = np.full(400, 10.0)
    together, _ = regress(columns, values, np.ones(2, bool), np.ones(2))
    assert together.tolist() == pytest.approx([5, 5], rel=1e-3)
    one_held, _ = regress(columns, values, np.array([True, False]), np.array([1.0, 1.0]))
    assert one_held.tolist() == pytest.approx([10, 0], abs=0.05)
