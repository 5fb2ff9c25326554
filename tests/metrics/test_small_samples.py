"""The fewest pairs, starts and rows with which something is said at all: where the tails are long."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ipw.gate.pairs import without_spikes
from ipw.gate.verdict import further_pairs, judge
from ipw.metrics.stats import wilson


def test_two_starts_of_a_pair_each_leave_one_degree_of_freedom_and_its_wide_interval() -> None:
    verdict = judge([0.0, 0.1], [0, 1], margin=0.02)
    assert verdict.df == 1
    assert verdict.low is not None
    assert verdict.high is not None
    standard_error = 0.1 / 2  # of a mean of two: half their distance
    assert (verdict.high - verdict.low) / 2 == pytest.approx(6.3138 * standard_error, rel=1e-4)
    assert verdict.estimate == pytest.approx(0.05)


def test_a_harm_of_a_hundred_times_the_margin_is_not_told_by_two_pairs_that_lie_far_apart() -> None:
    assert judge([1.0, 3.0], [0, 1], margin=0.02).verdict == "inconclusive"
    assert judge([2.0, 2.01], [0, 1], margin=0.02).verdict == "regressed"


def test_of_exactly_three_pairs_the_odd_one_is_found_among_those_of_its_own_start() -> None:
    starts = [np.array([0.0, 0.001, 0.05]), np.array([0.1, 0.101, 0.102]), np.array([0.2, 0.201, 0.202])]
    kept, tamed = without_spikes(starts, 0.001)
    assert [each.tolist() for each in kept] == [[0.0, 0.001], [0.1, 0.101, 0.102], [0.2, 0.201, 0.202]]
    assert tamed[0].tolist() == [0.0, 0.001, 0.001]


def test_of_two_pairs_none_is_the_odd_one_and_all_starts_are_looked_at_together() -> None:
    starts = [np.array([0.0, 0.001]), np.array([0.002, 0.003]), np.array([0.001, 0.9])]
    kept, tamed = without_spikes(starts, 0.001)
    assert [each.tolist() for each in kept] == [[0.0, 0.001], [0.002, 0.003], [0.001]]
    assert tamed[2].tolist() == [0.001, 0.003]


def test_the_interval_of_a_proportion_is_the_printed_one() -> None:
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)  # Newcombe's method 3
    assert wilson(0, 5) == pytest.approx((0.0, 0.4344825), abs=1e-6)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert wilson(0, 0) == (None, None)


def test_pairs_that_are_still_needed_grow_with_the_square_of_what_t_lacks() -> None:
    assert further_pairs(1.0, 2.0, 10) == 30
    assert further_pairs(1.8, 2.0, 100) == math.ceil(100 * (1 / 0.81 - 1))
    assert further_pairs(2.0, 2.0, 10) == 1
    assert further_pairs(0.0, 2.0, 10) is None


def test_three_starts_of_a_pair_each_have_the_standard_error_of_a_mean_of_three() -> None:
    verdict = judge([0.0, 0.1, 0.05], [0, 1, 2], margin=0.02)
    assert (verdict.df, verdict.n) == (2, 3)
    assert verdict.high is not None
    assert verdict.high - verdict.estimate == pytest.approx(2.9200 * 0.05 / math.sqrt(3), rel=1e-4)


def test_one_pair_is_one() -> None:
    assert judge([0.5], [0], margin=0.02).n == 1
