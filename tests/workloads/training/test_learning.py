from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ipw.workloads.training.learning import LossCurve, common_budget, common_target, energy_to, loss_at, reached
from ipw.workloads.training.smoothing import FEWEST, WINDOW, Smoothed, smoothed


def falling(steps: int = 50, joules: float = 2.0, noise: float = 0.0) -> LossCurve:
    """A loss that falls by 0.1 a step from 5."""
    wobble = noise * np.where(np.arange(steps) % 2, 1, -1)
    return LossCurve(5 - 0.1 * np.arange(steps) + wobble, np.full(steps, joules), np.full(steps, 0.1))


@given(arrays(np.float64, st.integers(0, 40), elements=st.floats(-1e3, 1e3)))
def test_a_loss_is_the_same_mean_whether_it_comes_step_by_step_or_at_once(losses: np.ndarray) -> None:
    live = Smoothed()
    found = [live.add(loss) for loss in losses.tolist()]
    mean, error = smoothed(losses)
    for one, other in zip(found, mean.tolist(), strict=True):
        assert (one is None) == math.isnan(other)
        if one is not None:
            assert one == pytest.approx(other, abs=1e-9)
    assert np.isfinite(error[FEWEST - 1 :]).all()


def test_energy_to_a_loss_is_that_of_the_steps_until_then() -> None:
    curve = falling()
    at, earliest, latest = reached(curve.losses, 4.0)
    assert at is not None
    mean, _ = smoothed(curve.losses)
    assert mean[at - 1] <= 4.0 < mean[at - 2]
    assert earliest is not None
    assert latest is not None
    assert earliest <= at <= latest
    found = energy_to(curve, 4.0)
    assert found.value == pytest.approx(2.0 * at)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 2.0 * earliest
    assert found.high >= 2.0 * latest


def test_a_loss_that_only_grazes_the_target_has_no_upper_end() -> None:
    curve = falling(noise=0.3)
    mean, _ = smoothed(curve.losses)
    found = energy_to(curve, float(np.nanmin(mean)))
    assert found.value is not None
    assert found.high is None


def test_a_loss_that_is_never_reached_has_a_reason() -> None:
    found = energy_to(falling(), -3.0)
    assert found.value is None
    assert "did not come down" in str(found.reason)


def test_a_budget_buys_the_loss_after_the_last_step_that_it_pays_for() -> None:
    curve = falling()
    assert loss_at(curve, 40.0).value == pytest.approx(curve.losses[10:20].mean())
    assert loss_at(curve, 1e9).value == pytest.approx(curve.losses[-WINDOW:].mean())
    assert "pays for 1 steps" in str(loss_at(curve, 3.0).reason)


def test_the_common_goal_is_one_that_every_method_reached() -> None:
    fast, slow = falling(50, 1.0), falling(20, 2.0)
    target, budget = common_target([fast, slow]), common_budget([fast, slow])
    assert target is not None
    assert budget == 40.0
    for curve in (fast, slow):
        assert energy_to(curve, target).value is not None
        assert loss_at(curve, budget).value is not None


def test_without_joules_there_is_no_energy_to_a_loss_and_no_budget() -> None:
    curve = falling()._replace(energy_j=np.full(50, np.nan))
    assert energy_to(curve, 4.0).reason == "energy was not attributed"
    assert loss_at(curve, 1.0).reason == "energy was not attributed"
    assert common_budget([curve]) is None
