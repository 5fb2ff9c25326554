"""What an owner's energy is uncertain by, against a sum over every moment at which its share of power changes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from ipw.energy.chain import Smoothed
from ipw.energy.uncertainty import Pieces, quadratic, timing_variance

Floats = npt.NDArray[np.float64]


class Known:
    """Errors of the cumulative energy whose covariance is given."""

    def __init__(self, cov: Floats) -> None:
        self.cov, self.variance = cov, np.diag(cov).copy()

    def covariance(self, i: npt.NDArray[np.int64], j: npt.NDArray[np.int64]) -> Floats:
        return np.asarray(self.cov[i, j], np.float64)


def known(events: int, seed: int = 0) -> Known:
    root = np.random.default_rng(seed).standard_normal((events, events + 3))
    return Known(root @ root.T)


def by_sum(rows: list[tuple[int, int, float]], per_weight: Floats, errors: Known) -> float:
    """One owner, its spans one after the other: every change of its share, squared, and what a stretch's ends share."""
    total = 0.0
    stretches: list[list[tuple[int, int, float]]] = []
    for row in rows:
        if stretches and stretches[-1][-1][1] == row[0]:
            stretches[-1].append(row)
        else:
            stretches.append([row])
    for stretch in stretches:
        share = np.zeros(per_weight.size + 2)  # before the first segment and behind the last there is none
        for first, last, weight in stretch:
            share[1 + first : 1 + last] = weight * per_weight[first:last]
        change = np.diff(share)
        start, end = stretch[0][0], stretch[-1][1]
        total += float((change**2) @ errors.variance)
        total += 2 * change[start] * change[end] * errors.cov[start, end]
    return total


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 3, 2.0)],
        [(2, 3, 1.0)],
        [(2, 7, 1.5)],
        [(1, 4, 2.0), (4, 6, 0.5)],
        [(1, 2, 2.0), (2, 3, 1.0), (3, 7, 4.0)],
        [(0, 2, 1.0), (4, 7, 3.0)],
        [(0, 2, 1.0), (2, 3, 2.0), (5, 7, 3.0)],
    ],
)
def test_variance_is_that_of_the_changes_of_the_share_and_of_the_ends_of_each_stretch_together(
    rows: list[tuple[int, int, float]],
) -> None:
    per_weight = np.array([0.5, 1.0, 0.2, 0.7, 0.4, 0.9, 0.3])
    errors = known(8)
    first, last, weight = (np.array(column) for column in zip(*rows, strict=True))
    made = Pieces(first, last, weight.astype(np.float64))
    found = timing_variance(made, np.zeros(len(rows), np.int64), 1, per_weight, cast("Smoothed", cast("Any", errors)))
    assert found[0] == pytest.approx(by_sum(rows, per_weight, errors))


def test_each_owner_has_its_own_and_one_without_a_span_or_with_an_empty_one_has_none() -> None:
    per_weight = np.array([0.5, 1.0, 0.2, 0.7])
    errors = known(5, 1)
    rows = {0: [(0, 2, 1.0), (2, 4, 2.0)], 2: [(1, 3, 3.0)]}
    made = Pieces(np.array([2, 1, 0, 3]), np.array([4, 3, 2, 3]), np.array([2.0, 3.0, 1.0, 9.0]))
    owner = np.array([0, 2, 0, 3])
    found = timing_variance(made, owner, 4, per_weight, cast("Smoothed", cast("Any", errors)))
    expected = [by_sum(rows[0], per_weight, errors), 0.0, by_sum(rows[2], per_weight, errors), 0.0]
    np.testing.assert_allclose(found, expected)


def test_without_spans_nothing_is_uncertain() -> None:
    none = np.zeros(0, np.int64)
    made = Pieces(none, none, np.zeros(0))
    found = timing_variance(made, none, 2, np.ones(3), cast("Smoothed", cast("Any", known(4))))
    np.testing.assert_array_equal(found, [0, 0])


def test_a_quadratic_form_is_taken_for_each_column_and_is_never_negative() -> None:
    cov = np.array([[2.0, 1.0], [1.0, 3.0]])
    np.testing.assert_allclose(quadratic(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]]), cov), [2, 3, 3])
    np.testing.assert_array_equal(quadratic(np.array([[1.0]]), np.array([[-1e-20]])), [0])
