"""Whether several asking processes carry as much more as they are, and at which load one alone is too little.

    python tools/bench/clients.py --clients 1 2 4 --streams 64 --repeats 3

Each measurement is the load of a real run (`ipw.workloads.lm.run`, with its journal) against a server that costs little
(cheap_server.py). The load grows with the processes: `--streams` each. The error of the time to first token is what the
run recorded minus the server's own books, on one clock.

With processors enough, the asking processes have as many as they are, one more for the process that hands out the
questions, and the server one of its own. With fewer, **this is a simulation**: all that asks shares one processor, and
always the same number of asking processes share it: one run of four, or four runs of one, against the same server. So
each has a quarter of it, as if it were a slow processor of its own, and what the four of one run carry beside one of
four runs tells what is lost by working together. Trust the ratios then, and the CPU time a token.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from bench.client import percentile

QUESTIONS = 3
"""Of each stream."""
WARMUP = 8
COLUMNS = {
    "tokens_per_s": 0, "busy": 2, "queued": 2, "saturated": 2, "cpu_us_per_token": 1, "schedule_us_per_token": 2,
    "schedule_us_per_question": 0, "p50_ms": 1, "p99_ms": 1, "late_p99_ms": 1,
}  # fmt: skip
"""What `measure` returns, and the decimals to show; NaN where there is none."""


def child(options: argparse.Namespace) -> None:
    """Put one load on a server, in this process, and print what it took."""
    from ipw.runs.arrivals_file import ArrivalsFile
    from ipw.runs.directory import RunDir
    from ipw.runs.journal import Journal
    from ipw.workloads.lm.parameters import Parameters
    from ipw.workloads.lm.plan import plan
    from ipw.workloads.lm.run import run_lm
    from ipw.workloads.lm.servers.engines import serve

    (clients,), folder = options.clients, Path(options.folder)
    told: list[Mapping[str, Any]] = []
    parameters = Parameters(
        base_url=options.url, dataset=str(folder / "questions.jsonl"), concurrency=clients * options.streams,
        clients=clients, warmup=WARMUP, max_tokens=None,
    )  # fmt: skip
    run, planned = RunDir.create(folder, "bench"), plan(parameters)
    print("ready", flush=True)
    sys.stdin.readline()
    with serve(parameters) as endpoint, Journal(run) as journal, ArrivalsFile(run, journal) as arrivals:
        run_lm(_Marks(), journal, endpoint, planned, lambda _: None, arrivals_book=arrivals, note=told.append)
    asked = [
        [one["question"], one["start_ns"], one["first_token_ns"], one["end_ns"], one["completion_tokens"]]
        for one in run.journal("query")
    ]
    print(json.dumps({"asked": asked, "client": told[0]}))


class _Marks:
    @contextmanager
    def span(self, name: str, phase: str) -> Iterator[None]:
        del name, phase
        yield


def measure(clients: int, options: argparse.Namespace, cores: list[int], most: int) -> dict[str, float]:
    """Measure one number of processes against a fresh server."""
    own = len(cores) > most + 1
    mine, runs = (cores[1 : 2 + clients], 1) if own else (cores[-1:], most // clients)
    with tempfile.TemporaryDirectory() as folder:
        books_path, count = Path(folder) / "books.json", clients * options.streams * QUESTIONS
        server = subprocess.Popen(
            [sys.executable, ROOT / "tools/bench/parts/cheap_server.py", "--rate", str(options.rate), "--tokens",
             str(options.tokens), "--books", books_path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.sched_setaffinity(server.pid, cores[:1])
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        children = []
        for run in range(runs):
            place = Path(folder) / str(run)
            place.mkdir()
            lines = (json.dumps({"prompt": f"run {run}, question {n}", "answer": "w"}) + "\n" for n in range(count))
            (place / "questions.jsonl").write_text("".join(lines))
            command = [
                sys.executable, __file__, "--child", "--url", url, "--folder", str(place), "--clients", str(clients),
                "--streams", str(options.streams),
            ]  # fmt: skip
            # Linux shares a processor among sessions first, and the asking processes of a run have one each.
            children.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
                )
            )
            os.sched_setaffinity(children[-1].pid, mine)
        try:
            for each in children:
                assert each.stdout is not None
                each.stdout.readline()
            for each in children:  # all at once
                assert each.stdin is not None
                each.stdin.write("go\n")
                each.stdin.flush()
            told = [json.loads(each.communicate()[0]) for each in children]
        finally:
            server.communicate()
        books = json.loads(books_path.read_text())
    found = [_judged(each, books) for each in told]
    return {name: fmean(each[name] for each in found) for name in COLUMNS}


def _judged(told: Any, books: list[dict[str, Any]]) -> dict[str, float]:
    true_ns = {entry["prompt"]: entry["first_token_ns"] - entry["received_ns"] for entry in books}
    errors_ms = sorted((first - start - true_ns[prompt]) / 1e6 for prompt, start, first, _, _ in told["asked"])
    tokens = sum(count for *_, count in told["asked"])
    wall_s = (max(one[3] for one in told["asked"]) - min(one[1] for one in told["asked"])) / 1e9
    processes, schedule = told["client"]["processes"], told["client"].get("schedule")
    cpu_s, schedule_s = sum(one["cpu_s"] for one in processes), schedule["cpu_s"] if schedule else math.nan
    return {
        "tokens_per_s": tokens / wall_s,
        "busy": max(one["cpu_s"] / one["wall_s"] for one in processes),
        "queued": max(math.nan if one["queued_s"] is None else one["queued_s"] / one["wall_s"] for one in processes),
        "saturated": max(one["saturated_s"] / one["wall_s"] for one in processes),
        "cpu_us_per_token": 1e6 * cpu_s / tokens,
        "schedule_us_per_token": 1e6 * schedule_s / tokens,
        "schedule_us_per_question": 1e6 * schedule_s / len(told["asked"]),
        "p50_ms": percentile(errors_ms, 0.5),
        "p99_ms": percentile(errors_ms, 0.99),
        "late_p99_ms": 1e3 * max(one["late_p99_s"] for one in processes),
    }


def main() -> None:
    """Measure each number of processes several times in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--streams", type=int, default=64, help="of each process")
    parser.add_argument("--rate", type=float, default=50.0, help="tokens/s of each stream")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    cores, most = sorted(os.sched_getaffinity(0)), max(options.clients)
    simulated = len(cores) <= most + 1
    if simulated and any(most % clients for clients in options.clients):
        parser.error(f"with {len(cores)} processors, each of --clients must divide {most}, the most of them")
    share = f"a simulation: each asking process has 1/{most} of one processor" if simulated else "each on its own"
    print(f"{len(cores)} processors ({share}); {options.streams} streams of {options.rate:g} tokens/s a process")
    print(f"median (least to most) of {options.repeats} runs; p50_ms, p99_ms: error of the time to first token")
    print(f"{'clients':>7}" + "".join(f"{name:>26}" for name in COLUMNS))
    found: dict[int, list[dict[str, float]]] = {clients: [] for clients in options.clients}
    for _ in range(options.repeats):
        for clients in options.clients:
            found[clients].append(measure(clients, options, cores, most))
    for clients, runs in found.items():
        cells = [_cell([run[key] for run in runs], digits) for key, digits in COLUMNS.items()]
        print(f"{clients:>7}" + "".join(f"{cell:>26}" for cell in cells), flush=True)
    first = options.clients[0]
    for clients in options.clients[1:]:
        pairs = zip(found[clients], found[first], strict=True)
        ratio = median(many["tokens_per_s"] / one["tokens_per_s"] for many, one in pairs)
        print(f"{clients} processes carry {ratio:.2f} times the tokens/s of {first}")


def _cell(values: list[float], digits: int) -> str:
    if any(map(math.isnan, values)):
        return "-"
    middle, least, most = (f"{x:.{digits}f}" for x in (median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


if __name__ == "__main__":
    main()
