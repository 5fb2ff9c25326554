"""Tails: against closed forms and printed tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipw.metrics.distributions import (
    beta_cdf,
    chi2_quantile,
    coin_survival,
    f_survival,
    t_quantile,
    t_survival,
)

UNHURRIED = settings(max_examples=60, deadline=None)


@UNHURRIED
@given(st.integers(0, 60), st.integers(0, 60))
def test_coins_are_counted_exactly(heads: int, tosses: int) -> None:
    exact = sum(math.comb(tosses, k) for k in range(heads, tosses + 1)) / 2**tosses
    assert coin_survival(heads, tosses) == pytest.approx(exact, rel=1e-11)


@UNHURRIED
@given(st.floats(0.001, 0.999), st.floats(0.1, 300), st.floats(0.1, 300))
def test_the_beta_function_mirrors(x: float, a: float, b: float) -> None:
    assert beta_cdf(x, a, b) + beta_cdf(1 - x, b, a) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("tail", "df", "t"),
    [(0.05, 1, 6.3138), (0.05, 2, 2.9200), (0.025, 9, 2.2622), (0.01, 30, 2.4573), (0.05, 1e9, 1.6464)],
)
def test_students_t_is_the_printed_one(tail: float, df: float, t: float) -> None:
    assert t_quantile(tail, df) == pytest.approx(t, abs=2e-4)


@UNHURRIED
@given(st.floats(0.0001, 0.9999), st.integers(1, 200))
def test_quantile_and_survival_of_t_undo_each_other(tail: float, df: int) -> None:
    assert t_survival(t_quantile(tail, df), df) == pytest.approx(tail, rel=1e-6)


def test_infinitely_many_degrees_of_freedom_are_the_normal() -> None:
    assert t_quantile(0.025, math.inf) == pytest.approx(1.959964, abs=1e-6)
    assert t_survival(1.959964, math.inf) == pytest.approx(0.025, abs=1e-7)


def test_f_and_chi_squared_are_the_printed_ones() -> None:
    assert f_survival(4.26, 2, 9) == pytest.approx(0.05, abs=2e-4)
    assert chi2_quantile(0.05, 10) == pytest.approx(18.307, rel=0.01)
    assert chi2_quantile(0.8, 6) == pytest.approx(3.070, rel=0.01)
