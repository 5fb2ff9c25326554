"""Least squares with coefficients that may not be negative: against textbook solutions and an exhaustive search."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from ipw.energy.regression import BLOCK, nonnegative, regress, triangle

Floats = npt.NDArray[np.float64]


@pytest.mark.parametrize("rows", [3, BLOCK, 2 * BLOCK, 2 * BLOCK + 1, 5 * BLOCK + 7])
def test_a_factor_by_blocks_has_the_same_squares_as_the_whole(rows: int) -> None:
    tall = np.random.default_rng(0).standard_normal((rows, 3))
    factor = triangle(tall)
    assert factor.shape == (3, 3)
    np.testing.assert_allclose(factor.T @ factor, tall.T @ tall, rtol=1e-9)
    np.testing.assert_allclose(np.tril(factor, -1), 0)


def test_several_matrices_are_factored_side_by_side() -> None:
    tall = np.random.default_rng(1).standard_normal((2, 2 * BLOCK + 5, 2))
    for factor, rows in zip(triangle(tall), tall, strict=True):
        np.testing.assert_allclose(factor.T @ factor, rows.T @ rows, rtol=1e-9)


def by_search(a: Floats, b: Floats, held: npt.NDArray[np.bool_]) -> Floats:
    """Try every set of coefficients that are 0."""
    best, least = np.zeros(a.shape[1]), np.inf
    for used in product([False, True], repeat=a.shape[1]):
        active = np.array(used) | ~held
        x = np.zeros(a.shape[1])
        x[active] = np.linalg.lstsq(a[:, active], b, rcond=None)[0]
        misfit = float(np.linalg.norm(a @ x - b))
        if not np.any(x[held] < 0) and misfit < least:
            best, least = x, misfit
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_smallest_misfit_without_negative_coefficients_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((9, 4)) * [1, 10, 0.1, 1], rng.standard_normal(9)
    held = np.array([True, True, True, seed % 2 == 0])
    np.testing.assert_allclose(nonnegative(a, b, held), by_search(a, b, held), atol=1e-9)


def test_without_doubt_the_coefficients_and_their_covariance_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(2)
    columns = np.vstack([np.ones(200), rng.random(200)])
    truth = np.array([3.0, 5.0])
    values = truth @ columns + 0.01 * rng.standard_normal(200)
    found, cov = regress(columns, values, np.array([True, True]), np.array([np.inf, np.inf]))
    np.testing.assert_allclose(found, np.linalg.lstsq(columns.T, values, rcond=None)[0], rtol=0.01)
    np.testing.assert_allclose(cov, np.linalg.inv(columns @ columns.T), rtol=0.15)  # of unit variance, as is said


def test_outliers_move_it_little() -> None:
    rng = np.random.default_rng(3)
    columns = np.vstack([np.ones(200), np.linspace(0, 1, 200)])
    values = np.array([3.0, 5.0]) @ columns + 0.01 * rng.standard_normal(200)
    values[::20] += 50
    found, _ = regress(columns, values, np.array([False, False]), np.array([np.inf, np.inf]))
    np.testing.assert_allclose(found, [3, 5], atol=0.02)
    plain = np.linalg.lstsq(columns.T, values, rcond=None)[0]
    assert abs(plain[0] - 3) > 1  # what it would be without care


def test_a_prior_draws_what_is_held_to_its_common_value_and_the_rest_to_nothing() -> None:
    columns = np.vstack([np.ones(50), np.ones(50), np.zeros(50)])  # nothing tells the first two apart
    values = np.full(50, 8.0)
    found, _ = regress(columns, values, np.array([True, True, False]), np.array([1.0, 1.0, 1.0]))
    assert found[0] == pytest.approx(found[1])
    assert found[0] + found[1] == pytest.approx(8.0, rel=0.02)
    assert found[2] == pytest.approx(0.0)
    pulled, _ = regress(columns[:1], values, np.array([False]), np.array([0.1]))
    assert pulled[0] == pytest.approx(8 * 50 / (50 + 100), rel=0.02)


def test_nothing_read_leaves_what_the_prior_says() -> None:
    found, cov = regress(np.zeros((2, 0)), np.zeros(0), np.array([True, False]), np.array([2.0, 3.0]))
    np.testing.assert_allclose(found, [0, 0], atol=1e-12)
    np.testing.assert_allclose(cov, np.diag([4.0, 9.0]))
