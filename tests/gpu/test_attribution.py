"""How well bursts of work shorter than a second are told apart on a real GPU: joules against the work that was done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ipw
from ipw.energy.curve import energy_at
from ipw.runs.curves import channel_curve, with_shapes
from ipw.runs.directory import RunDir

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]
BURSTS, SHORTEST_S, LONGEST_S = 30, 0.13, 0.71
Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def torch() -> Any:
    torch = pytest.importorskip("torch", reason="a GPU works through the extra 'torch'")
    if not torch.cuda.is_available():
        pytest.skip("this torch sees no CUDA device")
    return torch


def copies(torch: Any) -> Callable[[], object]:
    """Work that the memory bounds: its power stays below the GPU's limit."""
    source = torch.randn(256, 2**20, device="cuda")
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def products(torch: Any) -> Callable[[], object]:
    """Work that the arithmetic bounds: it may run into the power limit."""
    left, right = (torch.randn(4096, 4096, device="cuda", dtype=torch.float16) for _ in "ab")
    return lambda: torch.matmul(left, right)


def scatter(work: Floats, energy_j: Floats) -> Floats:
    """How far each energy is from the line through all of them over the work done, as a fraction of it."""
    line = np.polyval(np.polyfit(work, energy_j, 1), work)
    return np.asarray(energy_j / line - 1, np.float64)


def at_the_edges(run: RunDir, edges_ns: npt.NDArray[np.int64]) -> Floats:
    """What a program that reads the counter at both edges of each burst would say: its value as of the last tick."""
    manifest = run.manifest()
    counter = next(c for c in with_shapes(manifest["sensors"]) if c["name"] == "nvml/gpu0")
    plain, curve = (channel_curve(run.readings(), c) for c in (counter | {"shape": ""}, counter))
    first_ns = plain.t_ns[int(np.argmin(plain.t_err_ns))]
    period_ns = manifest["sampler"]["learned"]["nvml/gpu0"]["period_s"] * 1e9
    ticks = first_ns + (np.floor((edges_ns - first_ns) / period_ns) * period_ns).astype(np.int64)
    return np.asarray(np.diff(energy_at(curve, ticks), axis=1)[:, 0], np.float64)


@pytest.mark.parametrize("kind", [copies, products])
def test_the_joules_of_a_burst_follow_the_work_in_it(torch: Any, kind: Callable[[Any], Any], tmp_path: Path) -> None:
    work = kind(torch)
    for _ in range(200):
        work()
    torch.cuda.synchronize()
    started = time.monotonic()
    for _ in range(500):
        work()
    torch.cuda.synchronize()
    per_s = 500 / (time.monotonic() - started)
    draw, done = random.Random(0), []
    with ipw.Meter("bursts", sensors="nvml", idle_s=2.0, out=tmp_path) as meter:
        for _ in range(BURSTS):
            done.append(round(per_s * draw.uniform(SHORTEST_S, LONGEST_S)))
            with meter.measure("burst", phase="burst"):
                for _ in range(done[-1]):
                    work()
            time.sleep(draw.uniform(0.0, 0.2))
    run = RunDir(meter.path)
    spans = run.read_table("spans")
    assert spans is not None
    bursts = [row for row in spans.to_pylist() if row["name"] == "burst"]
    edges = np.array([(row["start_ns"], row["end_ns"]) for row in bursts], np.int64)
    energy = np.array([row["energy_j"] for row in bursts])
    low, high = (np.array([row[name] for row in bursts]) for name in ("energy_low_j", "energy_high_j"))
    ours, naive = scatter(np.array(done), energy), scatter(np.array(done), at_the_edges(run, edges))
    line = energy / (1 + ours)
    held = np.mean((low <= line) & (line <= high))
    assert meter.summary is not None
    mean_w = energy.sum() / (np.diff(edges) / 1e9).sum()
    sampler = run.manifest()["sampler"]
    cost = 100 * sampler["cpu_s"] / sampler["wall_s"]
    print(f"\n{kind.__name__}: {mean_w:.0f} W in bursts; sampling took {cost:.2f} % of a core")
    print(f"  {sampler['learned']} {sampler['ticks']} {sampler['ticks_watched']} {sampler['ticks_missed']}")
    for name, error in (("ipw", ours), ("counter at the edges", naive)):
        size = 100 * np.abs(error)
        print(f"  {name:22} error: mean {size.mean():.2f} %, 95 % within {np.percentile(size, 95):.2f} %")
    width = 50 * np.median((high - low) / energy)
    print(f"  the line lies in {100 * held:.0f} % of the intervals; the median one is ±{width:.2f} %")
    assert np.abs(ours).mean() < 0.5 * np.abs(naive).mean()
    assert np.abs(ours).mean() < 0.05
