"""Intervals of 95 %: they hold the truth as often as they say, and never more precisely than the data allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.metrics import stats


def columns(*values: object) -> stats.Array:
    return np.stack([np.asarray(v, np.float64) for v in values], axis=1)


def test_the_same_seed_gives_the_same_sums_to_the_last_digit() -> None:
    values = np.random.default_rng(3).random((200, 3))
    first, second = (stats.resampled_sums(values, 7) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, stats.resampled_sums(values, 8))


def test_the_sums_of_a_resampling_spread_as_theory_says() -> None:
    values = np.random.default_rng(0).normal(10, 2, (400, 1))
    sums = stats.resampled_sums(values, 0)
    assert sums.mean() == pytest.approx(values.sum(), rel=0.01)
    assert sums.std() == pytest.approx(values.std() * np.sqrt(400), rel=0.06)


def test_columns_are_resampled_together_so_that_a_fixed_ratio_stays_fixed() -> None:
    energy = np.random.default_rng(1).random(100)
    sums = stats.resampled_sums(columns(energy, 3 * energy), 0)
    assert np.allclose(sums[:, 1] / sums[:, 0], 3)


def test_a_million_rows_are_resampled_in_cells_with_the_same_spread() -> None:
    values = np.random.default_rng(2).normal(5, 1, (1_000_000, 1))
    sums = stats.resampled_sums(values, 0)
    assert sums.std() == pytest.approx(1000, rel=0.1)
    assert sums.mean() == pytest.approx(values.sum(), rel=1e-3)


@pytest.mark.parametrize("n", [6, 30])
def test_the_interval_of_a_ratio_of_means_holds_the_truth_in_about_95_of_100_samples(n: int) -> None:
    rng = np.random.default_rng(4)
    held = 0
    for seed in range(200):
        power = rng.normal(20, 3, n)
        energy = power * rng.normal(2, 0.2, n)
        sums = stats.resampled_sums(columns(energy, power), seed)
        value = energy.sum() / power.sum()
        low, high = stats.percentile_interval(sums[:, 0] / sums[:, 1], value, n)
        assert low is not None
        assert high is not None
        held += low <= 2 <= high
    assert 182 <= held <= 199


def test_one_row_has_no_interval() -> None:
    assert stats.percentile_interval(np.ones(stats.REPLICATES), 1.0, 1) == (None, None)


def test_an_interval_that_is_open_above_says_so() -> None:
    replicates = np.full(stats.REPLICATES, np.inf)
    replicates[:1000] = 2.0
    assert stats.percentile_interval(replicates, 3.0, 100) == (2.0, None)


@pytest.mark.parametrize(
    ("df", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423), (1000, 1.9623)]
)
def test_student_t_agrees_with_the_tables(df: int, expected: float) -> None:
    assert stats.student_t975(df) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(10, 10, 0.722, 1.0), (0, 10, 0.0, 0.278), (50, 100, 0.404, 0.596)]
)
def test_wilson_agrees_with_published_values(right: int, n: int, low: float, high: float) -> None:
    assert stats.wilson(right, n) == pytest.approx((low, high), abs=1e-3)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_proportion_and_stays_within_0_and_1(case: tuple[int, int]) -> None:
    right, n = case
    low, high = stats.wilson(right, n)
    assert low is not None
    assert high is not None
    assert 0 <= low <= right / n <= high <= 1
    assert low < high


def test_the_median_of_a_hundred_is_bounded_by_the_40th_and_the_61st() -> None:
    assert stats.quantile_interval(np.arange(1, 101.0), 0.5) == (40, 61)


def test_a_small_sample_does_not_bound_a_99th_percentile_from_above() -> None:
    low, high = stats.quantile_interval(np.arange(1, 51.0), 0.99)
    assert low == 48
    assert high is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_the_bounds_of_a_percentile_are_values_of_the_sample_around_it(sample: list[float], q: float) -> None:
    values = np.array(sample)
    low, high = stats.quantile_interval(values, q)
    assert low is None or (low in sample and low <= np.quantile(values, q, method="higher"))
    assert high is None or (high in sample and high >= np.quantile(values, q, method="lower"))


def test_an_independent_gain_widens_in_quadrature() -> None:
    assert stats.in_quadrature(100, 3, 3, 0.04) == pytest.approx((95, 105))


def test_gain_draws_have_the_half_width_that_was_asked_for() -> None:
    low, high = np.quantile(stats.gain_draws(0.5, 0), [0.025, 0.975])
    assert (low, high) == pytest.approx((0.5, 1.5), abs=0.05)
