"""The verdict on one metric: what it never does, what it does not depend on, and how often it errs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports.sessions import START_SD, most_by_chance, sessions

from ipw.errors import UsageError
from ipw.gate.verdict import GateError, Harm, judge

UNHURRIED = settings(max_examples=60, deadline=None)
RATIOS = st.floats(-0.3, 0.3).map(lambda x: round(x, 4))
PAIRS = st.lists(st.tuples(RATIOS, st.integers(0, 3)), min_size=2, max_size=20)
MARGINS = st.floats(0.002, 0.2)


def split(pairs: list[tuple[float, int]]) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[int]]:
    return np.array([ratio for ratio, _ in pairs]), [start for _, start in pairs]


def test_a_clear_harm_is_a_regression_and_a_clear_benefit_is_none() -> None:
    noise = 0.002 * np.sin(np.arange(9))
    start = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert judge(0.05 + noise, start, margin=0.02).verdict == "regressed"
    assert judge(noise, start, margin=0.02).verdict == "ok"
    assert judge(noise - 0.05, start, margin=0.02).verdict == "ok"
    assert judge(noise - 0.05, start, margin=0.02, harm="lower").verdict == "regressed"


def test_what_is_undecided_says_how_many_pairs_would_decide() -> None:
    ratios = 0.01 + 0.02 * np.sin(np.arange(6))
    verdict = judge(ratios, [0, 0, 1, 1, 2, 2], margin=0.02)
    assert verdict.verdict == "inconclusive"
    assert verdict.pairs_needed is not None
    assert verdict.pairs_needed > 0
    assert str(verdict.pairs_needed) in str(verdict.reason)


def test_at_the_margin_itself_no_number_of_pairs_would_decide_and_it_says_so() -> None:
    verdict = judge([math.log1p(0.02) + d for d in (-0.01, 0.01, -0.01, 0.01)], [0, 0, 0, 0], margin=0.02)
    assert verdict.pairs_needed is None
    assert "too close to the margin" in str(verdict.reason)


def test_one_start_asks_for_further_pairs_from_fresh_ones() -> None:
    verdict = judge(0.01 + 0.02 * np.sin(np.arange(8)), [0] * 8, margin=0.02, start_sd=0.006)
    assert verdict.verdict == "inconclusive"
    assert "fresh starts" in str(verdict.reason)


def test_one_start_never_shows_more_than_the_spread_between_starts_allows() -> None:
    steady = [0.03 + d for d in (-1e-5, 1e-5)] * 50
    assert judge(steady, [0] * 100, margin=0.02, start_sd=0.01).verdict == "inconclusive"
    assert judge(steady, list(range(100)), margin=0.02, start_sd=0.01).verdict == "regressed"


def test_one_pair_decides_nothing() -> None:
    verdict = judge([0.5], [0], margin=0.02)
    assert (verdict.verdict, verdict.low, verdict.high, verdict.pairs_needed) == ("inconclusive", None, None, None)


def test_one_pair_that_was_held_up_changes_nothing() -> None:
    calm = 0.004 * np.sin(np.arange(12))
    start = [0] * 4 + [1] * 4 + [2] * 4
    spiked = calm.copy()
    spiked[5] += 0.6
    assert judge(spiked, start, margin=0.02).verdict == "ok"
    assert judge(0.05 + calm - (spiked - calm), start, margin=0.02).verdict == "regressed"


def test_starts_that_lie_further_apart_than_calibrated_are_believed() -> None:
    start = np.repeat([0, 1, 2], 4)
    apart = np.array([0.0, 0.04, 0.08])[start] + 0.001 * np.sin(np.arange(12))
    verdict = judge(apart, start, margin=0.02, start_sd=0.001)
    assert verdict.verdict == "inconclusive"
    assert verdict.df == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"log_ratio": [], "start": []},
        {"log_ratio": [0.1, float("nan")]},
        {"log_ratio": [0.1, float("inf")]},
        {"log_ratio": ["a", "b"]},
        {"log_ratio": [[0.1, 0.2]]},
        {"start": [0]},
        {"margin": 0.0},
        {"margin": -0.02},
        {"margin": float("nan")},
        {"harm": "sideways"},
        {"start_sd": -0.1},
        {"alpha": 0.0},
        {"alpha": 0.6},
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"log_ratio": [0.1, 0.2], "start": [0, 0], "margin": 0.02} | wrong
    with pytest.raises(GateError) as error:
        judge(arguments.pop("log_ratio"), arguments.pop("start"), **arguments)
    assert isinstance(error.value, UsageError)
    assert isinstance(error.value, ValueError)
    assert "\n" not in error.value.message


@UNHURRIED
@given(PAIRS, MARGINS)
def test_swapping_the_arms_mirrors_the_verdict(pairs: list[tuple[float, int]], margin: float) -> None:
    ratios, start = split(pairs)
    there, back = judge(ratios, start, margin=margin), judge(-ratios, start, margin=margin, harm="lower")
    assert there.verdict == back.verdict
    assert there.estimate == pytest.approx(-back.estimate, abs=1e-12)
    assert there.low == pytest.approx(-float(back.high or 0), abs=1e-12)


@UNHURRIED
@given(PAIRS, MARGINS, st.randoms(use_true_random=False), st.sampled_from(["higher", "lower"]))
def test_the_order_of_pairs_and_the_names_of_starts_tell_nothing(
    pairs: list[tuple[float, int]], margin: float, random: Any, harm: Harm
) -> None:
    ratios, start = split(pairs)
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    others, renamed = split(shuffled)
    one = judge(ratios, start, margin=margin, harm=harm)
    other = judge(others, [7 - 2 * each for each in renamed], margin=margin, harm=harm)
    assert one.estimate == pytest.approx(other.estimate, abs=1e-12)
    assert one.low == pytest.approx(other.low, abs=1e-9)
    assert one.p_regressed == pytest.approx(other.p_regressed, abs=1e-9)


@UNHURRIED
@given(PAIRS, MARGINS)
def test_the_bounds_hold_the_estimate_and_agree_with_verdict_and_p(
    pairs: list[tuple[float, int]], margin: float
) -> None:
    verdict = judge(*split(pairs), margin=margin)
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= verdict.estimate <= verdict.high
    assert (verdict.verdict == "regressed") == (verdict.low > math.log1p(margin))
    assert (verdict.verdict == "ok") == (verdict.high < math.log1p(margin))
    assert (verdict.pairs_needed is None) or verdict.verdict == "inconclusive"
    assert verdict.p_regressed + verdict.p_ok == pytest.approx(1)


@UNHURRIED
@given(PAIRS, MARGINS, st.floats(0.0, 0.1))
def test_a_constant_shift_moves_the_estimate_by_as_much(
    pairs: list[tuple[float, int]], margin: float, shift: float
) -> None:
    ratios, start = split(pairs)
    here, there = judge(ratios, start, margin=margin), judge(ratios + shift, start, margin=margin)
    assert there.estimate == pytest.approx(here.estimate + shift, abs=1e-9)
    assert there.p_regressed <= here.p_regressed + 1e-9


@UNHURRIED
@given(PAIRS, MARGINS, st.floats(0.0, 0.05), st.floats(0.0001, 0.05))
def test_a_larger_calibrated_spread_never_decides_more_where_one_start_is_all_there_is(
    pairs: list[tuple[float, int]], margin: float, more: float, start_sd: float
) -> None:
    ratios, _ = split(pairs)
    calm = judge(ratios, [0] * len(ratios), margin=margin, start_sd=start_sd)
    # spikes are told by a scale that is never below the spread, so a wider one may take a pair back in
    if len(ratios) > 2 and abs(ratios - np.median(ratios)).max() <= 4 * math.sqrt(2) * start_sd:
        wide = judge(ratios, [0] * len(ratios), margin=margin, start_sd=start_sd + more)
        assert wide.verdict in {calm.verdict, "inconclusive"}


@UNHURRIED
@given(PAIRS, MARGINS, st.floats(1.0, 10.0))
def test_more_noise_around_the_same_mean_never_turns_ok_into_regressed(
    pairs: list[tuple[float, int]], margin: float, factor: float
) -> None:
    ratios, start = split(pairs)
    calm = judge(ratios, start, margin=margin)
    noisier = judge(calm.estimate + factor * (ratios - calm.estimate), start, margin=margin)
    assert {calm.verdict, noisier.verdict} != {"ok", "regressed"}


# --- simulated sessions: 800 each, held to the rate plus what chance adds once in a thousand ---

COUNT = 800


def shares(*, effect: float, starts: int, runner: str, seed: int) -> dict[str, float]:
    """Share of sessions by verdict."""
    ratios, start = sessions(seed, COUNT, effect=effect, starts=starts, runner=runner)
    answers = [judge(each, start, margin=0.02, start_sd=START_SD).verdict for each in ratios]
    return {answer: answers.count(answer) / COUNT for answer in ("ok", "regressed", "inconclusive")}


@pytest.mark.parametrize("starts", [1, 3])
@pytest.mark.parametrize("runner", ["hosted", "bare metal"])
def test_identical_code_is_hardly_ever_called_a_regression(runner: str, starts: int) -> None:
    assert shares(effect=0.0, starts=starts, runner=runner, seed=1)["regressed"] <= 1 / COUNT


@pytest.mark.parametrize("starts", [1, 3])
@pytest.mark.parametrize("runner", ["hosted", "bare metal"])
def test_at_the_margin_either_call_is_made_no_oftener_than_alpha(runner: str, starts: int) -> None:
    found = shares(effect=0.02, starts=starts, runner=runner, seed=2)
    assert found["regressed"] <= most_by_chance(0.05, COUNT)
    assert found["ok"] <= most_by_chance(0.05, COUNT)


@pytest.mark.parametrize(("runner", "power"), [("hosted", 0.95), ("bare metal", 0.99)])
def test_five_percent_are_found_by_ten_pairs_in_three_starts(runner: str, power: float) -> None:
    missed = 1 - shares(effect=0.05, starts=3, runner=runner, seed=3)["regressed"]
    assert missed <= most_by_chance(1 - power, COUNT)
