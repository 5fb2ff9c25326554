"""The noise of a runner by hand: which spread is divided by what, what is absent, and what a gate could see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ipw.gate.noise import Noise, noise, smallest_effect
from ipw.gate.pairs import ASSUMED_START_SD
from ipw.gate.verdict import GateError
from ipw.metrics.distributions import chi2_quantile, t_quantile


def test_uneven_starts_explain_as_much_as_the_mean_of_one_over_their_sizes() -> None:
    groups = [[0.0, 0.02], [0.10, 0.12, 0.14], [0.05, 0.03, 0.01, 0.03]]
    ratios = [x for group in groups for x in group]
    start = [i for i, group in enumerate(groups) for _ in group]
    found = noise(ratios, start, [0] * 9)
    within = sum(float(((np.array(g) - np.mean(g)) ** 2).sum()) for g in groups) / 6
    means = np.array([np.mean(g) for g in groups])
    between = float(means.var(ddof=1))
    explained = within * np.mean([1 / 2, 1 / 3, 1 / 4])
    assert found.repetition_sd == pytest.approx(math.sqrt(within / 2))
    assert found.start_sd == pytest.approx(math.sqrt((between - explained) / 2))
    upper = between * 2 / chi2_quantile(0.8, 2) - explained
    assert found.start_sd_high == pytest.approx(math.sqrt(upper / 2))
    assert (found.job_sd, found.pairs, found.starts, found.jobs) == (None, 9, 3, 1)


def test_jobs_are_known_beyond_what_their_starts_explain() -> None:
    ratios = [0.0, 0.02, 0.0, 0.02, 0.3, 0.32, 0.34, 0.36, 0.5, 0.52]
    start = [0, 0, 1, 1, 0, 0, 1, 1, 0, 0]
    job = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    found = noise(ratios, start, job)
    of_starts = [[0.01, 0.01], [0.31, 0.35], [0.51]]
    between = sum(float(((np.array(g) - np.mean(g)) ** 2).sum()) for g in of_starts) / 2
    of_jobs = float(np.var([np.mean(g) for g in of_starts], ddof=1))
    assert found.job_sd == pytest.approx(math.sqrt((of_jobs - between * np.mean([1 / 2, 1 / 2, 1])) / 2))
    assert (found.starts, found.jobs) == (5, 3)


def test_what_starts_do_not_show_is_none_and_its_bound_a_tenth_of_their_spread_at_least() -> None:
    ratios = [-0.1, 0.1, -0.1001, 0.1001, -0.0999, 0.1001]
    found = noise(ratios, [0, 0, 1, 1, 2, 2], [0] * 6)
    means = np.array(ratios).reshape(3, 2).mean(1)
    assert found.start_sd == 0
    assert found.start_sd_high == pytest.approx(
        max(math.sqrt(float(means.var(ddof=1)) / 100 / 2), math.sqrt(1e-12 / 2))
    )


def test_identical_pairs_leave_a_millionth_of_a_spread() -> None:
    found = noise([0.01] * 4, [0, 0, 1, 1], [0] * 4)
    assert (found.repetition_sd, found.start_sd) == (0, 0)
    assert found.start_sd_high == pytest.approx(math.sqrt(1e-12 / 2))


def test_a_pair_a_start_shows_no_repetition_and_so_nothing_beyond_it() -> None:
    found = noise([0.01, 0.02, 0.05], [0, 1, 2], [0, 0, 0])
    assert (found.repetition_sd, found.start_sd, found.start_sd_high, found.job_sd) == (None, None, None, None)
    jobs = noise([0.01, 0.02, 0.3, 0.33], [0, 1, 0, 1], [0, 0, 1, 1])
    between = (0.01**2 + 0.03**2) / 2 / 2
    assert jobs.job_sd == pytest.approx(math.sqrt((0.3**2 / 2 - between / 2) / 2))


def test_a_start_a_job_shows_no_spread_of_starts() -> None:
    found = noise([0.0, 0.01, 0.5, 0.52], [0, 0, 0, 0], [0, 0, 1, 1])
    assert (found.start_sd, found.start_sd_high, found.job_sd) == (None, None, None)
    assert found.repetition_sd == pytest.approx(math.sqrt((0.01**2 / 2 + 0.02**2 / 2) / 2 / 2))


def test_a_spike_is_pulled_back_before_anything_is_learnt() -> None:
    calm = [0.0, 0.001, -0.001, 0.002]
    found = noise([*calm, *calm[:3], 0.5], [0] * 4 + [1] * 4, [0] * 8)
    assert found.repetition_sd is not None
    assert found.repetition_sd < 0.01


@pytest.mark.parametrize(
    ("ratios", "start", "job"),
    [([0.1, 0.2], [0], [0, 0]), ([0.1, 0.2], [0, 0], [0]), ([0.1], [0, 0], [0, 0]), ([[0.1]], [0], [0]), ([], [], [])],
)
def test_one_of_each_belongs_to_a_pair(ratios: list[float], start: list[int], job: list[int]) -> None:
    with pytest.raises(GateError, match="one log-ratio, one start and one job a pair"):
        noise(ratios, start, job)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_ratio_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(GateError, match="not a finite number"):
        noise([0.1, bad, 0.2], [0, 0, 0], [0, 0, 0])


def test_the_smallest_effect_takes_both_tails_and_the_spreads_of_both_arms() -> None:
    found = Noise(0.01, 0.002, 0.004, None, 9, 3, 1)
    between, within = 2 * 0.004**2 / 3, 2 * 0.01**2 / 12
    total = between + within
    df = total**2 / (within**2 / 9 + between**2 / 8) + 2
    reach = (t_quantile(0.01, df) + t_quantile(1 - 0.9, df)) * math.sqrt(total)
    exact = 1.05 * math.exp(reach) - 1
    assert smallest_effect(found, pairs=12, starts=3, margin=0.05, alpha=0.01, power=0.9) == pytest.approx(exact)
    usual = math.exp((t_quantile(0.05, df) + t_quantile(0.2, df)) * math.sqrt(total)) - 1
    assert smallest_effect(found, pairs=12, starts=3) == pytest.approx(usual)


def test_where_starts_were_not_calibrated_half_a_percent_is_assumed() -> None:
    unknown = smallest_effect(Noise(0.01, None, None, None, 9, 1, 1), pairs=9, starts=3)
    known = smallest_effect(Noise(0.01, None, ASSUMED_START_SD, None, 9, 1, 1), pairs=9, starts=3)
    assert unknown == known


def test_without_repetitions_nothing_can_be_said() -> None:
    with pytest.raises(GateError, match="fewer than two pairs a start"):
        smallest_effect(Noise(None, None, None, None, 3, 3, 1), pairs=9, starts=3)
