"""Results that somebody on the way passes on at moments of its own: their bursts are no steps, by when they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from energy.batching import Batched, Client, Rules, run
from energy.steps.test_by_work import attributed

from ipw.energy.arrays import Ints
from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.bursts import bursts
from ipw.energy.steps.by_unit import by_unit
from ipw.energy.steps.engine import engine_of
from ipw.energy.steps.relayed import beat, loose_beat, several_at_once, worked_on_prompts

MS = 1_000_000
Way = Callable[[Batched, np.random.Generator], Arrivals]


@pytest.fixture(scope="module")
def served() -> Batched:
    """Steps of 38 ms and more."""
    return run(np.random.default_rng(8), Rules(weights_s=0.038, shaky=0.01), Client(requests=120))


def passed_on(seen: Batched, due_ns: Ints, rng: np.random.Generator, late_ms: float = 0.02) -> Arrivals:
    """What came by each moment leaves at it; a stream keeps its order."""
    t = due_ns[np.searchsorted(due_ns, seen.arrivals.t_ns)] + rng.exponential(late_ms * MS, seen.arrivals.t_ns.size)
    for unit in range(seen.requests.start_ns.size):
        mine = seen.arrivals.unit == unit
        t[mine] = np.maximum.accumulate(t[mine])
    return sorted_by_time(t.astype(np.int64), seen.arrivals.tokens, seen.arrivals.unit)


def sorted_by_time(t: Ints, tokens: npt.NDArray[Any], unit: npt.NDArray[Any]) -> Arrivals:
    order = np.argsort(t, kind="stable")
    return Arrivals(t[order], tokens[order], unit[order])


def clock(every_ms: float, uneven: float = 0.0, late_ms: float = 0.02) -> Way:
    """A clock whose periods are uneven by a part, and which is then set by when it rang."""

    def of(seen: Batched, rng: np.random.Generator) -> Arrivals:
        t = seen.arrivals.t_ns
        periods = every_ms * MS * (1 + uneven * rng.standard_normal(int((t[-1] - t[0]) / MS / every_ms * 1.1) + 20))
        return passed_on(seen, (t[0] - MS + np.cumsum(periods)).astype(np.int64), rng, late_ms)

    return of


def in_one(every_ms: float) -> Way:
    """What a stream has when the clock rings is one chunk."""

    def of(seen: Batched, rng: np.random.Generator) -> Arrivals:
        late = clock(every_ms)(seen, rng)
        beats = np.rint((late.t_ns - late.t_ns[0]) / MS / every_ms).astype(np.int64)
        _, at, place = np.unique(beats * 1000 + late.unit, return_index=True, return_inverse=True)
        return sorted_by_time(late.t_ns[at], np.bincount(place, late.tokens), late.unit[at])

    return of


def full(chunks: int) -> Way:
    """Each stream has a buffer of its own, which leaves when it is full."""

    def of(seen: Batched, _: np.random.Generator) -> Arrivals:
        t = seen.arrivals.t_ns.copy()
        for unit in range(seen.requests.start_ns.size):
            mine = np.flatnonzero(seen.arrivals.unit == unit)
            last = np.minimum(np.arange(mine.size) // chunks * chunks + chunks - 1, mine.size - 1)
            t[mine] = t[mine[last]]
        return sorted_by_time(t, seen.arrivals.tokens, seen.arrivals.unit)

    return of


def told(seen: Batched, arrivals: Arrivals) -> tuple[str, str]:
    first = np.full(seen.requests.start_ns.size, np.iinfo(np.int64).max)
    np.minimum.at(first, arrivals.unit, arrivals.t_ns)
    found = engine_of(seen.requests._replace(first_ns=first), arrivals)
    assert (found.kind == "unknown") == (found.steps is None)
    return found.kind, found.why


@pytest.mark.parametrize(
    "way",
    [
        clock(31), clock(36), clock(40), clock(47), clock(90), clock(31, late_ms=1), clock(40, late_ms=1),
        clock(31, 0.02), clock(27, 0.02), clock(40, 0.02), clock(47, 0.05), in_one(47), in_one(60), in_one(90),
        full(2), full(4),
    ],
    ids=[
        "a bit shorter than a step", "nearly a step", "a bit longer", "by a quarter", "two steps and more",
        "short and late by a millisecond", "longer and late", "drifts", "drifts, and is shorter",
        "drifts, and is longer", "drifts much", "one chunk of what came", "by half", "of two and more",
        "full after two", "full after four",
    ],
)  # fmt: skip
def test_what_a_proxy_passes_on_at_moments_of_its_own_is_no_step(served: Batched, way: Way) -> None:
    assert told(served, served.arrivals)[0] == "steps"
    assert told(served, way(served, np.random.default_rng(3)))[0] == "unknown"


@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize("every_ms", [9.0, 13.0, 20.0])
def test_steps_of_several_engines_behind_a_proxy_are_not_told_either(engines: int, every_ms: float) -> None:
    seen = run(np.random.default_rng(9), Rules(shaky=0.02), Client(in_flight=16, requests=120), engines)
    assert told(seen, seen.arrivals)[0] == ("steps" if engines == 1 else "several engines")
    assert told(seen, clock(every_ms)(seen, np.random.default_rng(3)))[0] == "unknown"


@pytest.mark.parametrize(
    ("rules", "client"),
    [
        (Rules(), Client(requests=120)),
        (Rules(), Client(requests=120, rate=9)),
        (Rules(weights_s=0.03), Client(requests=80, prompt=(40, 60))),
        (Rules(budget=256, weights_s=0.0153), Client(requests=120, prompt=(512, 1024))),
        (Rules(budget=256, weights_s=0.0153), Client(requests=120, prompt=(512, 512), answer=(60, 60))),
        (Rules(budget=256, weights_s=0.0165), Client(requests=160, foreign=0.4)),
        (Rules(accepted=np.array([0.1, 0.9]), drafted=1), Client(requests=160)),
        (Rules(accepted=np.array([0.5, 0.5]), drafted=1), Client(requests=160, in_flight=2)),
    ],
    ids=[
        "closed loop", "Poisson", "all steps alike", "prompts take two steps' time", "lengths all alike",
        "another client's prompts too", "drafts nearly always accepted", "drafts of two",
    ],
)  # fmt: skip
def test_an_engine_whose_steps_are_as_even_as_a_clock_is_told_as_before(rules: Rules, client: Client) -> None:
    seen = run(np.random.default_rng(8), rules, client)
    assert told(seen, seen.arrivals)[0] == "steps"


def test_the_reason_names_the_beat_or_how_many_came_at_once(served: Batched) -> None:
    rng = np.random.default_rng(3)
    assert (
        told(served, clock(31)(served, rng))[1] == "chunks came on the beat of a clock, every 31 ms, whatever the work"
    )
    assert (
        "of the chunks came in bursts that held more or fewer of each request than usual"
        in told(served, in_one(60)(served, rng))[1]
    )


def moments(*interval_ms: float) -> Ints:
    return (np.cumsum([100.0, *interval_ms]) * MS).astype(np.int64)


def test_moments_keep_a_beat_if_all_intervals_are_whole_numbers_of_it() -> None:
    some = [30, 60, 30, 30, 90] * 20
    none, all_of_them = np.zeros(100, bool), np.ones(100, bool)
    assert beat(moments(*some), none) == pytest.approx(30 * MS)
    assert beat(moments(*some), all_of_them) is None, "prompts of two lengths may take two and three steps' time"
    assert beat(moments(*[30, 60, 30, 120, 90] * 20), all_of_them) == pytest.approx(30 * MS)
    moved = [x for long in np.random.default_rng(1).uniform(80, 110, 20) for x in (30, 60, 30, 30, long)]
    assert beat(moments(*moved), none) is None, "a prompt moves all that follow"
    assert beat(moments(*[30] * 100), none) is None, "nothing else is seen than steps of one length"
    assert beat(moments(*[30, 60] * 20), none[:40]) is None, "too few"


def test_a_beat_that_drifts_shows_where_there_were_no_prompts() -> None:
    noise = np.random.default_rng(1).normal(1, 0.03, 2000)
    drifts = moments(*(np.array([30, 60, 30, 30, 60] * 400) * noise))
    none = np.zeros(2000, bool)
    assert beat(drifts, none) is None
    assert loose_beat(drifts, none) == pytest.approx(30 * MS, rel=0.02)
    assert loose_beat(drifts, ~none) is None
    assert loose_beat(moments(*([30, 57, 30, 30, 57] * 400)), none) is None, "no whole number of beats"
    assert loose_beat(moments(*(np.array([30, 60] + [30] * 1998) * noise)), none) is None, "once is chance"


def test_a_prompt_is_worked_on_from_when_it_was_asked_to_its_first_result() -> None:
    at = np.array([10, 20, 30, 40]) * MS
    zero = np.zeros(1, np.int64)
    asked = Requests(np.array([15 * MS]), np.array([30 * MS]), np.array([40 * MS]), zero, zero + 2, zero)
    assert worked_on_prompts(asked, at).tolist() == [True, True, False]


def several(count: Callable[[int, int], int], steps: int = 60) -> float:
    rows = [(20 * MS * k + 1000 * u, u) for k in range(steps) for u in range(4) for _ in range(count(k, u))]
    seen = Arrivals(
        np.array([t for t, _ in rows]), np.ones(len(rows), np.int64), np.array([u for _, u in rows], np.int32)
    )
    whose = by_unit(seen)
    return several_at_once(seen, bursts(seen, 5 * MS, whose), whose)


def test_numbers_of_results_that_vary_for_all_at_once_are_of_who_passes_them_on() -> None:
    assert several(lambda k, _: 2 if k % 10 == 1 else 1) == pytest.approx(6 / 58)
    assert several(lambda k, u: 2 if (k + 3 * u) % 10 == 1 else 1) == 0, "of drafts, each unit has its own"
    assert several(lambda _k, _u: 2) == 0, "always two: a server that computes two at a time"
    assert several(lambda k, _: 2 if k % 10 == 1 else 1, steps=10) == 0, "too few"


@pytest.mark.parametrize("client", [Client(requests=120, buffer_s=0.065), Client(requests=120, gather=3)])
def test_intervals_say_that_steps_which_are_hidden_may_be_anybodys(client: Client) -> None:
    rng = np.random.default_rng(5)
    seen = run(rng, Rules(), client)
    assert engine_of(seen.requests, seen.arrivals).hidden
    owners = attributed(seen, rng).owners
    gross, net = seen.world.gross_j(), owners.net_energy_j
    assert net is not None
    assert np.all(owners.high_j - owners.energy_j >= 0.48 * net)
    assert np.mean((owners.low_j <= gross) & (gross <= owners.high_j)) >= 0.93


def test_nothing_is_hidden_of_engines_that_are_told_nor_by_short_delays() -> None:
    for client in (Client(requests=120), Client(requests=120, jitter_s=0.003)):
        seen = run(np.random.default_rng(5), Rules(), client)
        assert not engine_of(seen.requests, seen.arrivals).hidden
