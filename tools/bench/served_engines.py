"""Joules of requests to engines that compute in steps, over HTTP in real time, against the engines' own books.

    python tools/bench/served_engines.py --engines 3 --load 8 32 rate:0.7

Stand-ins for servers (tests/doubles/batching_server.py) of sizes and costs drawn at random, behind a stand-in for NVML,
asked by `ipw run lm`. Unlike `engines.py`, steps are held up and chunks and readings are late as this machine has it.
A load is a number in flight, or `rate:` and a share of what the engine can serve. It needs a C compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tools")]

from bench.engines import Drawn, capacity, drawn, order
from doubles.batching_server import Costs
from doubles.nvml import FakeNvml

from ipw.runs.directory import RunDir

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
LONGEST_S = 60.0


@contextmanager
def served(gpu: FakeNvml, costs: Costs, books: Path) -> Iterator[str]:
    """Start an engine; gives its URL."""
    words = ["-m", "doubles.batching_server", "--nvml", str(gpu.folder), "--books", str(books)]
    words += [f"--log={books.with_name('steps.jsonl')}"]
    words += [f"--{name}={value}" for name, value in asdict(costs).items()]
    child = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.terminate()
        child.wait()


def costs_of(one: Drawn) -> Costs:
    """Of an engine that was drawn."""
    return Costs(**{each.name: getattr(one.rules, each.name) for each in fields(Costs) if each.name != "on_time"})


def asked(one: Drawn, load: str, rng: np.random.Generator, requests: int) -> tuple[list[tuple[int, int]], list[str]]:
    """Prompts and answers in tokens, and how they are asked for."""
    (low, high), (least, most) = one.client.prompt, one.client.answer
    prompts = rng.integers(low, high, requests, endpoint=True).tolist()
    answers = rng.integers(least, most, requests, endpoint=True).tolist()
    if load.startswith("rate:"):
        rate = float(load.removeprefix("rate:")) * capacity(one)
        return list(zip(prompts, answers, strict=True)), ["--rate", f"{rate:.3f}"]
    return list(zip(prompts, answers, strict=True)), ["--concurrency", load]


def compared(run: Path, books: Path) -> str:
    """Compare the run's net joules with the books."""
    opened = RunDir.open(run)
    table = opened.read_table("queries")
    assert table is not None
    true = {book["number"]: book["prefill_j"] + book["decode_j"] for book in map(json.loads, books.open())}
    rows = table.to_pylist()
    sent = np.array([true[int(row["question"].split(":")[-1])] for row in rows])
    net, gross, low, high = (
        np.array([row[name] for row in rows], float)
        for name in ("net_energy_j", "energy_j", "energy_low_j", "energy_high_j")
    )
    far = np.abs(net / sent - 1)
    held = (sent >= net - (gross - low)) & (sent <= net + (high - gross))
    bias, rank = net.sum() / sent.sum() - 1, np.corrcoef(order(net), order(sent))[0, 1]
    width = (high - low) / 2 / sent
    return (
        f"{far.mean():.2%} p95 {np.quantile(far, 0.95):.2%} bias {bias:+.2%} rank {rank:.4f} holds {held.mean():.1%}"
        f" ±{np.median(width):.2%}"
    )


def load_told(text: str) -> str:
    """Check how much is asked for at once: a number in flight, or `rate:` and a share of what can be served."""
    share = text.removeprefix("rate:")
    if not (text.isdecimal() and int(text) > 0) and not (share != text and float(share) > 0):
        raise ValueError
    return text


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="number of the first engine")
    parser.add_argument("--seed", type=int, default=26_000)
    parser.add_argument(
        "--load", nargs="+", type=load_told, default=["1", "8", "32", "rate:0.4", "rate:0.7", "rate:1.2"]
    )
    parser.add_argument("--on-time", action="store_true", help="steps of engines are not held up by timers")
    parser.add_argument("--requests", type=int, default=240)
    parser.add_argument("--keep", type=Path, help="folder that runs and books are kept in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for load in options.load:
            for number in range(options.first, options.first + options.engines):
                rng = np.random.default_rng([options.seed, number, zlib.crc32(load.encode())])
                one = drawn(rng)
                folder = (options.keep or Path(name)) / f"{load.replace(':', '-')}-{number}"
                line = measured(one, load, rng, options.requests, folder, on_time=options.on_time)
                print(f"{load} {number}: {line}", flush=True)


def measured(one: Drawn, load: str, rng: np.random.Generator, requests: int, folder: Path, *, on_time: bool) -> str:
    """Serve one engine, ask it, and compare."""
    folder.mkdir(parents=True)
    costs = replace(costs_of(one), on_time=int(on_time))
    pairs, how = asked(one, load, rng, requests)
    while pairs and _seconds(one, pairs, how) > LONGEST_S and len(pairs) > 60:
        pairs = pairs[: len(pairs) * 3 // 4]
    questions, books = folder / "questions.jsonl", folder / "books.jsonl"
    rows = [{"id": f"q-{n}", "prompt": f"tokens:{p}:{a}:{n}", "answer": "4"} for n, (p, a) in enumerate(pairs)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gpu = FakeNvml.create(folder / "gpu")
    gpu.gpu(0).counter_period_ns = int(one.sampler.period_s * 1e9)
    (folder / "costs.json").write_text(json.dumps(asdict(costs)))
    with served(gpu, costs, books) as url:
        words = ["run", "lm", "--base-url", url, "--sensors", "nvml", "--idle", "3", "--model", "tiny", "--warmup", "0"]
        words += ["--dataset", str(questions), "--scorer", "none", "--out", str(folder / "runs"), *how]
        done = subprocess.run(
            [sys.executable, "-m", "ipw.cli", *words],
            env=ENVIRONMENT | gpu.environment(), check=False, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        return done.stderr[-300:]
    (run,) = (folder / "runs").iterdir()
    return f"{compared(run, books)} ({len(pairs)} requests, steps of {1e3 * one.rules.weights_s:.0f} ms)"


def _seconds(one: Drawn, pairs: list[tuple[int, int]], how: list[str]) -> float:
    rules = one.rules
    prompts, answers = np.array(pairs).T
    if how[0] == "--rate":
        return len(pairs) / float(how[1])
    steps = answers.sum() / float(how[1]) * rules.weights_s
    return float(max(steps, (prompts.sum() + answers.sum()) * rules.token_s))


if __name__ == "__main__":
    main()
