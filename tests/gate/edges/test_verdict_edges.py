"""The edges of a verdict: the smallest and the largest of everything that `judge` takes, and what it says there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ipw.gate.verdict import MOST_PAIRS, GateError, further_pairs, judge

LOOSE = [0.01, 0.05, -0.02, 0.03]


def test_one_pair_has_an_estimate_and_nothing_else() -> None:
    found = judge([0.5], [3], margin=0.02)
    assert (found.verdict, found.estimate, found.n, found.df) == ("inconclusive", 0.5, 1, None)
    assert (found.p_regressed, found.p_ok) == (1.0, 1.0)
    assert found.reason == "one pair shows no spread; run more"


def test_a_thousand_further_pairs_are_advice_and_one_more_is_none() -> None:
    assert MOST_PAIRS == 1000
    assert further_pairs(1.0, 3.0, 125) == 1000
    assert further_pairs(1.0, 12.0, 7) is None  # 1001
    assert further_pairs(-0.5, 2.0, 10) is None


def test_the_advice_says_how_many_pairs_from_where_and_on_which_assumption() -> None:
    one = judge(LOOSE, [0] * 4, margin=0.04, start_sd=0.01)
    assert one.reason == (
        f"about {one.pairs_needed} further pairs would decide; "
        "all pairs are from one start, the further ones must come from fresh starts"
    )
    two = judge(LOOSE, [0, 0, 1, 1], margin=0.04, start_sd=0.01)
    assert two.reason == f"about {two.pairs_needed} further pairs would decide"
    guessed = judge(LOOSE, [0, 0, 1, 1], margin=0.04)
    assert guessed.reason == (
        f"about {guessed.pairs_needed} further pairs would decide; "
        "the spread between starts is not calibrated, 0.5 % is assumed"
    )


def test_without_a_calibration_half_a_percent_between_starts_is_assumed() -> None:
    start = [0, 0, 1, 1]
    guessed, known = judge(LOOSE, start, margin=0.1), judge(LOOSE, start, margin=0.1, start_sd=0.005)
    assert (guessed.low, guessed.high, guessed.df) == (known.low, known.high, known.df)
    wider = judge(LOOSE, start, margin=0.1, start_sd=0.05)
    assert wider.low is not None
    assert known.low is not None
    assert wider.low < known.low


def test_a_verdict_that_is_decided_needs_no_pairs_and_no_reason() -> None:
    for harm, shift in (("higher", 0.5), ("higher", -0.5), ("lower", 0.5), ("lower", -0.5)):
        found = judge(np.array(LOOSE) / 10 + shift, [0, 0, 1, 1], margin=0.02, harm=harm)  # type: ignore[arg-type]
        assert found.verdict == ("regressed" if (shift > 0) == (harm == "higher") else "ok")
        assert (found.pairs_needed, found.reason) == (None, None)
        assert min(found.p_regressed, found.p_ok) < 0.05 < max(found.p_regressed, found.p_ok)


def test_the_probability_of_no_harm_is_a_half_where_the_estimate_is_the_margin() -> None:
    found = judge([math.log1p(0.25)] * 4, [0, 0, 1, 1], margin=0.25)
    assert [found.p_regressed, found.p_ok] == pytest.approx([0.5, 0.5])
    assert found.reason == "too close to the margin: more than 1000 further pairs would be needed"


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.1, 1.0, math.nan])
def test_a_level_must_lie_between_0_and_a_half_and_is_neither(alpha: float) -> None:
    with pytest.raises(GateError, match=r"must lie between 0 and 0\.5"):
        judge(LOOSE, [0] * 4, margin=0.1, alpha=alpha)


@pytest.mark.parametrize("alpha", [1e-9, 0.499])
def test_any_level_between_them_is_taken(alpha: float) -> None:
    assert judge(LOOSE, [0] * 4, margin=0.1, alpha=alpha).n == 4


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"log_ratio": [[0.1, 0.2]], "start": [[0, 0]]}, "2 log-ratios and 2 starts"),
        ({"log_ratio": [0.1, 0.2, 0.3], "start": [0, 0]}, "3 log-ratios and 2 starts"),
        ({"log_ratio": [], "start": []}, "there are no pairs"),
        ({"start_sd": math.inf}, "start_sd inf must be at least 0"),
        ({"start_sd": math.nan}, "start_sd nan must be at least 0"),
        ({"margin": math.inf}, "margin inf must be a fraction above 0"),
    ],
)
def test_what_has_no_shape_or_no_end_is_refused_with_its_numbers(wrong: dict[str, Any], told: str) -> None:
    arguments: dict[str, Any] = {"log_ratio": [0.1, 0.2], "start": [0, 0], "margin": 0.02} | wrong
    with pytest.raises(GateError, match=told):
        judge(arguments.pop("log_ratio"), arguments.pop("start"), **arguments)


def test_the_harm_that_is_tolerated_is_the_margin_on_either_side_of_one() -> None:
    calm = np.array([0.0, 1e-4, -1e-4, 2e-4, -2e-4, 0.0])
    start = [0, 1, 2, 3, 4, 5]
    for harm, sign in (("higher", 1), ("lower", -1)):
        just = [sign * (math.log(1.1) + off) for off in (-0.02, 0.02)]
        below, above = (judge(calm + at, start, margin=0.1, harm=harm) for at in just)  # type: ignore[arg-type]
        assert (below.verdict, above.verdict) == ("ok", "regressed")
