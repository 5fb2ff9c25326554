"""What attribution is held to, against servers whose power is known."""

from __future__ import annotations

from functools import partial

import numpy as np

from energy.scoring import score
from energy.simulator import FAST, Sampler, closed_loop, disturbed, one_at_a_time, poisson


def test_one_at_a_time_with_ticks_of_100_ms() -> None:
    result = score(partial(one_at_a_time, queries=40), Sampler(), seeds=20)
    assert result.mean_error <= 0.007
    assert result.p95_error <= 0.02
    assert abs(result.bias) <= 0.002
    assert result.coverage >= 0.93
    assert result.half_width <= 0.04
    assert result.conservation <= 1e-9


def test_one_at_a_time_with_ticks_of_20_ms() -> None:
    assert score(partial(one_at_a_time, queries=40), FAST, seeds=2).mean_error <= 0.004


def test_phases_whose_power_varies_by_15_percent_from_query_to_query() -> None:
    result = score(partial(one_at_a_time, queries=40, variation=0.15), Sampler(), seeds=20)
    assert result.mean_error <= 0.025
    assert abs(result.bias) <= 0.002
    assert 0.93 <= result.coverage <= 0.98
    assert result.half_width <= 0.04


def test_a_server_that_flickers_drifts_and_tells_late() -> None:
    def make(rng):  # type: ignore[no-untyped-def]
        world = one_at_a_time(rng, 40, variation=0.1)
        return disturbed(world, rng, flicker=0.05, drift=0.05, late_s=0.001)

    result = score(make, Sampler(), seeds=10)
    assert result.mean_error <= 0.007
    assert abs(result.bias) <= 0.002
    assert 0.93 <= result.coverage <= 0.99


def test_eight_in_flight_in_a_closed_loop() -> None:
    result = score(partial(closed_loop, queries=150), Sampler(), seeds=4, net=True)
    assert result.mean_error <= 0.03
    assert result.coverage >= 0.93
    assert result.conservation <= 1e-9


def test_eight_in_flight_with_arrivals_at_random_and_power_that_saturates() -> None:
    result = score(partial(poisson, queries=150, concave=True), Sampler(), seeds=4, net=True)
    assert result.mean_error <= 0.03
    assert result.conservation <= 1e-9


def test_intervals_in_flight_hold_queries_that_differ() -> None:
    result = score(partial(closed_loop, queries=80, variation=0.05), Sampler(), seeds=20)
    assert 0.93 <= result.coverage <= 0.98


def test_seeds_are_not_alike() -> None:
    worlds = [one_at_a_time(np.random.default_rng(seed), 5).net_j for seed in (0, 1)]
    assert not np.allclose(*worlds)
