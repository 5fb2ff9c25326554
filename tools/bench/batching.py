"""Joules of requests in engines that compute in steps, against the engines' own books: a table of docs/attribution.md.

    python tools/bench/batching.py --seeds 3

Simulated engines (tests/energy/batching.py) whose joules are known step by step, and a client that sees chunks of text
late by some tenths of a millisecond. Net joules of each request, divided by steps, and as where steps cannot be told.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from energy.batching import Client, Rules, run
from energy.simulator import Sampler

from ipw.energy.arrays import Floats
from ipw.energy.attribution import attribute
from ipw.energy.steps.by_work import RULE
from ipw.energy.steps.engine import engine_of

PLAIN, CLOSED = Rules(), Client()
CASES: dict[str, tuple[Rules, Client, int]] = {
    "one at a time": (PLAIN, Client(in_flight=1, requests=120), 1),
    "8 in flight, closed loop": (PLAIN, CLOSED, 1),
    "32 in flight, closed loop": (PLAIN, Client(in_flight=32), 1),
    "8 a second, Poisson (two thirds of capacity)": (PLAIN, Client(rate=8), 1),
    "14 a second, Poisson (beyond capacity)": (PLAIN, Client(rate=14), 1),
    "… whole prompts in steps of their own": (replace(PLAIN, chunked=False), CLOSED, 1),
    "… static batches": (replace(PLAIN, static=True, budget=8192), CLOSED, 1),
    "… half of the prompts cached for three quarters, told": (replace(PLAIN, cached=0.5), CLOSED, 1),
    "… context costs energy": (replace(PLAIN, kv_j=0.0002), CLOSED, 1),
    "… speculative: one to three tokens a step": (
        replace(PLAIN, accepted=np.array([0.3, 0.4, 0.3]), drafted=3), CLOSED, 1,
    ),
    "… power saturates": (replace(PLAIN, saturates_w=400.0), CLOSED, 1),
    "… steps uneven by 10 %": (replace(PLAIN, uneven=0.1), CLOSED, 1),
    "… two replicas behind one URL, 16 in flight": (replace(PLAIN, shaky=0.02), Client(in_flight=16), 2),
    "… two in five requests are another client's, unseen": (PLAIN, Client(foreign=0.4), 1),
}  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=2000, help="settings were chosen on others")
    parser.add_argument("--only", help="cases with this in their name")
    options = parser.parse_args()
    print("| | mean abs. error | 95th percentile | bias | rank | interval holds | half-width | by phase: error |")
    print("|---|---|---|---|---|---|---|---|")
    for name, case in CASES.items():
        if options.only is None or options.only in name:
            print(row(name, *case, range(options.first, options.first + options.seeds)), flush=True)


def row(name: str, rules: Rules, client: Client, engines: int, seeds: range) -> str:
    """Score one engine under one load."""
    far, held, width, bias, rank, by_phase = [], [], [], [], [], []
    told = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        seen = run(rng, rules, client, engines)
        world = seen.world
        curve = Sampler().curve(world, rng)
        divided = partial(attribute, curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns)
        found = divided(engine=engine_of(seen.requests, seen.arrivals))
        plain = divided().owners.net_energy_j
        books, gross, net = world.net_j, world.gross_j(), found.owners.net_energy_j
        assert net is not None
        assert plain is not None
        told += found.rule.startswith(RULE)
        far.append(np.abs(net / books - 1))
        held.append((found.owners.low_j <= gross) & (gross <= found.owners.high_j))
        width.append((found.owners.high_j - found.owners.low_j) / 2 / books)
        bias.append(net.sum() / books.sum() - 1)
        rank.append(np.corrcoef(order(net), order(books))[0, 1])
        by_phase.append(np.abs(plain / books - 1))
    mark = "" if told == len(seeds) else " (by phase)" if not told else " (in part by phase)"
    cells = (
        f"{np.concatenate(far).mean():.1%}",
        f"{np.quantile(np.concatenate(far), 0.95):.1%}",
        f"{np.mean(bias):+.2%}",
        f"{np.min(rank):.3f}",
        f"{np.concatenate(held).mean():.0%}",
        f"±{np.median(np.concatenate(width)):.1%}",
        f"{np.concatenate(by_phase).mean():.1%}",
    )
    return f"| {name}{mark} | {' | '.join(cells)} |"


def order(values: Floats) -> Floats:
    """Place of each in rising order."""
    places: Floats = np.argsort(np.argsort(values)).astype(np.float64)
    return places


if __name__ == "__main__":
    main()
