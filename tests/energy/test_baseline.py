"""The idle floor before, after and within a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from energy.simulator import Sampler, disturbed, one_at_a_time

from ipw.energy.baseline import idle_baseline, quiet_intervals
from ipw.energy.curve import counter_curve

SECOND = 1_000_000_000


def test_idle_power_is_found_to_a_thousandth_with_an_interval_that_holds_it() -> None:
    held = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        world = one_at_a_time(rng, 20)
        baseline = idle_baseline(Sampler().curve(world, rng), world.idle_ns)
        assert baseline is not None
        value, low, high = baseline.estimate(*world.window_ns)
        assert value == pytest.approx(world.idle_w, rel=2e-3)
        held.append(low <= world.idle_w <= high)
    assert np.mean(held) >= 0.9


def test_steady_idle_power_is_told_by_all_knots_together() -> None:
    off, claimed = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        world = one_at_a_time(rng, 3)
        baseline = idle_baseline(Sampler(bracket_s=0.004).curve(world, rng), world.idle_ns[:1])
        assert baseline is not None
        off.append(baseline.power_w[0] - world.idle_w)
        claimed.append(baseline.sd_w())
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(np.mean(claimed), rel=0.6)
    assert np.mean(claimed) < 1e-3 * world.idle_w  # the median of ten parts is three times as far off


def test_drift_between_before_and_after_is_told_and_followed() -> None:
    rng = np.random.default_rng(0)
    world = disturbed(one_at_a_time(rng, 20), rng, drift=0.2)
    baseline = idle_baseline(Sampler().curve(world, rng), world.idle_ns)
    assert baseline is not None
    assert baseline.power_w[-1] - baseline.power_w[0] == pytest.approx(0.2 * world.idle_w, rel=0.4)
    value, low, high = baseline.estimate(*world.window_ns)
    assert value == pytest.approx(world.idle_w, rel=0.02)
    assert high - low > 0.05 * world.idle_w  # nobody saw its course in between


def test_a_burst_while_idle_does_not_raise_the_floor() -> None:
    rng = np.random.default_rng(0)
    world = one_at_a_time(rng, 20)
    t = np.unique(np.append(world.step_ns, [2 * SECOND, 2 * SECOND + SECOND // 4]))
    power = world.power_w[np.searchsorted(world.step_ns, t[:-1], "right") - 1]
    power[t[:-1] == 2 * SECOND] = 600.0
    baseline = idle_baseline(Sampler().curve(replace(world, step_ns=t, power_w=power), rng), world.idle_ns)
    assert baseline is not None
    assert baseline.power_w[0] == pytest.approx(world.idle_w, rel=0.01)


def test_quiet_stretches_within_a_run_are_those_with_knots_and_no_span() -> None:
    t = np.arange(11) * SECOND
    curve = counter_curve(t, t / 1e8, np.zeros(11), np.zeros(11), ticks=False)
    start, end = np.array([0, 3 * SECOND, 8 * SECOND]), np.array([SECOND, 4 * SECOND + 1, 9 * SECOND])
    assert quiet_intervals(curve, start, end).tolist() == [[SECOND, 3 * SECOND], [5 * SECOND, 8 * SECOND]]
    none = np.zeros(0, np.int64)
    assert quiet_intervals(curve, none, none).tolist() == [[0, 10 * SECOND]]


def test_there_is_no_floor_where_nothing_was_read() -> None:
    t = np.arange(5) * SECOND
    curve = counter_curve(t, [10.0, 20, 3, 13, 23], np.zeros(5), np.zeros(5), ticks=False)
    assert idle_baseline(curve, []) is None
    assert idle_baseline(curve, [[20 * SECOND, 30 * SECOND]]) is None
    assert idle_baseline(curve, [[SECOND, 2 * SECOND]]) is None  # the reset
    with pytest.raises(ValueError, match="before it starts"):
        idle_baseline(curve, [[2, 1]])
