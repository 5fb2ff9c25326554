"""Steps whose results came in part, and the rest a moment later, are one step; engines that take turns are not."""

from __future__ import annotations

import numpy as np
from energy.batching import Client, run

from ipw.energy.steps.arrivals import Arrivals
from ipw.energy.steps.bursts import bursts
from ipw.energy.steps.engine import engine_of


def held_up(rng: np.random.Generator, arrivals: Arrivals, seldom: float) -> Arrivals:
    """Let the last chunks of some bursts come 6 ms late, of steps of 14 ms."""
    found = bursts(arrivals, 4e6)
    t_ns = arrivals.t_ns.copy()
    for burst in np.flatnonzero(rng.random(found.first_ns.size) < seldom).tolist():
        chunks = np.flatnonzero(found.of == burst)
        t_ns[chunks[chunks.size // 2 :]] += 6_000_000
    order = np.argsort(t_ns, kind="stable")
    return Arrivals(t_ns[order], arrivals.tokens[order], arrivals.unit[order])


def test_a_burst_that_was_torn_in_two_is_one_step() -> None:
    rng = np.random.default_rng(1)
    seen = run(rng, client=Client(requests=80))
    torn = held_up(rng, seen.arrivals, 0.04)
    whole, counted = bursts(seen.arrivals, 4e6), bursts(torn, 4e6)
    assert abs(counted.first_ns.size / whole.first_ns.size - 1) < 0.005
    assert engine_of(seen.requests, torn).kind == "steps"


def test_bursts_that_are_torn_again_and_again_are_left_as_they_came() -> None:
    rng = np.random.default_rng(2)
    seen = run(rng, client=Client(requests=80))
    torn = held_up(rng, seen.arrivals, 0.5)
    assert bursts(torn, 4e6).first_ns.size > 1.3 * bursts(seen.arrivals, 4e6).first_ns.size


def test_a_unit_that_misses_a_step_does_not_join_the_next_one_to_it() -> None:
    t_ms = np.repeat(np.arange(30) * 20, 2) + np.tile([0, 1], 30)
    arrivals = Arrivals(t_ms * 1_000_000, np.ones(60, np.int64), np.tile([0, 1], 30))
    keep = np.ones(60, bool)
    keep[21] = False  # the second unit has no result in the eleventh step, and one in the twelfth
    missed = Arrivals(arrivals.t_ns[keep], arrivals.tokens[keep], arrivals.unit[keep])
    assert bursts(missed, 5e6).first_ns.size == 30
