"""Engines of many kinds, seen by their arrivals alone: what is told of them, and how good joules by step are then."""

from __future__ import annotations

import numpy as np
import pytest
from energy.batching import Client, Rules, run
from energy.steps.test_by_work import attributed, ranks

from ipw.energy.steps.engine import engine_of

SEED = 1000
"""Settings were chosen on seeds below."""
SHAKY = Rules(shaky=0.02)
HALF = Client(rate=8, requests=160)
LOOP = Client(requests=160)


@pytest.mark.parametrize(
    ("rules", "client", "engines", "kind"),
    [
        (Rules(), LOOP, 1, "steps"),
        (Rules(chunked=False, budget=4096), HALF, 1, "steps"),
        (Rules(accepted=np.array([0.3, 0.3, 0.2, 0.2]), drafted=3), LOOP, 1, "steps"),
        (Rules(weights_s=0.004, token_s=3e-5), Client(in_flight=16, requests=160), 1, "steps"),
        (Rules(static=True, most=8, budget=8192), Client(in_flight=16, requests=160), 1, "static batches"),
        (Rules(), Client(in_flight=1, requests=20), 1, "one at a time"),
        (SHAKY, Client(in_flight=16, requests=160), 2, "several engines"),
        (Rules(), Client(requests=160, gather=8), 1, "unknown"),
        (Rules(), Client(requests=160, buffer_s=0.05), 1, "unknown"),
        (Rules(), Client(requests=160, jitter_s=0.02), 1, "unknown"),
        (Rules(), Client(requests=160, jitter_s=0.003), 1, "unknown"),
    ],
)
def test_the_kind_of_an_engine_is_told_by_when_results_come(
    rules: Rules, client: Client, engines: int, kind: str
) -> None:
    seen = run(np.random.default_rng(SEED), rules, client, engines)
    found = engine_of(seen.requests, seen.arrivals)
    assert (found.kind, found.steps is None) == (kind, kind in ("unknown", "one at a time")), found.why
    assert found.why
    if kind == "steps":
        assert found.count == pytest.approx(seen.steps, rel=0.02)


@pytest.mark.parametrize(
    ("rules", "client"),
    [
        (Rules(kv_j=3e-5, kv_s=1e-7), LOOP),
        (Rules(cached=0.5), HALF),
        (Rules(accepted=np.array([0.3, 0.3, 0.2, 0.2]), drafted=3), LOOP),
        (Rules(chunked=False, budget=4096), HALF),
        (Rules(budget=8192, weights_s=0.02, token_s=4e-5, step_j=5, token_j=0.01, prompt_j=0.01), Client(rate=16)),
        (Rules(token_j=0.12, prompt_j=0.03), HALF),
        (Rules(saturates_w=600), LOOP),
        (Rules(cap_w=300), HALF),
        (Rules(uneven=0.05), LOOP),
        (SHAKY, LOOP),
        (Rules(static=True, most=8, chunked=False), Client(in_flight=16, requests=160)),
    ],
    ids=[
        "context costs", "prefixes cached", "speculative", "prompts by themselves", "large steps", "tokens cost more",
        "power saturates", "power capped", "steps uneven", "lengths uneven", "static batches",
    ],
)  # fmt: skip
def test_each_request_is_charged_what_the_engine_books_for_it(rules: Rules, client: Client) -> None:
    rng = np.random.default_rng(SEED)
    seen = run(rng, rules, client)
    owners, books, gross = attributed(seen, rng).owners, seen.world.net_j, seen.world.gross_j()
    assert owners.net_energy_j is not None
    error = np.abs(owners.net_energy_j / books - 1)
    assert error.mean() <= 0.03
    assert np.quantile(error, 0.95) <= 0.08
    assert abs(owners.net_energy_j.sum() / books.sum() - 1) <= 0.005
    assert np.corrcoef(ranks(owners.net_energy_j), ranks(books))[0, 1] >= 0.99
    assert np.mean((owners.low_j <= gross) & (gross <= owners.high_j)) >= 0.7
    assert np.median((owners.high_j - owners.low_j) / 2 / books) <= 0.1


def test_prefill_and_decode_are_charged_apart() -> None:
    rng = np.random.default_rng(SEED)
    seen = run(rng, Rules(), LOOP)
    spans = attributed(seen, rng).spans
    assert spans.net_energy_j is not None
    prefill = spans.net_energy_j[seen.world.spans.phase == 0]
    assert np.abs(prefill / seen.prefill_j - 1).mean() <= 0.02


def test_what_steps_do_for_others_is_nobodys_and_is_told() -> None:
    rng = np.random.default_rng(SEED)
    seen = run(rng, Rules(), Client(requests=240, foreign=0.4))
    found = attributed(seen, rng)
    books, owners = seen.world.net_j, found.owners
    assert owners.net_energy_j is not None
    assert any("others share the engine" in flag for flag in found.flags)
    assert found.unattributed_j > 0.1 * found.measured_j
    assert abs(owners.net_energy_j.sum() / books.sum() - 1) <= 0.2
    gross = owners.energy_j + books - owners.net_energy_j
    assert np.mean((owners.low_j <= gross) & (gross <= owners.high_j)) >= 0.9


def test_where_steps_cannot_be_told_the_rule_is_that_of_phases_and_intervals_are_as_wide() -> None:
    rng = np.random.default_rng(SEED)
    seen = run(rng, Rules(), Client(requests=120, jitter_s=0.02))
    found = attributed(seen, rng)
    assert found.rule.startswith("phase-aware")
    assert not found.costs
    gross = seen.world.gross_j()
    assert np.mean((found.owners.low_j <= gross) & (gross <= found.owners.high_j)) >= 0.93


def test_costs_are_found_as_they_are_and_their_intervals_hold_them() -> None:
    rng = np.random.default_rng(SEED)
    found = attributed(run(rng, Rules(), Client(rate=8)), rng).costs
    for name, truth in (("step", 2.07), ("token", 0.0418), ("prompt token", 0.0418)):
        value, low, high = found[name]
        assert value == pytest.approx(truth, rel=0.1)
        assert low * 0.98 <= truth <= high * 1.02


def test_chunks_of_several_steps_that_come_at_once_are_no_step() -> None:
    seen = run(np.random.default_rng(SEED), Rules(), LOOP)
    every_ns = 50_000_000
    late = seen.arrivals._replace(t_ns=-(-seen.arrivals.t_ns // every_ns) * every_ns)
    found = engine_of(seen.requests, late)
    assert (found.kind, found.steps) == ("unknown", None)
    assert "came along with the one before" in found.why
