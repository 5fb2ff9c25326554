"""Joules of requests that a GPU computes together, against what their steps cost when they run by themselves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gpu.torch_engine import Decoder, Sequence, Shape, Step, served

import ipw
from ipw.energy.attribution import attribute
from ipw.energy.baseline import idle_baseline
from ipw.energy.curve import Curve, energy_at
from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.engine import engine_of
from ipw.energy.timeline import Spans
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]
Floats = npt.NDArray[np.float64]
ALONE_S, TOGETHER_S = 1.5, 14.0
WARM_S = 3.0
ALONE = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (32, 0), (0, 128), (0, 512), (8, 256)]
"""Steps that run over and over: how many decode, and tokens of a prompt."""


@pytest.fixture(scope="module")
def torch() -> Any:
    torch = pytest.importorskip("torch", reason="a GPU works through the extra 'torch'")
    if not torch.cuda.is_available():
        pytest.skip("this torch sees no CUDA device")
    return torch


def alone(decoder: Decoder, decoding: int, prompt: int, seconds: float) -> tuple[int, int, int]:
    """Run the same step over and over: start, end, how often."""
    context = 400

    def step() -> None:
        chunks = [(decoding % decoder.shape.slots, 0, prompt)] if prompt else []
        decoder.step(list(range(decoding)), [context] * decoding, chunks)

    step()
    start, count = time.monotonic_ns(), 0
    while time.monotonic_ns() - start < seconds * 1e9:
        step()
        count += 1
    return start, time.monotonic_ns(), count


def done_in(steps: list[Step], units: int) -> tuple[Floats, Floats]:
    """What each step and each unit did: steps (a share of each), tokens, tokens of prompts."""
    of_steps, of_units = np.zeros((len(steps), 3)), np.zeros((units, 3))
    for k, step in enumerate(steps):
        each = 1 / (len(step.decoding) + len(step.chunks))
        of_steps[k] = 1, len(step.decoding), sum(n for _, n in step.chunks)
        for number in step.decoding:
            of_units[number] += each, 1, 0
        for number, n in step.chunks:
            of_units[number] += each, 0, n
    return of_steps, of_units


def seen(sequences: list[Sequence]) -> tuple[Requests, Arrivals, Spans]:
    """What a client would know of them."""
    start = np.array([s.sent_ns for s in sequences])
    first, last = (np.array([s.arrivals_ns[k] for s in sequences]) for k in (0, -1))
    prompt, answer = (np.array([getattr(s, name) for s in sequences]) for name in ("prompt", "answer"))
    requests = Requests(start, first, last, prompt, answer, np.zeros(start.size, np.int64))
    unit = np.repeat(np.arange(start.size, dtype=np.int32), answer)
    t = np.concatenate([s.arrivals_ns for s in sequences])
    order = np.argsort(t, kind="stable")
    edges = np.stack([start, first, last], 1)
    spans = Spans(
        edges[:, :2].ravel(), edges[:, 1:].ravel(), np.tile([0, 1], start.size), ("prefill", "decode"),
        np.repeat(np.arange(start.size), 2), np.stack([prompt, answer], 1).ravel().astype(np.float64),
    )  # fmt: skip
    return requests, Arrivals(t[order], np.ones(t.size, np.uint8), unit[order]), spans


def asked(rng: np.random.Generator, count: int = 4000) -> list[Sequence]:
    """Questions as in the simulations."""
    pairs = zip(rng.integers(40, 960, count).tolist(), rng.integers(12, 120, count).tolist(), strict=True)
    return [Sequence(number, prompt, answer) for number, (prompt, answer) in enumerate(pairs)]


def test_steps_are_counted_and_add_up_and_how_far_they_are_from_what_they_draw_by_themselves(
    torch: Any, tmp_path: Path
) -> None:
    decoder = Decoder(torch, Shape())
    for decoding, prompt in ALONE:
        alone(decoder, decoding, prompt, 0.1)
    rng, found = np.random.default_rng(0), {}
    with ipw.Meter("batches", sensors="nvml", idle_s=3.0, out=tmp_path) as meter:
        single = [alone(decoder, *kind, ALONE_S) for kind in ALONE]
        for in_flight in (8, 24):
            served(decoder, asked(rng, 200), in_flight, time.monotonic_ns() + int(WARM_S * 1e9))
            sequences = asked(rng)
            steps, begun = served(decoder, sequences, in_flight, time.monotonic_ns() + int(TOGETHER_S * 1e9))
            found[in_flight] = steps, sequences[:begun]
    run = RunDir(meter.path)
    curve = next(c for name, c in Recorded.of(run).curves.items() if name.startswith("nvml/gpu"))
    idle = np.array([(s["start_ns"], s["end_ns"]) for s in run.journal("span") if s.get("phase") == "idle"])
    costs = costs_alone(curve, idle, single)
    print(f"\nalone: a step {costs[0]:.3f} J, a token {costs[1]:.4f} J, a token of a prompt {costs[2]:.4f} J")
    for in_flight, (steps, sequences) in found.items():
        report(curve, idle, costs, in_flight, steps, sequences)


def net_j(curve: Curve, idle: npt.NDArray[np.int64], start: int, end: int) -> float:
    """Joules above idle."""
    baseline = idle_baseline(curve, idle)
    assert baseline is not None
    drawn = np.diff(energy_at(curve, np.array([start, end])))[0]
    return float(drawn - baseline.estimate(start, end)[0] * (end - start) / 1e9)


def costs_alone(curve: Curve, idle: npt.NDArray[np.int64], single: list[tuple[int, int, int]]) -> Floats:
    """Least squares over the steps that ran by themselves."""
    joules = np.array([net_j(curve, idle, start, end) / count for start, end, count in single])
    for (decoding, prompt), j, (start, end, count) in zip(ALONE, joules, single, strict=True):
        print(f"  {decoding} decode, {prompt} of a prompt: {j:.3f} J, {(end - start) / count / 1e6:.2f} ms")
    rows = np.array([(1, decoding, prompt) for decoding, prompt in ALONE]) / joules[:, None]
    found, *_ = np.linalg.lstsq(rows, np.ones(len(ALONE)), rcond=None)
    print("  residuals of the law, %:", np.round(100 * (rows @ found - 1), 1))
    return np.asarray(found)


def report(
    curve: Curve, idle: npt.NDArray[np.int64], costs: Floats, in_flight: int, steps: list[Step], asked: list[Sequence]
) -> None:
    """Σ together against Σ predicted, and each request against its share of the steps that are known."""
    of_steps, of_units = done_in(steps, len(asked))
    window = steps[0].start_ns, steps[-1].end_ns
    drawn, predicted = net_j(curve, idle, *window), float((of_steps @ costs).sum())
    requests, arrivals, spans = seen(asked)
    engine = engine_of(requests, arrivals)
    result = attribute(curve, spans, window_ns=window, idle_ns=idle, engine=engine)
    net = result.owners.net_energy_j
    assert net is not None
    books = of_units @ costs * drawn / predicted
    error = np.abs(net / books - 1)
    one, other = (np.argsort(np.argsort(x)).astype(np.float64) for x in (net, books))
    half = (result.owners.high_j - result.owners.low_j) / 2
    held = np.mean(np.abs(net - books) <= half)
    print(f"{in_flight} in flight: {len(asked)} requests, {len(steps)} steps, {engine.count} seen ({engine.kind})")
    print(f"  together {drawn:.0f} J, predicted from steps alone {predicted:.0f} J: {predicted / drawn - 1:+.1%}")
    print(f"  each against its steps: mean {error.mean():.2%}, 95 % within {np.quantile(error, 0.95):.2%},", end=" ")
    print(f"rank {np.corrcoef(one, other)[0, 1]:.4f}, held {held:.0%}, ±{np.median(half / books):.2%}")
    print("  costs found:", {name: [round(v, 4) for v in cost] for name, cost in result.costs.items()})
    print("  rule:", result.rule[:60], "sum", net.sum() / drawn - 1)
    lengths = np.array([step.end_ns - step.start_ns for step in steps]) / 1e6
    print("  steps in ms, from the 5th to the 100th percentile:", np.quantile(lengths, [0.05, 0.5, 0.95, 1]).round(1))
    assert engine.count is not None
    assert abs(engine.count / len(steps) - 1) <= 0.02
    assert abs(net.sum() / drawn - 1) <= 0.03
