from __future__ import annotations

import numpy as np
import pytest

from ipw.workloads.routing.offload.cost import Machine, expected_cost, fit_line


def test_a_cache_that_always_hits_costs_only_the_computing() -> None:
    cost = expected_cost([0.5, 1.0], k=2, layers=3, expert_bytes=1000, machine=Machine(0.01, 1e-6, 2.0, 1e-3))
    assert cost.loaded_bytes_per_token.tolist() == [3000, 0]
    assert cost.tokens_per_s == pytest.approx([1 / 0.013, 100])
    assert cost.energy_per_token_j == pytest.approx([5.0, 2.0])
    assert cost.memory_bytes.tolist() == [3000, 6000]


def test_without_measured_joules_there_is_no_energy() -> None:
    assert expected_cost([1.0], 1, 1, 1, Machine(1.0, 0.0)).energy_per_token_j is None


def test_the_price_of_a_byte_comes_from_runs_that_loaded_more_and_less() -> None:
    loaded = np.array([0.0, 1e6, 4e6])
    assert fit_line(loaded, 0.02 + loaded * 3e-9) == pytest.approx((0.02, 3e-9))


def test_noise_makes_no_negative_price() -> None:
    assert fit_line([0, 1e6], [0.02, 0.01]) == (0.015, 0.0)
    assert fit_line([5.0, 5.0], [1.0, 3.0]) == (2.0, 0.0)
