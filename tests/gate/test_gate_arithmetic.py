"""The gate's numbers, each against a sum that can be done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ipw.gate import trend
from ipw.gate.document import gate_document
from ipw.gate.family import Decision
from ipw.gate.noise import Noise, noise, smallest_effect
from ipw.gate.pairs import CALIBRATION_DF
from ipw.gate.policy import ACCURACY, Rule
from ipw.gate.verdict import Verdict, judge
from ipw.metrics.distributions import chi2_quantile, t_quantile


def test_the_next_run_is_expected_at_the_geometric_mean_within_students_t_of_their_spread() -> None:
    history = [90.0, 100.0, 110.0, 105.0, 95.0]
    found = trend.predict(history)
    assert found is not None
    logs = np.log(history)
    half = 2.7764 * logs.std(ddof=1) * math.sqrt(1.2)
    assert found.expected == pytest.approx(math.exp(logs.mean()))
    assert (found.low, found.high) == pytest.approx(
        (math.exp(logs.mean() - half), math.exp(logs.mean() + half)), rel=1e-4
    )


def test_four_runs_expect_a_fifth_and_three_do_not() -> None:
    assert trend.predict([1.0, 1.1, 0.9, 1.0]) is not None
    assert trend.predict([1.0, 1.1, 0.9]) is None


def test_ranks_are_counted_from_one_and_ties_share_their_mean() -> None:
    assert trend._ranks(np.array([3.0, 1.0, 3.0, 2.0, 3.0])).tolist() == [4, 1, 4, 2, 4]


def test_a_split_is_as_clear_as_its_rank_sum_over_the_spread_of_such_sums() -> None:
    found = trend._scan(np.array([[1.0, 2, 3, 4, 5, 6, 7]]))
    expected = [abs(1 + 2 + 3 - 3 * 4) / math.sqrt(3 * 4), abs(1 + 2 + 3 + 4 - 4 * 4) / math.sqrt(4 * 3)]
    np.testing.assert_allclose(found[0], expected)


def test_a_step_has_the_medians_of_both_sides_and_the_change_between_them() -> None:
    (step,) = trend.steps([10.0, 10.1, 9.9, 10.2, 9.8, 10.0, 12.0, 12.1, 11.9, 12.2, 11.8, 12.0])
    assert step.at == 6
    assert (step.before, step.after) == pytest.approx((10.0, 12.0))
    assert step.change == pytest.approx(0.2)
    assert 0 < step.p < 0.01


def test_fewer_runs_than_two_sides_take_have_no_step() -> None:
    assert trend.steps([1.0, 1.0, 1.0, 9.0, 9.0]) == []
    assert trend.steps([]) == []


def test_the_spread_of_repetitions_starts_and_jobs_is_that_of_a_nested_analysis_of_variance() -> None:
    ratios = np.array([0.01, 0.03, 0.05, 0.07, -0.02, 0.02, 0.06, 0.08])
    start, job = [0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    found = noise(ratios, start, job)
    pairs = ratios.reshape(4, 2)
    repetition = float(((pairs - pairs.mean(1, keepdims=True)) ** 2).sum()) / 4
    means = pairs.mean(1).reshape(2, 2)
    between = float(((means - means.mean(1, keepdims=True)) ** 2).sum()) / 2
    of_jobs = float(means.mean(1).var(ddof=1))
    assert found.repetition_sd == pytest.approx(math.sqrt(repetition / 2))
    assert found.start_sd == pytest.approx(math.sqrt((between - repetition / 2) / 2))
    assert found.job_sd == pytest.approx(math.sqrt(max(of_jobs - between / 2, 0) / 2))
    upper = between * 2 / chi2_quantile(0.8, 2) - repetition / 2
    assert found.start_sd_high == pytest.approx(math.sqrt(max(upper, between / 100) / 2))
    assert (found.pairs, found.starts, found.jobs) == (8, 4, 2)


@pytest.mark.parametrize(("pairs", "starts", "margin"), [(9, 3, 0.0), (9, 3, 0.05), (20, 2, 0.0), (4, 4, 0.01)])
def test_the_smallest_effect_is_the_margin_and_both_tails_of_the_mean_s_spread(
    pairs: int, starts: int, margin: float
) -> None:
    found = Noise(0.02, 0.003, 0.006, None, 9, 3, 1)
    between, within = 2 * 0.006**2 / starts, 2 * 0.02**2 / pairs
    free = (between + within) ** 2 / (within**2 / max(pairs - starts, 1) + between**2 / CALIBRATION_DF) + starts - 1
    tails = t_quantile(0.05, free) + t_quantile(0.2, free)
    expected = (1 + margin) * math.exp(tails * math.sqrt(between + within)) - 1
    assert smallest_effect(found, pairs=pairs, starts=starts, margin=margin) == pytest.approx(expected)


# --- the document ----------------------------------------------------------------------------------------------------


def decided(metric: str, verdict: Verdict) -> Decision[str]:
    return Decision(verdict.verdict, {metric: verdict}, {metric: 0.25}, 1)


def test_a_metric_without_a_verdict_says_of_its_change_that_it_is_not_known() -> None:
    (entry,) = gate_document([], [Rule("energy_j", 0.03, "higher")], [], None, case="c", facts={})["metrics"]
    assert [entry[key] for key in ("verdict", "change", "low", "high", "n", "p_regressed", "base")] == [None] * 7
    assert (entry["better"], entry["change_in"], entry["gates"], entry["estimated"]) == (
        "lower",
        "fraction",
        True,
        False,
    )


def test_a_change_is_told_as_a_fraction_of_accuracy_in_points_and_a_boundless_one_not_at_all() -> None:
    verdict = Verdict("inconclusive", 0.1, -0.2, 20.5, 7, "far apart", 0.3, 0.7, 4, 3)
    rule = Rule("energy_j", 0.03, "higher")
    (entry,) = gate_document([], [rule], [], decided("energy_j", verdict), case="c", facts={})["metrics"]
    assert entry["change"] == pytest.approx(math.exp(0.1) - 1)
    assert entry["low"] == pytest.approx(math.exp(-0.2) - 1)
    assert (entry["high"], entry["n"], entry["pairs_needed"], entry["p_adjusted"]) == (None, 4, 7, 0.25)
    points = Rule(ACCURACY, 0.01, "lower")
    (entry,) = gate_document([], [points], [], decided(ACCURACY, verdict), case="c", facts={})["metrics"]
    assert (entry["change"], entry["low"], entry["change_in"], entry["better"]) == (0.1, -0.2, "points", "higher")


def test_the_family_of_a_session_without_a_verdict_is_as_many_as_gate() -> None:
    rules = [Rule("energy_j", 0.03, "higher"), Rule("latency_p50_s", 0.1, "higher", gates=False)]
    found = gate_document([], rules, [], None, case="c", facts={"alpha": 0.05})
    assert (found["family"], found["verdict"], found["alpha"]) == (1, "invalid", 0.05)


def test_a_p_value_is_the_tail_beyond_the_margin_on_either_side() -> None:
    ratios = [0.05, 0.055, 0.06, 0.045, 0.05, 0.052]
    verdict = judge(ratios, [0, 0, 1, 1, 2, 2], margin=0.02, start_sd=0.001)
    other = judge([-x for x in ratios], [0, 0, 1, 1, 2, 2], margin=0.02, start_sd=0.001)
    assert verdict.p_regressed < 0.05
    assert other.p_ok < 0.05
    assert verdict.p_regressed + verdict.p_ok == pytest.approx(1)
    assert other.p_regressed + other.p_ok == pytest.approx(1)
