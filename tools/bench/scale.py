"""What `ipw report` takes for a run of a million queries, stored or from its raw files: seconds and peak memory.

    python tools/bench/scale.py --queries 1000000 --folder /tmp/big

The run directory is written straight: a journal of queries that were always `--concurrency` in flight, and the readings
of one energy counter that ticks every 100 ms, read twice around each tick. Both commands run in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT)]

SECOND = 1_000_000_000
IDLE_S, IDLE_W = 10, 60.0
PREFILL_W, DECODE_W = 45.0, 30.0
"""Above idle, of one query."""
TICK_S = 0.1
SUBJECTS = ("physics", "law", "chemistry", "history", "health", "economics", "biology", "philosophy")
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


def write_run(path: Path, queries: int, concurrency: int, latency_s: float) -> None:
    """Write the run directory of a server that is never idle."""
    from ipw.profilers.base import Channel
    from ipw.runs.directory import RunDir
    from ipw.runs.journal import JOURNAL
    from ipw.runs.readings import READINGS

    path.mkdir(parents=True)
    rng = np.random.default_rng(5)
    length = np.maximum(rng.gamma(4, latency_s / 4, queries), 0.01)
    per_slot = -(-queries // concurrency)
    slots = np.concatenate([length, np.zeros(per_slot * concurrency - queries)]).reshape(concurrency, per_slot)
    end = np.cumsum(slots, axis=1).ravel()[:queries] + IDLE_S
    start = end - length
    first = start + 0.1 * length
    times = np.stack([start, first, end]) * SECOND
    order = np.argsort(times[2])
    times = times[:, order].astype(np.int64)
    window = int(times[0].min()), int(times[2].max())
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
    (path / READINGS).write_bytes(readings(times, window[1] + IDLE_S * SECOND, rng))
    with (path / JOURNAL).open("w") as journal:
        for name, a, b in (("idle", 0, IDLE_S * SECOND), ("measure", *window), ("idle", window[1], window[1] + 10**10)):
            record = {"kind": "span", "name": name, "phase": name, "start_ns": a, "end_ns": b}
            journal.write(json.dumps(record, separators=(",", ":")) + "\n")
        for number in range(queries):
            start_ns, first_ns, end_ns = times[:, number].tolist()
            record = query(number, start_ns, first_ns, end_ns, concurrency)
            journal.write(json.dumps(record, separators=(",", ":")) + "\n")


def query(number: int, start_ns: int, first_ns: int, end_ns: int, concurrency: int) -> dict[str, Any]:
    """Make the journal's record of one query, with an answer of some sixty words."""
    tokens = max((end_ns - first_ns) // 6_000_000, 2)
    words = [WORDS[(number * 7 + i * 5) % len(WORDS)] for i in range(min(tokens, 100))]
    return {
        "kind": "query", "query_id": str(number), "subject": SUBJECTS[number % len(SUBJECTS)], "start_ns": start_ns,
        "first_token_ns": first_ns, "end_ns": end_ns, "status": "ok", "error": None, "prompt_tokens": 80 + number % 50,
        "completion_tokens": tokens, "cached_tokens": 0, "tokens_source": "usage", "usage_doubt": None,
        "chunks": tokens, "tool_calls": 0, "finish_reason": "stop",
        "last_token_ns": end_ns - 100_000, "itl_us": [5980, 6000, 6010, 6050, 6120], "itl_counts": [3, 30, 20, 5, 1],
        "scheduled_ns": None, "parsed": True, "logprob_sum": None, "logprob_tokens": None,
        "response": " ".join(words), "reasoning": "", "answer": "C", "score": float(number % 3 > 0),
        "concurrency": concurrency,
    }  # fmt: skip


def readings(times: npt.NDArray[np.int64], until_ns: int, rng: np.random.Generator) -> bytes:
    """Read the counter 2 ms before and 1 ms after each of its ticks."""
    from ipw.runs.readings import RECORD_FIELDS

    tick = np.arange(0.05, until_ns / SECOND - 1, TICK_S)
    start, first, end = (np.sort(column) / SECOND for column in times)
    power = PREFILL_W * (passed(tick, start) - passed(tick, first)) + DECODE_W * (
        passed(tick, first) - passed(tick, end)
    )
    energy = IDLE_W * tick + power + np.cumsum(rng.normal(0, 0.2, tick.size)).clip(0)
    value = np.maximum.accumulate(np.round(energy, 3))
    rows = np.zeros(2 * tick.size, RECORD_FIELDS)
    rows["t_ns"][0::2], rows["t_ns"][1::2] = (tick - 0.002) * SECOND, (tick + 0.001) * SECOND
    rows["value"][1::2], rows["value"][2::2] = value, value[:-1]
    rows["value"][0] = value[0] - IDLE_W * TICK_S
    rows["uncertainty_ns"] = 20_000
    return rows.tobytes()


def passed(at: npt.NDArray[np.float64], moments: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Seconds gone by at each time since each moment before it, added up."""
    count = np.searchsorted(moments, at, "right")
    total: npt.NDArray[np.float64] = count * at - np.concatenate([[0.0], np.cumsum(moments)])[count]
    return total


def measured(*words: str) -> tuple[float, float, float]:
    """Run `ipw` with these words; returns seconds, CPU-seconds and peak GB of memory."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "ipw.cli", *words], stdout=subprocess.DEVNULL, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"ipw {' '.join(words)} ended with {process.returncode}")
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, peak_bytes / 1e9


def main() -> None:
    """Make the run where it is not there yet, and time the two reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--latency", type=float, default=0.4, help="mean seconds of a query")
    parser.add_argument("--folder", type=Path, required=True, help="where the run is or will be; kept")
    options = parser.parse_args()
    path = options.folder / f"made-{options.queries}"
    if not path.exists():
        write_run(path, options.queries, options.concurrency, options.latency)
    for words in (("report", "--recompute", "--json", str(path)), ("report", "--json", str(path))):
        seconds, cpu_s, peak_gb = measured(*words)
        cost = f"{seconds:6.1f} s  CPU {cpu_s:6.1f} s  peak {peak_gb:.2f} GB"
        print(f"{options.queries:>9,} queries  ipw {words[0]:6} {words[1]:11}  {cost}")


if __name__ == "__main__":
    main()
