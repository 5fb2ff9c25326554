"""What `ipw report` takes for a run of a million queries, stored or from its raw files: seconds and peak memory.

    python tools/bench/scale.py --queries 1000000 --folder /tmp/big

The run directory is written straight: a journal of queries that were always `--concurrency` in flight, when each of
their tokens came from an engine that computes in steps, and the readings of one energy counter that ticks every 100 ms,
read twice around each tick. With `--phases` power follows the phases of the queries, and no arrivals are kept. Both
commands run in processes of their own, and beside them a plain loop that reads the journal line by line and sums the
scores: the floor under all that reads it in Python.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from bench.parts.scale_worlds import IDLE_S, SECOND, TICK_S, World, phased, stepped

from ipw.runs.journal_lines import JOURNAL

SUBJECTS = ("physics", "law", "chemistry", "history", "health", "economics", "biology", "philosophy")
PLAIN = """
import json, sys
scores = [query["score"] for line in open(sys.argv[1]) if (query := json.loads(line))["kind"] == "query"]
print(sum(scores) / len(scores))
"""
WORDS = (
    "because",
    "the",
    "force",
    "on",
    "a",
    "body",
    "at",
    "rest",
    "is",
    "sum",
    "of",
    "all",
    "that",
    "act",
    "so",
    "we",
    "add",
)


def write_run(path: Path, world: World, concurrency: int) -> None:
    """Write the run directory of a world."""
    from ipw.profilers.base import Channel
    from ipw.runs.arrivals import ARRIVALS, encoded
    from ipw.runs.directory import RunDir
    from ipw.runs.readings import READINGS

    path.mkdir(parents=True)
    window = int(world.times_ns[0].min()), world.until_ns
    run = RunDir(path)
    channel = Channel(
        name="nvml/gpu0", kind="counter", scope="gpu", method="counter", resolution_j=0.001, update_period_s=TICK_S,
        ticks=True, gain_rel=0.05,
    ).as_dict()  # fmt: skip
    run.write_manifest(
        {
            "run_id": path.name,
            "status": "complete",
            "workload": {"kind": "lm", "parameters": {"dataset": "made", "concurrency": concurrency}},
            "model": {"name": "stand-in"},
            "sensors": [channel | {"index": 0, "in_total": True}],
            "method": "counter",
            "basis": "gpu",
        }
    )
    (path / READINGS).write_bytes(world.readings)
    idle = IDLE_S * SECOND
    at = offset = 0
    with (path / JOURNAL).open("w") as journal, (path / ARRIVALS).open("wb") as arrivals:
        for name, a, b in (("idle", 0, idle), ("measure", *window), ("idle", window[1], window[1] + idle)):
            record = {"kind": "span", "name": name, "phase": name, "start_ns": a, "end_ns": b}
            journal.write(json.dumps(record, separators=(",", ":")) + "\n")
        for number, (start_ns, first_ns, end_ns) in enumerate(zip(*world.times_ns.tolist(), strict=True)):
            prompt, tokens = int(world.prompt[number]), int(world.tokens[number])
            record = query(number, (start_ns, first_ns, end_ns), prompt, tokens) | {"concurrency": concurrency}
            if world.stamps_ns.size:
                block = encoded(start_ns, world.stamps_ns[at : at + tokens].tolist())
                record["arrivals"] = offset
                at, offset = at + tokens, offset + len(block)
                arrivals.write(block)
            journal.write(json.dumps(record, separators=(",", ":")) + "\n")


def query(number: int, times_ns: tuple[int, int, int], prompt: int, tokens: int) -> dict[str, Any]:
    """Make the journal's record of one query, with an answer of as many words as tokens, at most a hundred."""
    words = [WORDS[(number * 7 + i * 5) % len(WORDS)] for i in range(min(tokens, 100))]
    start_ns, first_ns, end_ns = times_ns
    return {
        "kind": "query", "query_id": str(number), "subject": SUBJECTS[number % len(SUBJECTS)], "start_ns": start_ns,
        "first_token_ns": first_ns, "end_ns": end_ns, "status": "ok", "error": None, "prompt_tokens": prompt,
        "completion_tokens": tokens, "cached_tokens": 0, "tokens_source": "usage", "usage_doubt": None,
        "chunks": tokens, "tool_calls": 0, "finish_reason": "stop",
        "last_token_ns": end_ns - 100_000, "itl_us": [5980, 6000, 6010, 6050, 6120], "itl_counts": [3, 30, 20, 5, 1],
        "scheduled_ns": None, "parsed": True, "logprob_sum": None, "logprob_tokens": None,
        "response": " ".join(words), "reasoning": "", "answer": "C", "score": float(number % 3 > 0),
    }  # fmt: skip


def measured(*words: str) -> tuple[float, float, float]:
    """Run Python with these words; returns seconds, CPU-seconds and peak GB of memory."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"python {' '.join(words)} ended with {process.returncode}")
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, peak_bytes / 1e9


def make(path: Path, options: argparse.Namespace) -> None:
    """Make the run."""
    in_flight, count = options.concurrency, options.queries
    world = phased(count, in_flight, options.latency) if options.phases else stepped(count, in_flight, options.tokens)
    write_run(path, world, in_flight)


def main() -> None:
    """Make the run where it is not there yet, and time the two reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=50, help="of an answer on average")
    parser.add_argument("--phases", action="store_true", help="no steps: power follows phases, nothing of arrivals")
    parser.add_argument("--latency", type=float, default=0.4, help="with --phases: mean seconds of a query")
    parser.add_argument("--folder", type=Path, required=True, help="where the run is or will be; kept")
    parser.add_argument("--make", action="store_true", help="only make the run")
    options = parser.parse_args()
    path = options.folder / f"made-{'phases-' * options.phases}{options.queries}"
    if not path.exists():  # in a process of its own: the peak of memory of who starts a program counts as the program's
        making = multiprocessing.get_context("spawn").Process(target=make, args=(path, options))
        making.start()
        making.join()
        if making.exitcode:
            raise SystemExit(f"the run was not made: {making.exitcode}")
    if options.make:
        return
    programs = {
        "plain loop": ("-c", PLAIN, str(path / JOURNAL)),
        "ipw report --recompute": ("-m", "ipw.cli", "report", "--recompute", "--json", str(path)),
        "ipw report": ("-m", "ipw.cli", "report", "--json", str(path)),
    }
    floor_s = 0.0
    print(f"{options.queries:,} queries{'':10}{'s':>8}{'CPU s':>8}{'peak GB':>9}{'CPU, times the plain loop':>27}")
    for name, words in programs.items():
        seconds, cpu_s, peak_gb = measured(*words)
        floor_s = floor_s or cpu_s
        print(f"{name:27}{seconds:8.1f}{cpu_s:8.1f}{peak_gb:9.2f}{cpu_s / floor_s:27.2f}", flush=True)


if __name__ == "__main__":
    main()
