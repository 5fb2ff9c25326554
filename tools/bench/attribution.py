"""Joules per query by several rules, against servers whose power is known.

    python tools/bench/attribution.py [--seeds 20] [--first-seed 100] [--spans 1000000]

All rules see the same simulated energy counter. "Counter at the edges" is the counter's difference between the start
and the end of each query; where zeus is installed, its own ZeusMonitor takes it, on a simulated clock. "Mean power x
time" reads a power sensor that shows the mean over the last tick, every 50 ms. Ours sees the reads of a sampler that
brackets each tick to 2 ms and misses one tick in a hundred. With several queries in flight the net energy is compared
with the server's own books, for the other rules less the idle power, which they are told; one at a time the gross.
`--spans` measures time and memory of one attribution of about that many spans instead.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import numpy.typing as npt
from energy.scoring import score
from energy.simulator import FAST, Counter, Sampler, World, closed_loop, disturbed, one_at_a_time, poisson

from ipw.energy.attribution import attribute

Floats = npt.NDArray[np.float64]
POLL_NS = 50_000_000


def untidy(rng: np.random.Generator) -> World:
    """One at a time on a machine that flickers and drifts, with edges told 1 ms late on average."""
    return disturbed(one_at_a_time(rng, variation=0.1), rng, flicker=0.05, drift=0.05, late_s=0.001)


SCENES: list[tuple[str, Callable[[np.random.Generator], World], Sampler, bool]] = [
    ("one at a time, ticks of 100 ms", one_at_a_time, Sampler(), False),
    ("one at a time, ticks of 20 ms", one_at_a_time, FAST, False),
    ("… power varies by 2 % from query to query", partial(one_at_a_time, variation=0.02), Sampler(), False),
    ("… by 5 %", partial(one_at_a_time, variation=0.05), Sampler(), False),
    ("… by 15 %", partial(one_at_a_time, variation=0.15), Sampler(), False),
    ("… by 10 %, flickers by 5 %, drifts by 5 %, edges told late", untidy, Sampler(), False),
    ("8 in flight, closed loop (net)", closed_loop, Sampler(), True),
    ("… power saturates", partial(closed_loop, concave=True), Sampler(), True),
    ("… power varies by 2 % from query to query", partial(closed_loop, variation=0.02), Sampler(), True),
    ("… by 5 %", partial(closed_loop, variation=0.05), Sampler(), True),
    ("… by 15 %", partial(closed_loop, variation=0.15), Sampler(), True),
    ("… by 5 %, and saturates", partial(closed_loop, variation=0.05, concave=True), Sampler(), True),
    ("… by 15 %, and saturates", partial(closed_loop, variation=0.15, concave=True), Sampler(), True),
    ("8 in flight, Poisson arrivals (net)", poisson, Sampler(), True),
    ("… power saturates", partial(poisson, concave=True), Sampler(), True),
    ("… power varies by 5 % from query to query", partial(poisson, variation=0.05), Sampler(), True),
    ("… by 15 %, and saturates", partial(poisson, variation=0.15, concave=True), Sampler(), True),
]


def queries(world: World) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Start and end of each query."""
    count = world.net_j.size
    start, end = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
    np.minimum.at(start, world.spans.owner, world.spans.start_ns)
    np.maximum.at(end, world.spans.owner, world.spans.end_ns)
    return start, end


def at_edges(world: World, counter: Counter) -> Floats:
    """Difference of the counter between a query's start and end."""
    start, end = queries(world)
    return counter.at(end) - counter.at(start)


def mean_power(world: World, counter: Counter) -> Floats:
    """Mean of the power readings during a query, or the last one before, times its duration."""
    polls = np.arange(0, int(world.step_ns[-1]), POLL_NS)
    watts = np.diff(counter.value_j) / (np.diff(counter.tick_ns) / 1e9)
    shown = watts[np.clip(np.searchsorted(counter.tick_ns, polls, "right") - 2, 0, watts.size - 1)]
    start, end = queries(world)
    first, last = np.searchsorted(polls, start), np.searchsorted(polls, end)
    running = np.concatenate([[0.0], np.cumsum(shown)])
    mean = np.where(last > first, (running[last] - running[first]) / np.maximum(last - first, 1), shown[first - 1])
    energy: Floats = mean * (end - start) / 1e9
    return energy


def zeus_window(world: World, counter: Counter) -> Floats:
    """ZeusMonitor's windows around each query, on a GPU whose counter is the simulated one."""
    from zeus.monitor import energy as zeus_energy

    class Gpu:
        now_ns = 0

        def __len__(self) -> int:
            return 1

        def supports_get_total_energy_consumption(self, _: int) -> bool:
            return True

        def get_total_energy_consumption(self, _: int) -> int:
            return round(float(counter.at(self.now_ns)) * 1000)

    def absent() -> None:
        raise zeus_energy.ZeusSoCInitError("no SoC")

    gpu: Any = Gpu()
    zeus: Any = zeus_energy
    zeus.get_gpus, zeus.get_cpus, zeus.get_soc, zeus.sync_execution_fn = (
        lambda: gpu,
        list,
        absent,
        lambda *_, **__: None,
    )
    monitor = zeus.ZeusMonitor(gpu_indices=[0], cpu_indices=[])
    start, end = queries(world)
    energy = np.zeros(start.size)
    edges = sorted([(int(t), 1, q) for q, t in enumerate(start)] + [(int(t), 0, q) for q, t in enumerate(end)])
    for gpu.now_ns, begins, query in edges:
        if begins:
            monitor.begin_window(str(query))
        else:
            energy[query] = monitor.end_window(str(query)).gpu_energy[0]
    return energy


def rules() -> dict[str, Callable[[World, Counter], Floats]]:
    """Everybody else's."""
    found: dict[str, Callable[[World, Counter], Floats]] = {"counter at the edges": at_edges}
    if importlib.util.find_spec("zeus") is not None:
        found["counter at the edges (zeus)"] = zeus_window
    found["mean power x time"] = mean_power
    return found


def compare(first_seed: int, seeds: int) -> None:
    """Print the table."""
    print("| | mean abs. error | 95th percentile | bias | interval holds | half-width | error, times ipw's |")
    print("|---|---|---|---|---|---|---|")
    for title, make, sampler, net in SCENES:
        print(f"| **{title}** | | | | | | |")
        ours = score(make, sampler, seeds=seeds, first_seed=first_seed, net=net)
        row = (ours.mean_error, ours.p95_error, ours.bias, ours.coverage, ours.half_width)
        print("| ipw | {:.2%} | {:.2%} | {:+.2%} | {:.1%} | ±{:.2%} | 1 |".format(*row))
        for name, rule in rules().items():
            errors = []
            for seed in range(first_seed, first_seed + seeds):
                rng = np.random.default_rng(seed)
                world = make(rng)
                energy, truth = rule(world, sampler.counter(world, rng)), world.gross_j()
                if net:
                    start, end = queries(world)
                    energy, truth = energy - world.idle_w * (end - start) / 1e9, world.net_j
                errors.append(energy / truth - 1)
            error = np.concatenate(errors)
            size = np.abs(error)
            cells = f"{size.mean():.1%} | {np.quantile(size, 0.95):.1%} | {error.mean():+.1%}"
            print(f"| {name} | {cells} | | | {size.mean() / ours.mean_error:.0f} |")


def scale(spans: int) -> None:
    """Print what one attribution of so many spans takes."""
    for title, make in (
        ("one at a time", partial(one_at_a_time, duration_s=(0.05, 0.28), gap_s=0.02, variation=0.1)),
        ("8 in flight", partial(closed_loop, variation=0.05)),
    ):
        rng = np.random.default_rng(0)
        world = make(rng, spans // 2)
        curve = Sampler().curve(world, rng)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        start = time.perf_counter()
        attribute(curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns)
        took, most = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        hours = world.step_ns[-1] / 3.6e12
        print(
            f"{title}: {world.spans.owner.size} spans, {curve.t_ns.size} ticks, {hours:.1f} h: "
            f"{took:.1f} s, {most:.2f} GB at most ({before:.2f} GB before)"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100, help="settings were chosen on seeds 0 to 19")
    parser.add_argument("--spans", type=int, default=0)
    options = parser.parse_args()
    if options.spans:
        scale(options.spans)
    else:
        compare(options.first_seed, options.seeds)


if __name__ == "__main__":
    main()
