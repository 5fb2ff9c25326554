"""Joules of requests in engines that compute in steps, of sizes, costs and loads drawn at random, against their books.

    python tools/bench/engines.py --engines 20

Each row is as many engines (tests/energy/batching.py) as are asked for: how long weights take, what a step, a token and
a token of a prompt cost, how much a step takes, how prompts and answers are distributed, the counter's period and
the client's delays are all drawn at random, by a seed that no setting was chosen on. Load is relative to what
each engine can serve.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from energy.batching import Batched, Client, Rules, run
from energy.simulator import REST_S, Sampler

from ipw.energy.arrays import Floats
from ipw.energy.attribution import attribute
from ipw.energy.steps.by_work import RULE
from ipw.energy.steps.engine import engine_of


@dataclass(frozen=True)
class Drawn:
    """One engine, its client and its counter."""

    rules: Rules
    client: Client
    sampler: Sampler


def drawn(rng: np.random.Generator) -> Drawn:
    """Draw an engine of 1 to 40 billion weights or so, on a device of 20 to 300 W at rest."""

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    weights_s = between(0.006, 0.04)
    token_s = weights_s / between(40, 400)
    step_w, token_w = between(60, 300), between(60, 500)
    token_j = token_w * token_s
    prompts, answers = sorted(rng.integers(20, 2000, 2)), sorted(rng.integers(8, 200, 2))
    rules = Rules(
        weights_s=weights_s,
        token_s=token_s,
        step_j=step_w * weights_s,
        token_j=token_j,
        prompt_j=token_j * between(0.6, 1.3),
        budget=int(rng.choice([256, 512, 1024, 2048])),
        most=int(rng.choice([48, 64, 128, 256])),
        idle_w=between(20, 150),
        shaky=float(rng.choice([0.0, 0.005, 0.02])),
        uneven=float(rng.choice([0.0, 0.005, 0.02])),
        held_s=float(rng.choice([0.0, 0.0003, 0.001])),
        held_draws=float(rng.choice([0.0, 0.5, 1.0])),
    )
    client = Client(
        prompt=(int(prompts[0]), int(prompts[1]) + 50),
        answer=(int(answers[0]), int(answers[1]) + 20),
        late_s=between(0.00005, 0.0002),
        jitter_s=between(0.00001, 0.00005),
        spread_s=between(0.00001, 0.00006),
    )
    sampler = Sampler(
        period_s=float(rng.choice([0.02, 0.1, 0.1])),
        bracket_s=between(0.0005, 0.004),
        missed=float(rng.choice([0.0, 0.01, 0.05])),
    )
    return Drawn(rules, client, sampler)


def closed(in_flight: int) -> Callable[[Drawn], Client]:
    """Give a load of so many in flight, each asking again when it is answered."""
    return lambda one: replace(one.client, in_flight=in_flight)


def poisson(share: float) -> Callable[[Drawn], Client]:
    """Give a load of that share of what the engine can serve."""

    def of(one: Drawn) -> Client:
        return replace(one.client, rate=share * capacity(one))

    return of


def capacity(one: Drawn) -> float:
    """Requests a second that the engine answers when it always has as many as it takes."""
    seen = run(np.random.default_rng(0), one.rules, replace(one.client, in_flight=one.rules.most, requests=400))
    done = np.sort(seen.requests.end_ns) / 1e9 - REST_S
    return float(done.size / 2 / (done[3 * done.size // 4] - done[done.size // 4]))


def full_w(rules: Rules) -> float:
    """Power above idle of a step that takes all that one may."""
    return (rules.step_j + rules.budget * rules.token_j) / max(rules.weights_s, rules.budget * rules.token_s)


def context(one: Drawn, rng: np.random.Generator) -> Drawn:
    """Reading context takes energy and time: 5 to 40 % of a step's for what eight read."""
    part, read = rng.uniform(0.05, 0.4), 8 * (sum(one.client.prompt) + sum(one.client.answer)) / 2
    rules = one.rules
    return replace(one, rules=replace(rules, kv_j=part * rules.step_j / read, kv_s=part * rules.weights_s / read))


def saturating(one: Drawn, rng: np.random.Generator) -> Drawn:
    """Power nears a limit of 0.8 to 3 times what a full step would draw."""
    return replace(one, rules=replace(one.rules, saturates_w=full_w(one.rules) * rng.uniform(0.8, 3)))


def capped(one: Drawn, rng: np.random.Generator) -> Drawn:
    """More power than 60 to 95 % of a full step's stretches steps."""
    return replace(one, rules=replace(one.rules, cap_w=one.rules.idle_w + full_w(one.rules) * rng.uniform(0.6, 0.95)))


def speculative(one: Drawn, rng: np.random.Generator) -> Drawn:
    """One to four tokens a step, of three that are drafted."""
    return replace(one, rules=replace(one.rules, accepted=rng.dirichlet(np.ones(4)), drafted=3))


def cached(one: Drawn, rng: np.random.Generator) -> Drawn:
    """Of some prompts, three quarters are in the cache; the server tells."""
    return replace(one, rules=replace(one.rules, cached=float(rng.uniform(0.2, 0.9))))


def whole(one: Drawn, _: np.random.Generator) -> Drawn:
    """Whole prompts in steps of their own."""
    return replace(one, rules=replace(one.rules, chunked=False))


def static(one: Drawn, _: np.random.Generator) -> Drawn:
    """A batch starts when the one before has ended, with all its prompts at once."""
    return replace(one, rules=replace(one.rules, static=True, budget=1 << 16))


def foreign(one: Drawn, rng: np.random.Generator) -> Drawn:
    """Some requests are another client's, and unseen."""
    return replace(one, client=replace(one.client, foreign=float(rng.uniform(0.1, 0.5))))


def buffered(one: Drawn, rng: np.random.Generator) -> Drawn:
    """A proxy passes on what it has every 30 to 200 ms."""
    return replace(one, client=replace(one.client, buffer_s=float(rng.uniform(0.03, 0.2))))


def gathered(one: Drawn, rng: np.random.Generator) -> Drawn:
    """Two to eight tokens a chunk."""
    return replace(one, client=replace(one.client, gather=int(rng.integers(2, 9))))


def whole_joules(one: Drawn, _: np.random.Generator) -> Drawn:
    """The counter shows whole joules."""
    return replace(one, sampler=replace(one.sampler, resolution_j=1.0))


Change = Callable[[Drawn, np.random.Generator], Drawn]


@dataclass(frozen=True)
class Row:
    """Engines of one kind under one load."""

    load: Callable[[Drawn], Client]
    changes: tuple[Change, ...] = ()
    engines: int = 1
    requests: int = 240


ROWS: dict[str, Row] = {
    "one at a time": Row(closed(1), requests=140),
    "8 in flight, closed loop": Row(closed(8)),
    "32 in flight, closed loop": Row(closed(32)),
    "Poisson, 40 % of capacity": Row(poisson(0.4)),
    "Poisson, 70 % of capacity": Row(poisson(0.7)),
    "Poisson, 120 % of capacity": Row(poisson(1.2)),
    "8: whole prompts": Row(closed(8), (whole,)),
    "8: static batches": Row(closed(8), (static,)),
    "8: prefix cache": Row(closed(8), (cached,)),
    "8: context": Row(closed(8), (context,)),
    "Poisson: context": Row(poisson(0.7), (context,)),
    "8: saturates": Row(closed(8), (saturating,)),
    "8: capped": Row(closed(8), (capped,)),
    "Poisson: capped": Row(poisson(0.7), (capped,)),
    "8: speculative": Row(closed(8), (speculative,)),
    "8: whole joules": Row(closed(8), (whole_joules,)),
    "16: two replicas": Row(closed(16), (), 2),
    "8: another client": Row(closed(8), (foreign,)),
    "8: buffering proxy": Row(closed(8), (buffered,)),
    "8: several tokens a chunk": Row(closed(8), (gathered,)),
}


@dataclass
class Scores:
    """Of all engines of a row."""

    far: list[Floats] = field(default_factory=list)
    held: list[Floats] = field(default_factory=list)
    width: list[Floats] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    rank: list[float] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)

    def add(self, seen: Batched, sampler: Sampler, rng: np.random.Generator) -> str:
        """Attribute what was seen; gives the rule."""
        world = seen.world
        found = attribute(
            sampler.curve(world, rng),
            world.spans,
            window_ns=world.window_ns,
            idle_ns=world.idle_ns,
            engine=engine_of(seen.requests, seen.arrivals),
        )
        books, gross, net = world.net_j, world.gross_j(), found.owners.net_energy_j
        assert net is not None
        self.told.append(found.rule.startswith(RULE))
        self.far.append(np.abs(net / books - 1))
        self.held.append(((found.owners.low_j <= gross) & (gross <= found.owners.high_j)).astype(float))
        self.width.append((found.owners.high_j - found.owners.low_j) / 2 / books)
        self.bias.append(float(net.sum() / books.sum() - 1))
        self.rank.append(float(np.corrcoef(order(net), order(books))[0, 1]))
        return found.rule

    def last(self) -> str:
        """Say how the last engine came out."""
        far = self.far[-1]
        return (
            f"{far.mean():.2%} p95 {np.quantile(far, 0.95):.2%} bias {self.bias[-1]:+.2%} rank {self.rank[-1]:.3f}"
            f" holds {self.held[-1].mean():.0%} ±{np.median(self.width[-1]):.2%}"
        )

    def line(self) -> str:
        """Cells of the table."""
        far, held = np.concatenate(self.far), np.array([h.mean() for h in self.held])
        return " | ".join(
            (
                f"{far.mean():.2%}",
                f"{np.quantile(far, 0.95):.1%}",
                f"{np.mean([f.mean() for f in self.far] > np.float64(0.03)):.0%}",
                f"{np.mean(self.bias):+.2%} ({np.abs(self.bias).max():.2%})",
                f"{np.median(self.rank):.4f} ({np.min(self.rank):.3f})",
                f"{held.mean():.1%} ({np.quantile(held, 0.1):.0%})",
                f"±{np.median(np.concatenate(self.width)):.1%}",
                f"{np.mean(self.told):.0%}",
            )
        )


def order(values: Floats) -> Floats:
    """Place of each in rising order."""
    places: Floats = np.argsort(np.argsort(values)).astype(np.float64)
    return places


HEAD = ("mean", "p95", "over 3 %", "bias (worst)", "rank (worst)", "holds (worst tenth)", "half-width", "by steps")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, default=20)
    parser.add_argument("--seed", type=int, default=26_000)
    parser.add_argument("--only", nargs="+", help="rows with one of these in their names")
    parser.add_argument("--each", action="store_true", help="print each engine too")
    options = parser.parse_args()
    print(f"| | {' | '.join(HEAD)} |\n{'|---' * (len(HEAD) + 1)}|")
    for name, row in ROWS.items():
        if not options.only or any(word in name for word in options.only):
            print(f"| {name} | {scored(row, options.engines, options.seed, each=options.each).line()} |", flush=True)


def scored(row: Row, engines: int, seed: int, *, each: bool) -> Scores:
    """Score so many engines of one row."""
    scores = Scores()
    for number in range(engines):
        rng = np.random.default_rng([seed, number])
        one = drawn(rng)
        for change in row.changes:
            one = change(one, rng)
        seen = run(rng, one.rules, replace(row.load(one), requests=row.requests), row.engines)
        rule = scores.add(seen, one.sampler, rng)
        if each:
            print(f"  {number}: {scores.last()} {'' if scores.told[-1] else rule[-120:]}", flush=True)
    return scores


if __name__ == "__main__":
    main()
