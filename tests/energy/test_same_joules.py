"""A run that is computed again gives the same joules, from version to version: worlds whose results are written down.

`same_joules.json` holds them. Where a change is meant to change results, say so in the changelog and write them anew:
`cd tests && python -m energy.test_same_joules`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from energy.batching import Client, Rules, run
from energy.simulator import FAST, Sampler, World, closed_loop, disturbed, one_at_a_time, poisson

from ipw.energy.attribution import Attribution, attribute
from ipw.energy.curve import Curve, add_curves, counter_curve, energy_between, power_curve
from ipw.energy.division import Share
from ipw.energy.shape import shaped
from ipw.energy.steps.engine import Engine, engine_of

KNOWN = Path(__file__).with_name("same_joules.json")
SECOND = 1_000_000_000
Rng = np.random.Generator
Case = tuple[Curve, World, Engine | None, bool]
"""What was seen, of which world, with the engine's steps, and whether it is told when it was idle."""


def messy(rng: Rng) -> World:
    return disturbed(one_at_a_time(rng, 15, variation=0.1), rng, flicker=0.1, drift=0.1, late_s=0.003)


def ticking(rng: Rng, world: World, **sampler: Any) -> Curve:
    return replace(Sampler(), **sampler).curve(world, rng)


def powers(rng: Rng, world: World, *, period_s: float, outage: bool = False) -> Curve:
    """Power that is read now and then, with an outage in the middle."""
    t = np.arange(0, int(world.step_ns[-1]), int(period_s * SECOND))
    watts = np.diff(world.energy_at(np.append(t, t[-1] + int(period_s * SECOND)))) / period_s
    status = np.zeros(t.size, np.int64)
    if outage:
        middle = t.size // 2
        status[middle : middle + 8] = 4
        watts[middle : middle + 8] = np.nan
    return power_curve(t, watts * (1 + 0.01 * rng.standard_normal(t.size)), status, np.full(t.size, 1_000_000))


def broken(rng: Rng, world: World) -> Curve:
    """A counter that starts anew, fails for a while, and once says what cannot be."""
    counter = Sampler().counter(world, rng)
    t, joules, status, half = Sampler().readings(counter, rng)
    joules = np.where(t > t[2 * t.size // 3], joules - joules[2 * t.size // 3] + 1, joules)
    status[t.size // 3 : t.size // 3 + 20] = 4
    joules[t.size // 2] = 2.0**32 / 1000
    return counter_curve(t, joules, status, half, ticks=True, resolution_j=0.001, max_power_w=2000.0)


def two_devices(rng: Rng, world: World) -> Curve:
    half = replace(world, power_w=world.power_w * 0.4)
    return add_curves([ticking(rng, world), powers(rng, half, period_s=0.05, outage=True)])


def shaped_by_power(rng: Rng, world: World) -> Curve:
    slow = ticking(rng, world, period_s=1.5, jitter_s=0.002)
    return shaped(slow, powers(rng, world, period_s=0.1, outage=True))


def served(rng: Rng, rules: Rules, client: Client, engines: int = 1) -> Case:
    seen = run(rng, rules, client, engines)
    return Sampler().curve(seen.world, rng), seen.world, engine_of(seen.requests, seen.arrivals), True


def plain(
    make: Callable[[Rng], World], see: Callable[[Rng, World], Curve], *, idle: bool = True
) -> Callable[[Rng], Case]:
    def case(rng: Rng) -> Case:
        world = make(rng)
        return see(rng, world), world, None, idle

    return case


FEW = Client(requests=32)
SPECULATIVE = Rules(accepted=np.array([0.4, 0.3, 0.3]), drafted=3, uneven=0.02)
CASES: dict[str, Callable[[Rng], Case]] = {
    "one at a time": plain(lambda rng: one_at_a_time(rng, 25), ticking),
    "one at a time, told late, idle not told": plain(messy, ticking, idle=False),
    "one at a time, short ticks": plain(messy, lambda rng, world: FAST.curve(world, rng)),
    "one at a time, power now and then": plain(messy, lambda rng, world: powers(rng, world, period_s=0.1, outage=True)),
    "one at a time, a broken counter": plain(messy, broken),
    "one at a time, two devices": plain(messy, two_devices),
    "one at a time, shaped": plain(messy, shaped_by_power),
    "one at a time, a coarse counter": plain(messy, lambda rng, world: ticking(rng, world, resolution_j=4.0)),
    "one at a time, drifting for long": plain(
        lambda rng: disturbed(one_at_a_time(rng, 50), rng, drift=0.3),
        lambda rng, world: ticking(rng, world, period_s=0.01, jitter_s=5e-5, bracket_s=5e-4),
    ),
    "a closed loop": plain(lambda rng: closed_loop(rng, 40, variation=0.05), ticking),
    "a closed loop, concave": plain(lambda rng: closed_loop(rng, 40, concave=True), ticking),
    "at random, idle not told": plain(lambda rng: poisson(rng, 40, in_flight=3, concave=True), ticking, idle=False),
    "in steps": lambda rng: served(rng, Rules(uneven=0.02, shaky=0.02), FEW),
    "in steps, with context": lambda rng: served(rng, Rules(kv_j=5e-6, kv_s=2e-8, cached=0.5), FEW),
    "in steps, at random, up to a limit": lambda rng: served(rng, Rules(saturates_w=400.0), replace(FEW, rate=12)),
    "in steps, prompts alone": lambda rng: served(rng, Rules(chunked=False, shaky=0.05), FEW),
    "in steps, speculative": lambda rng: served(rng, SPECULATIVE, FEW),
    "in steps beside others": lambda rng: served(rng, Rules(), replace(FEW, requests=45, foreign=0.3)),
    "in static batches": lambda rng: served(rng, Rules(static=True, most=8), FEW),
    "two engines": lambda rng: served(rng, Rules(), replace(FEW, requests=60), 2),
    "chunks that say nothing": lambda rng: served(rng, Rules(), replace(FEW, buffer_s=0.3)),
}


def sums(values: Any) -> list[float]:
    """A sum, and another in which each value counts differently."""
    array = np.asarray(values, np.float64).ravel()
    return [float(array.sum()), float(array @ np.cos(np.arange(array.size)))]


def shares(share: Share) -> list[float]:
    return [part for each in (share.energy_j, share.low_j, share.high_j) for part in sums(each)]


def computed(name: str) -> tuple[list[float], dict[str, Any]]:
    """Tell what was seen in a world, and what attribution makes of it."""
    curve, world, engine, idle = CASES[name](np.random.default_rng(sum(name.encode())))
    seen = [*sums(world.spans.start_ns / SECOND), *sums(world.power_w)]
    found = attribute(
        curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns if idle else None, engine=engine
    )
    return seen, told(curve, found, engine)


def told(curve: Curve, found: Attribution, engine: Engine | None) -> dict[str, Any]:
    """What is compared, as JSON has it."""
    start, end = int(curve.t_ns[0]), int(curve.t_ns[-1])
    cuts = np.linspace(start, end, 40).astype(np.int64)
    return {
        "knots": [curve.t_ns.size, *sums(curve.energy_j), *sums(curve.t_err_ns / 1e6)],
        "gaps": [len(curve.gap_reasons), *sums((curve.gaps_ns - start) / SECOND)],
        "between": [part for each in energy_between(curve, cuts[:-1], cuts[1:]) for part in sums(each)],
        "spans": shares(found.spans),
        "owners": shares(found.owners),
        "net": [] if found.owners.net_energy_j is None else sums(found.owners.net_energy_j),
        "totals": [found.measured_j, found.idle_j, found.unattributed_j],
        "idle power": list(found.idle_power_w or ()),
        "levels": {name: list(each) for name, each in found.levels.items()},
        "costs": {name: list(each) for name, each in found.costs.items()},
        "said": [found.rule, *found.flags],
        "engine": engine.facts() if engine else None,
    }  # fmt: skip


def flat(entry: Any, name: str = "") -> dict[str, Any]:
    """All numbers and texts of a document, by where they stand."""
    if isinstance(entry, Mapping):
        return {key: value for part, each in entry.items() for key, value in flat(each, f"{name}/{part}").items()}
    if isinstance(entry, list):
        return {key: value for part, each in enumerate(entry) for key, value in flat(each, f"{name}/{part}").items()}
    return {name: entry}


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_is_computed_again_gives_the_same_joules(name: str) -> None:
    known = json.loads(KNOWN.read_text(encoding="utf-8"))[name]
    seen, found = computed(name)
    if seen != pytest.approx(known["seen"], rel=1e-9):
        pytest.skip("this numpy draws other worlds")
    expected, now = flat(known["found"]), flat(found)
    assert now.keys() == expected.keys()
    apart = {
        place: (value, now[place])
        for place, value in expected.items()
        if now[place] != (pytest.approx(value, rel=1e-6, abs=1e-9) if isinstance(value, float) else value)
    }
    assert not apart


if __name__ == "__main__":
    every = {name: dict(zip(("seen", "found"), computed(name), strict=True)) for name in CASES}
    KNOWN.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")
