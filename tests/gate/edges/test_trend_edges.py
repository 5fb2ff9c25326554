"""Steps and bands at their limits: the fewest runs, the first and the last place, ties, and every chance counted."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ipw.gate import trend
from ipw.gate.trend import Step, predict, steps
from ipw.gate.verdict import GateError


def test_a_band_of_half_the_level_is_narrower_than_one_of_all_of_it() -> None:
    history = [1.0, 1.1, 0.9, 1.05, 0.95]
    logs = np.log(history)
    for alpha, t in ((0.05, 2.776445), (0.5, 0.740697)):
        found = predict(history, alpha)
        assert found is not None
        half = t * float(logs.std(ddof=1)) * math.sqrt(1 + 1 / 5)
        expected = np.exp(logs.mean() + np.array([0, -half, half]))
        assert tuple(found) == pytest.approx(tuple(expected), rel=1e-5)


def test_the_change_of_a_step_is_a_fraction_of_the_level_before() -> None:
    assert Step(3, 4.0, 5.0, 0.001).change == pytest.approx(0.25)
    assert Step(3, 5.0, 4.0, 0.001).change == pytest.approx(-0.2)


@pytest.mark.parametrize("low", [3, 4, 5, 6])
def test_a_step_may_lie_as_near_to_either_end_as_three_runs(low: int) -> None:
    values = [10.0] * low + [20.0] * (9 - low)
    (found,) = steps(values, alpha=0.06)
    assert found.at == low
    mirrored = steps(values[::-1], alpha=0.06)
    assert [each.at for each in mirrored] == [9 - low]


def test_six_runs_are_enough_for_a_step_and_a_level_line_has_none() -> None:
    six = [1.0, 1.01, 1.02, 2.0, 2.01, 2.02]
    assert [each.at for each in steps(six, alpha=0.2)] == [3]
    assert steps(six[:5], alpha=0.9) == []
    assert steps([3.0] * 12, alpha=0.9) == []


def test_the_probability_of_a_step_is_the_share_of_orders_that_show_as_clear_a_one() -> None:
    values = [1.0, 1.01, 1.02, 2.0, 2.01, 2.02]
    # six runs have one place: 3 against 3; of the 20 ways to choose the first three two are as clear
    ranks = range(1, 7)
    exact = sum(abs(sum(first) - 10.5) >= 4.5 for first in itertools.combinations(ranks, 3)) / 20
    (found,) = steps(values, alpha=0.2)
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 1999))
    assert found.p * 2000 == pytest.approx(round(found.p * 2000))  # each order counts, and the one that is there
    assert steps(values, alpha=found.p) == []  # of alpha itself it is none
    assert len(steps(values, alpha=found.p + 1e-9)) == 1


def test_the_least_probability_is_that_of_the_order_that_is_there() -> None:
    (found,) = steps([1.0] * 20 + [2.0] * 20)
    assert found.p == 1 / 2000


def test_of_two_steps_each_has_its_place_in_the_whole_and_the_levels_on_its_sides() -> None:
    wobble = [0.0, 0.02, -0.02, 0.01, -0.01, 0.0, 0.015, -0.015, 0.005]
    values = [at + each for at in (10.0, 14.0, 12.0) for each in wobble]
    found = steps(values)
    assert [each.at for each in found] == [9, 18]
    assert [(each.before, each.after) for each in found] == [pytest.approx((10, 14)), pytest.approx((14, 12))]
    later = steps([at + each for at in (10.0, 14.0, 12.0, 16.0) for each in wobble])
    assert [each.at for each in later] == [9, 18, 27]


def test_alpha_bounds_what_is_called_a_step() -> None:
    values = [1.0, 1.01, 1.02, 1.5, 1.51, 1.52]
    assert steps(values) == []  # one in a hundred by itself
    assert len(steps(values, alpha=0.2)) == 1


def test_a_split_is_standardised_by_the_runs_on_both_sides() -> None:
    ranks = np.array([[4.0, 1.0, 7.0, 2.0, 8.0, 6.0, 3.0, 5.0]])
    found = trend._scan(ranks)[0]
    assert found.size == 3  # after the third, the fourth and the fifth
    for place, value in zip((3, 4, 5), found, strict=True):
        expected = abs(ranks[0, :place].sum() - place * 4.5) / math.sqrt(place * (8 - place))
        assert value == pytest.approx(expected)


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [1.0, math.inf], [0.0, 1.0], [1.0, -1.0]])
def test_what_is_no_line_of_positive_numbers_is_refused(values: list[float]) -> None:
    with pytest.raises(GateError, match="a trend needs positive numbers"):
        steps(values)
