"""What measuring costs the program that is measured: a block in microseconds, a training step in per cent.

    OMP_NUM_THREADS=1 python tools/bench/overhead.py [--pairs 30] [--seconds 5] [--blocks-only] [--here] [--cuda]

Steps of a small decoder are trained under an open meter, each a block of its own, and without. The two arms of a pair
take turns, in random order, about a step at a time, until each has had its seconds, so that a machine that slows down
slows both; in the turns without, blocks are not marked and the sampler is stopped (SIGSTOP). It catches up in the turns
with, which hold more of its work than any program would see: the figure errs on the high side. The slowdown is the mean
of the pairs' ratios of time, with its 95 % interval (Student). The same in CPU time leaves out what other programs do
to both. A stand-in for one NVIDIA GPU is sampled, or with `--here` what this machine has. Two cores are enough: one for
the training, one for the sampler. With `--cuda` a larger decoder trains on the GPU.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import psutil
from doubles.nvml import FakeNvml

import ipw

BLOCKS = 20_000
TURN_S = 0.075
"""About a step on one core: how fast a shared machine is changes within a second, and short turns share that."""
T975 = {5: 2.571, 9: 2.262, 19: 2.093, 29: 2.045, 59: 2.001, 79: 1.990, 119: 1.980}
"""Student's quantiles by degrees of freedom; the next smaller one is used."""


def training(*, cuda: bool) -> Callable[[], float]:
    """Make a function that trains a decoder for one step: 0.5 million weights on one core, 100 million on CUDA."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    device = "cuda" if cuda else "cpu"
    width, heads, layers, shape = (1024, 8, 8, (16, 257)) if cuda else (128, 4, 3, (8, 65))
    layer = torch.nn.TransformerEncoderLayer(width, heads, (4 if cuda else 2) * width, batch_first=True)
    model = torch.nn.Sequential(
        torch.nn.Embedding(256, width), torch.nn.TransformerEncoder(layer, layers), torch.nn.Linear(width, 256)
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, 256, shape, device=device)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:])
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def blocks(out: str) -> None:
    """Print what a block costs its caller."""
    with ipw.Meter("blocks", out=out) as meter:

        def begin_end() -> None:
            meter.begin("block")
            meter.end("block")

        def nested() -> None:
            with ipw.measure("block"):
                pass

        @ipw.measured(name="block")
        def measured() -> None:
            pass

        print(f"{'a block in an open meter, us':36}{'median':>8}{'p95':>8}{'p99':>8}")
        for name, block in (("begin, end", begin_end), ("with ipw.measure()", nested), ("@ipw.measured", measured)):
            for _ in range(1000):
                block()
            costs = []
            for _ in range(BLOCKS):
                before = time.perf_counter_ns()
                block()
                costs.append(time.perf_counter_ns() - before)
            print(f"{name:36}" + "".join(f"{x / 1e3:8.1f}" for x in np.percentile(costs, [50, 95, 99])))


def outermost(out: str) -> None:
    """Print what a block costs that starts sensors of its own."""
    before = time.perf_counter()
    with ipw.measure("alone", out=out):
        opened = time.perf_counter()
    closed = time.perf_counter()
    print(f"a lone block: {opened - before:.2f} s to start the sensors, {closed - opened:.2f} s to stop and derive")


class Turns(NamedTuple):
    """Seconds of one arm of a pair."""

    wall_s: float
    cpu_s: float


def pair(step: Callable[[], float], turns: int, steps: int, meter: ipw.Meter, sampler: psutil.Process) -> list[float]:
    """Train in turns with and without measuring; by how much the first is slower, in time and in CPU time."""

    def turn(*, measured: bool) -> Turns:
        if measured:
            sampler.resume()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            if measured:
                with meter.measure("step"):
                    step()
            else:
                step()
        spent = Turns(time.perf_counter() - wall, time.process_time() - cpu)
        sampler.suspend()
        return spent

    spent: dict[bool, list[Turns]] = {True: [], False: []}
    for _ in range(turns):
        for measured in random.sample((True, False), 2):
            spent[measured].append(turn(measured=measured))
    sums = {measured: np.sum(each, axis=0) for measured, each in spent.items()}
    return [float(x) for x in 100 * (sums[True] / sums[False] - 1)]


def slowdown(pairs: int, seconds: float, out: str, *, cuda: bool) -> None:
    """Print by how much measured steps are slower."""
    step = training(cuda=cuda)
    for _ in range(20):
        step()
    before = time.perf_counter()
    for _ in range(50):
        step()
    steps = max(round(TURN_S * 50 / (time.perf_counter() - before)), 1)
    random.seed(1)
    with ipw.Meter("training", out=out) as meter:
        sampler = next(c for c in psutil.Process().children() if "ipw.profilers.sampler.process" in c.cmdline())
        ratios = []
        for number in range(pairs):
            ratios.append(pair(step, round(seconds / TURN_S), steps, meter, sampler))
            print(f"\r{number + 1} of {pairs} pairs", end="", file=sys.stderr, flush=True)
        sampler.resume()
    print(file=sys.stderr)
    for name, column in zip(("time", "CPU time"), np.array(ratios).T, strict=True):
        mean, spread = float(column.mean()), float(column.std(ddof=1))
        half = spread / np.sqrt(pairs) * next((t for n, t in reversed(T975.items()) if pairs - 1 >= n), 4.3)
        print(
            f"measured training steps, {name}: {mean:+.2f} % [{mean - half:+.2f}, {mean + half:+.2f}], median "
            f"{np.median(column):+.2f} %, sd of a pair {spread:.2f} % ({pairs} pairs)"
        )


@contextmanager
def sensors(*, here: bool) -> Iterator[None]:
    """Put a stand-in for one GPU into the environment, unless the machine's own sensors are wanted."""
    with tempfile.TemporaryDirectory() as folder:
        if not here:
            fake = FakeNvml.create(Path(folder) / "nvml")
            fake.set_power(0, 300.0)
            os.environ |= fake.environment() | {"IPW_POWERCAP": "/nonexistent"}
        yield


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each arm")
    parser.add_argument("--blocks-only", action="store_true", help="leave the training out")
    parser.add_argument("--here", action="store_true", help="sample this machine's own sensors")
    parser.add_argument("--cuda", action="store_true", help="train on the GPU")
    asked = parser.parse_args()
    with sensors(here=asked.here), tempfile.TemporaryDirectory() as out:
        blocks(out)
        outermost(out)
        if not asked.blocks_only:
            slowdown(asked.pairs, asked.seconds, out, cuda=asked.cuda)


if __name__ == "__main__":
    main()
