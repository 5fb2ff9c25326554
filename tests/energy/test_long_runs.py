"""A long run is divided by steps piece by piece: the same joules, to what little the cuts cost, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from energy.batching import Client, Rules, run
from energy.scoring import left_over
from energy.simulator import Sampler

from ipw.attribution.queries.engine_seen import engine_seen
from ipw.attribution.queries.phases import Timing
from ipw.energy import attribution
from ipw.energy.attribution import attribute
from ipw.energy.steps import engine as engines
from ipw.energy.steps.arrivals import Arrivals
from ipw.energy.steps.by_work import RULE
from ipw.energy.steps.engine import engine_of
from ipw.runs.arrivals import Chunks


@pytest.mark.parametrize("client", [Client(requests=300), Client(requests=300, rate=8)], ids=["closed", "poisson"])
def test_pieces_of_a_run_add_up_to_what_the_whole_gives(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    seen = run(rng, Rules(), client)
    world = seen.world
    curve = Sampler().curve(world, rng)
    found = []
    for long, events in ((engines.LONG, attribution.FEWER_EVENTS), (2000, 900)):
        monkeypatch.setattr(engines, "LONG", long)
        monkeypatch.setattr(attribution, "FEWER_EVENTS", events)
        engine = engine_of(seen.requests, seen.arrivals)
        assert (engine.whole is None) == (long > 2000)
        found.append(
            (engine, attribute(curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns, engine=engine))
        )
    (whole_engine, whole), (cut_engine, cut) = found
    assert (cut_engine.kind, cut.rule) == (whole_engine.kind, RULE)
    assert cut_engine.count == whole_engine.count
    assert left_over(cut) <= 1e-9
    assert cut.owners.net_energy_j is not None
    assert whole.owners.net_energy_j is not None
    books = world.net_j
    assert np.abs(cut.owners.net_energy_j / whole.owners.net_energy_j - 1).mean() < 0.01
    assert np.abs(cut.owners.net_energy_j / books - 1).mean() < 0.02
    assert cut.owners.net_energy_j.sum() == pytest.approx(books.sum(), rel=0.005)
    gross = world.gross_j()
    assert ((cut.owners.low_j <= gross) & (gross <= cut.owners.high_j)).mean() > 0.85
    assert cut.costs["step"][0] == pytest.approx(whole.costs["step"][0], rel=0.2)


def test_a_piece_in_which_no_request_begins_is_divided_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    seen = run(rng, Rules(), Client(requests=4, in_flight=4, answer=(900, 901)))
    world = seen.world
    monkeypatch.setattr(engines, "LONG", 2000)
    monkeypatch.setattr(attribution, "FEWER_EVENTS", 900)
    engine = engine_of(seen.requests, seen.arrivals)
    assert engine.whole is not None
    curve = Sampler().curve(world, rng)
    found = attribute(curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns, engine=engine)
    assert found.rule == RULE
    assert found.owners.net_energy_j == pytest.approx(world.net_j, rel=0.005)


def test_a_long_run_is_sorted_as_a_short_one_is_to_a_microsecond(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rows, each = 37, 120
    start = np.sort(rng.integers(5 * 10**15, 5 * 10**15 + 10**12, rows))
    since = np.cumsum(rng.integers(10**6, 10**8, (rows, each)), axis=1)
    since = since // 10_000 * 10_000
    unknown = np.full(rows, -1)
    timing = Timing(start, start + since[:, 0], start + since[:, -1], unknown, unknown, np.full(rows, each))
    seen: list[Arrivals] = []

    def kept(requests: object, arrivals: Arrivals) -> engines.Engine:
        seen.append(arrivals)
        return engines.Engine("unknown", 0.0, "")

    monkeypatch.setattr("ipw.attribution.queries.engine_seen.engine_of", kept)
    for long in (10**9, 100):
        monkeypatch.setattr("ipw.attribution.queries.engine_seen.LONG", long)
        row = np.repeat(np.arange(rows, dtype=np.int32), each)
        engine_seen(timing, Chunks(row, since.ravel().copy(), np.ones(row.size, np.uint8)))
    short, packed = seen
    assert np.abs(packed.t_ns - short.t_ns).max() < 1100
    assert (np.diff(packed.t_ns) >= 0).all()
    for unit in range(rows):
        mine = [np.sort(arrivals.t_ns[arrivals.unit == unit]) for arrivals in seen]
        assert mine[0].size == mine[1].size == each
        assert np.abs(mine[0] - mine[1]).max() < 1100
    assert packed.tokens.tolist() == short.tokens.tolist()
