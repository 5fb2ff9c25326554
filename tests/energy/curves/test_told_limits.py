"""A limit that readings exceed steadily is none; readings that exceed a true limit are not believed for that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.energy.arrays import Floats
from ipw.energy.belief.told_limits import is_no_limit, power_of_steps

GPU_W = 2300.0
EVERY_NS = 20_000_000


def refuted(watts: Floats, told_w: float = 10.0, every_ns: int = EVERY_NS) -> bool:
    return is_no_limit(told_w, GPU_W, np.arange(watts.size) * every_ns, watts)


def noisy(watts: float, size: int = 500) -> Floats:
    return watts + np.random.default_rng(0).normal(0, 0.5, size)


@pytest.mark.parametrize("watts", [20.0, 100.0, 700.0])
def test_a_device_that_draws_far_more_all_the_time_has_no_such_limit(watts: float) -> None:
    assert refuted(noisy(watts))


def test_a_device_that_is_idle_for_half_of_the_time_has_none_either() -> None:
    assert refuted(np.concatenate([noisy(8.0), noisy(100.0)]))


@pytest.mark.parametrize("value", [65.535, 100.0, 1000.0, 4294.967295])
def test_a_code_for_no_value_is_no_draw_however_long_it_lasts(value: float) -> None:
    assert not refuted(np.full(500, value))


@pytest.mark.parametrize("every", [2, 5, 10])
def test_spikes_refute_nothing_however_many(every: int) -> None:
    watts = noisy(8.0, 1000)
    watts[::every] = noisy(300.0, 1000)[::every]
    assert not refuted(watts)


def test_what_is_beyond_the_class_too_refutes_nothing() -> None:
    assert not refuted(noisy(50_000.0))


def test_a_few_readings_or_a_moment_refute_nothing() -> None:
    assert not refuted(noisy(100.0, 9))
    assert not refuted(noisy(100.0, 500), every_ns=1_000_000)


@given(st.floats(1.0, 2000.0), st.integers(0, 200))
def test_readings_within_a_limit_never_refute_it(told_w: float, size: int) -> None:
    watts = np.random.default_rng(size).uniform(0, 1.5 * told_w, size)
    assert not refuted(watts, told_w)


def test_a_counter_refutes_its_limit_by_its_steps() -> None:
    t = np.arange(0, 10, 0.1)
    t_ns = (t * 1e9).astype(np.int64)
    steps = power_of_steps(t_ns, 100.0 * t + 0.3 * np.sin(t * 20), 0.001)
    assert is_no_limit(10.0, GPU_W, *steps)
    assert not is_no_limit(100.0, GPU_W, *steps)


def test_the_steps_of_a_coarse_counter_are_not_taken_for_power() -> None:
    t = np.arange(0, 60, 0.1)
    steps = power_of_steps((t * 1e9).astype(np.int64), np.floor(8.0 * t / 3.6) * 3.6, 3.6)
    assert not is_no_limit(10.0, GPU_W, *steps)
