"""Joules of each request in an engine that computes in steps, against the engine's own books."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from energy.batching import Batched, Client, Rules, run
from energy.scoring import left_over
from energy.simulator import Sampler

from ipw.energy.attribution import Attribution, attribute
from ipw.energy.steps import by_work
from ipw.energy.steps.engine import engine_of

Floats = npt.NDArray[np.float64]
SEEDS = range(1000, 1003)
"""Settings were chosen on seeds below 1000."""


@dataclass(frozen=True)
class Score:
    """Net joules against the books, over all requests of all runs."""

    mean: float
    p95: float
    bias: float
    rank: float
    held: float
    half_width: float


def attributed(seen: Batched, rng: np.random.Generator) -> Attribution:
    """What ipw makes of a run, and that nothing was lost on the way."""
    world = seen.world
    curve = Sampler().curve(world, rng)
    engine = engine_of(seen.requests, seen.arrivals)
    found = attribute(curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns, engine=engine)
    assert left_over(found) <= 1e-9
    return found


def ranks(values: Floats) -> Floats:
    """Place of each in rising order."""
    places: Floats = np.argsort(np.argsort(values)).astype(np.float64)
    return places


def score(rules: Rules, client: Client, engines: int = 1) -> Score:
    """Attribute a run for each seed."""
    errors, held, widths, biases, correlations = [], [], [], [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        seen = run(rng, rules, client, engines)
        owners, books, gross = attributed(seen, rng).owners, seen.world.net_j, seen.world.gross_j()
        assert owners.net_energy_j is not None
        errors.append(np.abs(owners.net_energy_j / books - 1))
        held.append((owners.low_j <= gross) & (gross <= owners.high_j))
        widths.append((owners.high_j - owners.low_j) / 2 / books)
        biases.append(abs(owners.net_energy_j.sum() / books.sum() - 1))
        correlations.append(np.corrcoef(ranks(owners.net_energy_j), ranks(books))[0, 1])
    error = np.concatenate(errors)
    return Score(
        float(error.mean()),
        float(np.quantile(error, 0.95)),
        max(biases),
        min(correlations),
        float(np.concatenate(held).mean()),
        float(np.median(np.concatenate(widths))),
    )


LOADS = {
    "8 in flight, closed loop": Client(),
    "32 in flight, closed loop": Client(in_flight=32),
    "two thirds of capacity, Poisson": Client(rate=8),
    "beyond capacity, Poisson": Client(rate=14),
}


@pytest.mark.parametrize("load", LOADS)
def test_a_request_in_flight_with_others_is_charged_what_the_engine_books_for_it(load: str) -> None:
    found = score(Rules(), LOADS[load])
    assert found.mean <= 0.005
    assert found.p95 <= 0.01
    assert found.bias <= 0.005
    assert found.rank >= 0.999
    assert found.held >= 0.9
    assert found.half_width <= 0.02


def test_shares_that_sum_up_to_more_than_was_drawn_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(SEEDS[0])
    seen = run(rng, Rules(), next(iter(LOADS.values())))
    monkeypatch.setattr(by_work, "OVER", -0.5)
    found = attributed(seen, rng)
    assert "not by steps: shares of the steps sum up to" in found.rule
    assert found.owners.net_energy_j is not None
