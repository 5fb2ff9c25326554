"""The verdict on accuracy: exact, item by item."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports.sessions import most_by_chance

from ipw.gate.accuracy import judge_accuracy
from ipw.gate.verdict import GateError

UNHURRIED = settings(max_examples=60, deadline=None)
BITS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60)


def scores(n: int, lost: int, won: int) -> tuple[list[float], list[float]]:
    base, candidate = [1.0] * n, [1.0] * n
    candidate[:lost] = [0.0] * lost
    base[lost : lost + won] = [0.0] * won
    return base, candidate


def test_the_same_answers_are_ok_and_three_points_fewer_are_a_regression() -> None:
    assert judge_accuracy(*scores(1000, 0, 0), margin_points=1).verdict == "ok"
    assert judge_accuracy(*scores(1000, 30, 0), margin_points=1).verdict == "regressed"
    assert judge_accuracy(*scores(1000, 0, 30), margin_points=1).verdict == "ok"


def test_mcnemars_probability_is_exact() -> None:
    found = judge_accuracy(*scores(100, 8, 2), margin_points=1)
    assert found.p_regressed == pytest.approx((45 + 10 + 1) / 1024)


def test_a_real_loss_that_is_surely_smaller_than_the_margin_passes() -> None:
    found = judge_accuracy(*scores(2000, 10, 0), margin_points=2)
    assert found.p_regressed < 0.01
    assert found.verdict == "ok"


def test_too_few_items_decide_nothing_and_say_how_many_more() -> None:
    found = judge_accuracy(*scores(50, 2, 1), margin_points=1)
    assert found.verdict == "inconclusive"
    assert "more items" in str(found.reason)


def test_tangos_bounds_are_the_published_ones() -> None:
    # Tango 1998, table I: n = 44, 1 against 0 and 0 items; the interval of 95 % for 0 of 44 is ±0.0803.
    found = judge_accuracy(*scores(44, 0, 0), margin_points=1, alpha=0.025)
    assert found.low == pytest.approx(-0.0803, abs=2e-4)
    assert found.high == pytest.approx(0.0803, abs=2e-4)


def test_partial_scores_are_judged_by_flipping_signs() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.3, 1.0, 400)
    assert judge_accuracy(base, base - 0.1 * rng.random(400), margin_points=2).verdict == "regressed"
    assert judge_accuracy(base, base + 0.01 * rng.standard_normal(400) * (base < 0.9), margin_points=2).verdict == "ok"


@UNHURRIED
@given(BITS, st.floats(0.5, 20))
def test_swapping_the_arms_mirrors_the_bounds(items: list[tuple[int, int]], margin: float) -> None:
    base, candidate = zip(*items, strict=True)
    there = judge_accuracy(base, candidate, margin_points=margin)
    back = judge_accuracy(candidate, base, margin_points=margin)
    assert there.low is not None
    assert there.low <= there.estimate <= (there.high or 0) + 1e-9
    assert there.low == pytest.approx(-float(back.high or 0), abs=1e-9)


@UNHURRIED
@given(BITS, st.randoms(use_true_random=False))
def test_the_order_of_items_tells_nothing(items: list[tuple[int, int]], random: object) -> None:
    shuffled = sorted(items)
    one, other = (judge_accuracy(*zip(*each, strict=True), margin_points=1) for each in (items, shuffled))
    assert one == other


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_scores": []},
        {"base_scores": [1.0], "candidate_scores": [1.0, 0.0]},
        {"base_scores": [2.0], "candidate_scores": [1.0]},
        {"base_scores": [float("nan")], "candidate_scores": [1.0]},
        {"margin_points": 0},
        {"margin_points": -1},
        {"alpha": 1},
    ],
)
def test_what_cannot_be_judged_is_refused(wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"base_scores": [1.0], "candidate_scores": [1.0], "margin_points": 1.0} | wrong
    with pytest.raises(GateError):
        judge_accuracy(**arguments)  # type: ignore[arg-type]


def test_two_points_are_found_among_a_thousand_items_and_no_loss_seldom_is() -> None:
    # 6 % of the items differ; 600 sets each, so chance adds 5.5 points to a rate of 75 % once in a thousand
    rng, count, n = np.random.default_rng(5), 600, 1000
    rates = []
    for loss in (0.02, 0.0):
        turned = rng.multinomial(n, [0.03 + loss / 2, 0.03 - loss / 2, 0.94], size=count)
        called = [judge_accuracy(*scores(n, int(b), int(c)), margin_points=2).verdict for b, c, _ in turned]
        rates.append(called.count("regressed") / count)
    assert 1 - rates[0] <= most_by_chance(0.25, count)
    assert rates[1] <= most_by_chance(0.05, count)
