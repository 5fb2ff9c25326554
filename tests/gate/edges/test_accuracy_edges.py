"""The verdict on accuracy, to the last item: bounds that can be worked out by hand, and sums of all sign patterns."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest

from ipw.gate.accuracy import judge_accuracy
from ipw.gate.verdict import GateError, further_pairs
from ipw.metrics.paired_scores import difference_bounds

Z = NormalDist().inv_cdf(0.95)


def binary(n: int, lost: int, won: int) -> tuple[list[float], list[float]]:
    return [1.0] * lost + [0.0] * (n - lost), [0.0] * lost + [1.0] * won + [0.0] * (n - lost - won)


def test_a_shift_is_outside_the_bounds_of_tango_where_its_score_is_beyond_z() -> None:
    # The bound solves (won - lost - n d)^2 = z^2 n (2 q + d (1 - d)), with q the likeliest share of losses under d:
    # the larger root of 2 n q^2 + b q + c = 0.
    n, lost, won = 50, 7, 3
    low, high = difference_bounds(np.array([-1.0] * lost + [1.0] * won + [0.0] * (n - lost - won)), 0.05)
    for bound, sign in ((low, 1), (high, -1)):
        b = -lost - won + (2 * n - won + lost) * bound
        c = -lost * bound * (1 - bound)
        q = max(np.roots([2 * n, b, c]).real)
        score = (won - lost - n * bound) / math.sqrt(n * (2 * q + bound * (1 - bound)))
        assert score == pytest.approx(sign * Z, abs=1e-6)
    assert low < (won - lost) / n < high


def test_where_no_item_differs_the_bounds_are_those_of_no_event_in_n() -> None:
    for n in (1, 10, 100):
        low, high = difference_bounds(np.zeros(n), 0.05)
        assert [low, high] == pytest.approx([-(Z**2) / (n + Z**2), Z**2 / (n + Z**2)])


def test_where_all_items_are_lost_the_bound_below_is_all_of_them() -> None:
    low, high = difference_bounds(np.full(10, -1.0), 0.05)
    assert low == pytest.approx(-1.0)
    assert -1.0 < high < 0.0
    above = difference_bounds(np.full(10, 1.0), 0.05)
    assert above == pytest.approx((-high, 1.0))


def test_partial_scores_have_the_bounds_of_their_mean() -> None:
    gain = np.array([0.1, -0.3, 0.25, 0.05] * 5)
    half = Z * float(gain.std(ddof=1)) / math.sqrt(20)
    floor = Z**2 / (20 + Z**2)
    assert half < floor
    assert difference_bounds(gain, 0.05) == pytest.approx((gain.mean() - floor, gain.mean() + floor))
    wide = np.array([0.9, -0.8, 0.95, -0.9] * 50)
    half = Z * float(wide.std(ddof=1)) / math.sqrt(200)
    assert half > Z**2 / (200 + Z**2)
    assert difference_bounds(wide, 0.05) == pytest.approx((wide.mean() - half, wide.mean() + half))


def test_the_bounds_of_partial_scores_end_where_scores_do_and_one_item_bounds_nothing() -> None:
    assert difference_bounds(np.array([0.5]), 0.05) == (-0.5, 1.0)
    assert difference_bounds(np.array([-0.5]), 0.05) == (-1.0, 0.5)
    assert difference_bounds(np.array([0.95, 0.9]), 0.05)[1] == 1.0
    assert difference_bounds(np.array([-0.95, -0.9]), 0.05)[0] == -1.0


def test_the_sign_flips_are_as_likely_as_the_sum_over_all_of_them_says() -> None:
    gain = np.array([-0.3, -0.2, 0.1, -0.25, 0.05, -0.15, 0.2, -0.35, 0.02, -0.12])
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(gain))))
    exact = float((patterns @ gain <= gain.sum() + 1e-12).mean())
    base = np.full(10, 0.5)
    found = judge_accuracy(base, base + gain, margin_points=1)
    assert found.p_regressed == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9999))
    # items that do not differ change nothing
    more = judge_accuracy(np.full(15, 0.5), np.concatenate([base + gain, np.full(5, 0.5)]), margin_points=1)
    assert more.p_regressed == found.p_regressed


def test_a_flip_that_gives_the_same_mean_counts_and_none_is_ever_impossible() -> None:
    base = np.full(3, 0.5)
    same = judge_accuracy(base, base + 0.25, margin_points=1)  # every flip is as low or lower
    assert same.p_regressed == 1.0
    lowest = judge_accuracy(np.full(40, 0.5), np.full(40, 0.25), margin_points=1)  # none of so few flips is
    assert lowest.p_regressed == 1 / 10_000


def test_the_probability_of_ok_is_the_normal_tail_beyond_the_margin_with_the_error_of_the_bound_below() -> None:
    found = judge_accuracy(*binary(200, 6, 4), margin_points=2)
    assert found.low is not None
    error = (found.estimate - found.low) / Z
    assert found.estimate == pytest.approx(-0.01)
    assert found.p_ok == pytest.approx(1 - NormalDist().cdf((0.02 - 0.01) / error))
    assert (found.n, found.df) == (200, None)


def test_a_bound_below_at_the_estimate_makes_no_probability_of_ok() -> None:
    found = judge_accuracy(*binary(10, 10, 0), margin_points=1)
    assert found.verdict == "regressed"
    assert found.p_ok == 1.0 or found.p_ok > 0.99


def test_what_is_open_says_how_many_items_would_close_it() -> None:
    found = judge_accuracy(*binary(200, 6, 4), margin_points=3)
    assert found.verdict == "inconclusive"
    assert found.low is not None
    reach = (0.03 + found.estimate) / (found.estimate - found.low)
    assert found.pairs_needed == further_pairs(reach, 1.0, 200)
    assert found.pairs_needed == math.ceil(200 * (1 / reach**2 - 1))
    assert found.reason == "no loss is shown, and one of the margin is not ruled out; more items would tell"
    settled = judge_accuracy(*binary(2000, 0, 0), margin_points=3)
    assert (settled.pairs_needed, settled.reason) == (None, None)


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        (([[1.0]], [[1.0]]), "1 and 1 scores"),
        (([1.0, -0.1], [1.0, 1.0]), "not between 0 and 1"),
        (([1.0, 1.0], [1.0, 1.1]), "not between 0 and 1"),
        ((["x"], [1.0]), "must be numbers"),
        (([], []), "no items"),
    ],
)
def test_scores_that_are_none_are_refused(scores: tuple[list[float], list[float]], told: str) -> None:
    with pytest.raises(GateError, match=told):
        judge_accuracy(*scores, margin_points=1)


def test_a_margin_without_end_is_refused() -> None:
    with pytest.raises(GateError, match="margin inf must be above 0 points"):
        judge_accuracy([1.0], [1.0], margin_points=math.inf)
