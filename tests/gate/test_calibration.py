"""The noise of a runner comes back as it was put in, and tells what a gate could see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reports.sessions import most_by_chance

from ipw.gate.noise import Noise, noise, smallest_effect
from ipw.gate.verdict import GateError, judge


def made(seed: int, *, jobs: int, starts: int, pairs: int, job: float, start: float, repetition: float) -> Noise:
    rng = np.random.default_rng(seed)
    of_job = np.repeat(np.arange(jobs), starts * pairs)
    of_start = np.tile(np.repeat(np.arange(starts), pairs), jobs)
    own = repetition * rng.standard_normal(jobs * starts * pairs)
    brought = np.repeat(start * rng.standard_normal(jobs * starts), pairs) + job * rng.standard_normal(jobs)[of_job]
    return noise(math.sqrt(2) * (own + brought), of_start, of_job)


def test_each_level_is_found_where_there_is_enough_of_it() -> None:
    found = made(1, jobs=60, starts=8, pairs=6, job=0.02, start=0.006, repetition=0.01)
    assert found.repetition_sd == pytest.approx(0.01, rel=0.05)
    assert found.start_sd == pytest.approx(0.006, rel=0.15)
    assert found.job_sd == pytest.approx(0.02, rel=0.3)
    assert (found.pairs, found.starts, found.jobs) == (2880, 480, 60)


def test_the_upper_bound_holds_the_true_spread_four_times_in_five() -> None:
    count = 400
    low = sum((made(i, jobs=2, starts=3, pairs=4, job=0, start=0.006, repetition=0.005).start_sd_high or 0) < 0.006
              for i in range(count))  # fmt: skip
    assert low / count <= most_by_chance(0.2, count)


def test_what_cannot_be_learnt_is_absent() -> None:
    alone = noise([0.01, 0.02, 0.0], [0, 0, 0], [0, 0, 0])
    assert alone.repetition_sd is not None
    assert (alone.start_sd, alone.start_sd_high, alone.job_sd) == (None, None, None)
    assert noise([0.01, 0.02], [0, 1], [0, 0]).repetition_sd is None


def test_starts_that_show_no_spread_still_leave_a_floor() -> None:
    found = noise([0.01, -0.01] * 3, [0, 0, 1, 1, 2, 2], [0] * 6)
    assert found.start_sd == 0
    assert found.start_sd_high is not None
    assert found.start_sd_high > 0


def test_a_start_belongs_to_its_job() -> None:
    assert noise([0.0, 0.1, 0.0, 0.1], [0, 0, 0, 0], [0, 0, 1, 1]).starts == 2


@pytest.mark.parametrize(("ratios", "start", "job"), [([], [], []), ([0.1], [0], [0, 1]), ([math.nan], [0], [0])])
def test_what_is_no_calibration_is_refused(ratios: list[float], start: list[int], job: list[int]) -> None:
    with pytest.raises(GateError):
        noise(ratios, start, job)


def test_more_pairs_and_more_starts_see_smaller_effects() -> None:
    found = Noise(0.01, 0.004, 0.005, None, 30, 3, 1)
    few = smallest_effect(found, pairs=10, starts=3)
    assert smallest_effect(found, pairs=40, starts=3) < few
    assert smallest_effect(found, pairs=10, starts=5) < few
    assert smallest_effect(found, pairs=10, starts=3, power=0.95) > few
    assert smallest_effect(found, pairs=10, starts=3, margin=0.02) > 0.02 + few


def test_the_smallest_effect_is_found_about_as_often_as_it_says() -> None:
    found = Noise(0.01, 0.005, 0.005, None, 30, 3, 1)
    effect = smallest_effect(found, pairs=12, starts=3, margin=0.02, power=0.8)
    rng, count, start = np.random.default_rng(3), 400, np.repeat([0, 1, 2], 4)
    called = 0
    for _ in range(count):
        own, brought = 0.01 * rng.standard_normal(12), 0.005 * rng.standard_normal(3)[start]
        ratios = math.log1p(effect) + math.sqrt(2) * (own + brought)
        called += judge(ratios, start, margin=0.02, start_sd=0.005).verdict == "regressed"
    assert 0.72 < called / count < 0.88
