"""What a step, a token and a token of context cost, from ticks whose every cost is known."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from ipw.energy.arrays import Floats
from ipw.energy.steps.step_costs import Ticks, costs_of

N = 400


def ticks(done: Floats, above_j: Floats) -> Ticks:
    """Ticks that are timed well, in which nothing was held up."""
    usable = np.ones(N, bool)
    usable[7], above_j[7] = False, 0.0
    squares = np.zeros((3, 4, 4, N))
    squares[0] = done[:, None] * done / np.maximum(done[0], 1e-9)
    known: dict[str, Any] = {
        "seconds": np.full(N, 0.1), "above_j": above_j, "usable": usable, "done": done, "idle_var": np.full(N, 1e-6),
        "knot_var": np.full(N + 1, 1e-4), "vague": np.zeros(N + 1, bool), "squares": squares,
        "busy_s": np.full(N, 0.1),
    }  # fmt: skip
    return Ticks(**{each.name: known.get(each.name, np.zeros(N)) for each in fields(Ticks)})


def work(rng: np.random.Generator) -> Floats:
    """Steps, tokens, tokens before the first result, tokens of context."""
    each = [rng.integers(low, high, N) for low, high in ((3, 9), (10, 90), (0, 400), (1_000, 90_000))]
    return np.stack(each).astype(np.float64)


def made(joules: tuple[float, float, float, float], *, outlier: bool = False) -> Ticks:
    rng = np.random.default_rng(1)
    done = work(rng)
    above = np.array(joules) @ done * (1 + 0.01 * rng.standard_normal(N))
    if outlier:
        above[::40] *= 3
    return ticks(done, above)


@pytest.mark.parametrize("outlier", [False, True])
def test_what_a_step_and_a_token_cost_is_found_from_ticks_that_hold_many(outlier: bool) -> None:
    truth = (2.0, 0.05, 0.04, 0.0)
    found = costs_of(made(truth, outlier=outlier))
    for cost, true, off in zip(found.joules, truth, np.sqrt(np.diag(found.cov)), strict=True):
        assert cost == pytest.approx(true, rel=0.1)
        assert abs(cost - true) <= 4 * off
    assert found.joules[3] == found.cov[3, 3] == 0  # context costs nothing unless ticks ask for it


def test_context_has_a_cost_where_ticks_ask_for_it() -> None:
    found = costs_of(made((2.0, 0.05, 0.04, 0.0003)))
    assert found.joules[3] == pytest.approx(0.0003, rel=0.05)
    assert found.cov[3, 3] > 0


def test_costs_are_never_negative() -> None:
    assert np.all(costs_of(made((0.0, 0.05, 0.05, 0.0))).joules >= 0)


def test_tokens_that_always_come_together_cost_alike() -> None:
    rng = np.random.default_rng(2)
    done = work(rng)
    done[2] = done[1]
    above = (2 * done[0] + 0.1 * done[1]) * (1 + 0.01 * rng.standard_normal(N))
    found = costs_of(ticks(done, above))
    assert found.joules[1] + found.joules[2] == pytest.approx(0.1, rel=0.05)
    assert found.joules[1] == pytest.approx(found.joules[2], rel=0.2)


def test_a_long_outage_does_not_hide_ticks_of_which_less_than_half_is_busy() -> None:
    one = made((2.0, 0.05, 0.04, 0.0))
    one.busy_s[:] = 0.04
    one.usable[30] = False
    one.seconds[30], one.busy_s[30], one.above_j[30] = 30.0, 12.0, 0.0
    assert costs_of(one).joules[:3] == pytest.approx([2.0, 0.05, 0.04], rel=0.1)


def test_how_likely_costs_are_is_told_by_the_same_ticks_in_whatever_unit_they_are() -> None:
    # of 3000 ticks, more than are looked at, some are idle, and some are shorter than a step
    n = 3000
    rng = np.random.default_rng(3)
    busy_s: Floats = np.where(np.arange(n) % 7 < 3, 0.0, 0.02)
    done = np.stack([0.5 * rng.uniform(0.9, 1.1, n), rng.uniform(1, 20, n), rng.uniform(0, 200, n), np.zeros(n)])
    done *= busy_s > 0
    known: dict[str, Any] = {
        "seconds": np.full(n, 0.02), "usable": np.ones(n, bool), "idle_var": np.full(n, 1e-6), "busy_s": busy_s,
        "above_j": np.array([2.0, 0.05, 0.04, 0.0]) @ done * (1 + 0.02 * rng.standard_normal(n)),
        "knot_var": np.full(n + 1, 1e-4), "vague": np.zeros(n + 1, bool),
    }  # fmt: skip

    def fitted(times: float) -> float:
        mine = times * done
        squares = np.zeros((3, 4, 4, n))
        squares[0] = mine[:, None] * mine / np.maximum(done[0], 1e-9)
        return costs_of(Ticks(done=mine, squares=squares, **known)).misfit

    assert fitted(0.9) == pytest.approx(fitted(1.0), abs=0.5)
    assert fitted(1.2) == pytest.approx(fitted(1.0), abs=0.5)
