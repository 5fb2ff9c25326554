"""Joules of requests that go through the gateway, and of the same by `ipw run lm`, against an engine's own books.

    python tools/bench/gateway_truth.py --requests 160 --in-flight 8

A stand-in for a server that computes in steps, behind a stand-in for NVML (tests/doubles), keeps books of what each
request's share of every step was. It needs a C compiler, as the stand-in's tests do.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tools")]

from bench.served_engines import ENVIRONMENT, served
from doubles.batching_server import Costs
from doubles.nvml import FakeNvml

from ipw.runs.directory import RunDir

CLIENT = """
import json, os, sys, urllib.request
from concurrent.futures import ThreadPoolExecutor

def ask(prompt):
    body = {"model": "tiny", "messages": [{"role": "user", "content": prompt}], "stream": True}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        answer.read()

prompts = [json.loads(line)["prompt"] for line in open(sys.argv[1])]
list(ThreadPoolExecutor(int(sys.argv[2])).map(ask, prompts))
"""


def told(run: Path, books: Path) -> str:
    """Compare the run's net joules with the books."""
    table = RunDir.open(run).read_table("queries")
    assert table is not None
    true = {}
    for line in books.read_text().splitlines():
        book = json.loads(line)
        true[book["number"]] = book["prefill_j"] + book["decode_j"]
    rows = sorted(table.to_pylist(), key=lambda row: row["start_ns"])
    found = np.array([row["net_energy_j"] for row in rows], float)
    sent = np.array([true[number_of(row)] for row in rows])
    error = np.abs(found - sent) / sent
    low, high = (np.array([row[name] for row in rows], float) for name in ("energy_low_j", "energy_high_j"))
    gross = np.array([row["energy_j"] for row in rows], float)
    holds = np.mean((sent >= found - (gross - low)) & (sent <= found + (high - gross)))
    rank = np.corrcoef(np.argsort(np.argsort(found)), np.argsort(np.argsort(sent)))[0, 1]
    return (
        f"mean abs. error {error.mean():.1%}, 95th percentile {np.quantile(error, 0.95):.1%}, "
        f"sum {found.sum() / sent.sum() - 1:+.1%}, rank {rank:.3f}, intervals hold {holds:.0%}"
    )


def number_of(row: dict[str, object]) -> int:
    """Give the number that the engine knows a request by: its prompt and its answer have lengths of their own."""
    return NUMBERS[(int(str(row["prompt_tokens"])), int(str(row["completion_tokens"])))]


NUMBERS: dict[tuple[int, int], int] = {}


def main() -> None:
    """Measure both ways and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=160)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    while len(NUMBERS) < options.requests:
        NUMBERS.setdefault((draw.randint(40, 960), draw.randint(12, 120)), len(NUMBERS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions = folder / "questions.jsonl"
        rows = [{"prompt": f"tokens:{p}:{a}:{n}", "answer": "4"} for (p, a), n in NUMBERS.items()]
        questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
        client = [sys.executable, "-c", CLIENT, str(questions), str(options.in_flight)]
        common = ["--sensors", "nvml", "--idle", "3"]
        more = ["--model", "tiny", "--dataset", str(questions), "--scorer", "none", "--warmup", "0"]
        more += ["--concurrency", str(options.in_flight)]
        for way in ("run lm", "gateway"):
            gpu = FakeNvml.create(folder / way.replace(" ", "-"))
            books = folder / "books.jsonl"
            books.unlink(missing_ok=True)
            with served(gpu, Costs(), books) as url:
                words = [
                    "-m",
                    "ipw.cli",
                    *way.split(),
                    "--base-url",
                    url,
                    *common,
                    "--out",
                    str(folder / f"runs-{way}"),
                ]
                words += more if way == "run lm" else ["--", *client]
                subprocess.run(
                    [sys.executable, *words], env=ENVIRONMENT | gpu.environment(), check=True,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                (run,) = (folder / f"runs-{way}").iterdir()
                print(f"{way:<8} {told(run, books)}", flush=True)


if __name__ == "__main__":
    main()
