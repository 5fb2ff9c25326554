"""What a span costs however long it lasts, and edges told early: neither is taken from spans beside it."""

from __future__ import annotations

import numpy as np
import pytest
from energy.simulator import IDLE_W, REST_S, Sampler, World

from ipw.energy.attribution import attribute
from ipw.energy.model import late_unless_surely_early
from ipw.energy.timeline import Spans


def served(rng: np.random.Generator, fixed_j: float, early_s: float, queries: int = 120) -> World:
    """One at a time; each prefill costs so much at once, and each request is sent so long before work begins."""
    length, prefill = rng.uniform(0.8, 1.6, queries), rng.uniform(0.02, 0.12, queries)
    start = REST_S + np.cumsum(length + 0.002 + early_s) - length
    sent, first, end = ((x * 1e9).astype(np.int64) for x in (start - early_s, start + prefill, start + length))
    began = (start * 1e9).astype(np.int64)
    prefill_w = 300.0 + fixed_j / prefill
    step_ns = np.concatenate([[0], np.stack([began, first, end], 1).ravel(), [end[-1] + int(REST_S * 1e9)]])
    power = np.stack([IDLE_W + prefill_w, np.full(queries, IDLE_W + 250.0), np.full(queries, IDLE_W)], 1).ravel()
    net = prefill_w * (first - began) / 1e9 + 250.0 * (end - first) / 1e9
    spans = Spans(
        np.stack([sent, first], 1).ravel(),
        np.stack([first, end], 1).ravel(),
        np.tile([0, 1], queries),
        ("prefill", "decode"),
        np.repeat(np.arange(queries), 2),
        np.ones(2 * queries),
    )
    stop = int(end[-1])
    idle = np.array([[500_000_000, int(sent[0]) - 500_000_000], [stop + 500_000_000, stop + 3_000_000_000]])
    window = int(sent[0]) - 10**9, stop + 10**9
    return World(spans, step_ns, np.concatenate([[IDLE_W], power]), net, IDLE_W, window, idle)


@pytest.mark.parametrize(("fixed_j", "early_s"), [(8.0, 0.0), (0.0, 0.001)])
def test_joules_of_one_at_a_time_are_not_biased_by_fixed_costs_or_edges_told_early(
    fixed_j: float, early_s: float
) -> None:
    rng = np.random.default_rng(1)
    world = served(rng, fixed_j, early_s)
    found = attribute(Sampler().curve(world, rng), world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns)
    error = found.owners.energy_j / world.gross_j() - 1
    assert abs(error.mean()) < 2e-4
    assert np.quantile(np.abs(error), 0.95) < 5e-4


def test_a_lag_counts_before_its_edges_unless_they_were_surely_told_early() -> None:
    share = late_unless_surely_early(np.array([0.003, 0.0, -0.0005, -0.003]), np.full(4, 0.0005))
    assert share[0] == pytest.approx(1)
    assert share[1] > 0.8
    assert share[2] == pytest.approx(0.5)
    assert share[3] < 1e-3


def test_whatever_the_lag_is_spans_are_off_by_a_quarter_of_its_standard_deviation_at_most() -> None:
    rng = np.random.default_rng(2)
    for lag in np.linspace(-5, 5, 21):
        seen = lag + rng.standard_normal(20_000)
        behind = (1 - late_unless_surely_early(seen, np.ones(seen.size))) * seen  # of that, what spans are charged
        assert abs(float(behind.mean()) - min(float(lag), 0.0)) < 0.3
