"""Steps whose results came in part, and the rest a moment later, are one step; engines that take turns are not."""

from __future__ import annotations

import numpy as np
import pytest
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


STEP_MS, BURSTS = 20.0, 60


def parted(by_ms: float, *, ended: bool) -> int:
    """Bursts of an engine of 60 steps, where one of three units comes so much before the rest once, and ends or not."""
    t_ms, unit = [], []
    for step in range(BURSTS):
        for one in range(3):
            if ended and one == 2 and step > BURSTS // 2:
                continue
            rest = step == BURSTS // 2 and one != 2
            t_ms.append(step * STEP_MS + one / 10 + (by_ms if rest else 0.0))
            unit.append(one)
    order = np.argsort(t_ms, kind="stable")
    t_ns = (np.array(t_ms)[order] * 1e6).astype(np.int64)
    return bursts(Arrivals(t_ns, np.ones(t_ns.size, np.int64), np.array(unit)[order]), 4e6).first_ns.size


@pytest.mark.parametrize(("by_ms", "more"), [(6, 0), (9, 0), (11, 1), (15, 1)])
def test_a_unit_that_ended_came_before_the_rest_of_its_step_by_less_than_half_a_step(by_ms: float, more: int) -> None:
    assert parted(by_ms, ended=True) == BURSTS + more


@pytest.mark.parametrize("by_ms", [6, 11, 15])
def test_where_what_goes_on_is_missing_in_the_rest_it_is_one_step_up_to_the_next(by_ms: float) -> None:
    assert parted(by_ms, ended=False) == BURSTS
