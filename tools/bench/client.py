"""What a streamed token costs the client, and how true its time to first token is: ours beside others.

    python tools/bench/client.py --streams 32 100 --repeats 5 [--guidellm PROGRAM] [--aiperf PROGRAM]

A plain aiohttp loop is always there; GuideLLM and AIPerf where they are on the PATH or named (see client_peers.py).

A stand-in server on one core streams 50 tokens/s to each of many streams, which the client under test has on another
core. Each stream asks a few questions in turn; the streams start one after the other within a second, so that a burst
of connects does not hide the rest. CPU is the client's process from the first request to the last token; the error of
the time to first token is what the client recorded minus the server's own books, on one monotonic clock. A plain loop
is one task a stream, `json.loads` of every event, a time stamp for every event.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tools")]

from bench.parts.client_peers import PEERS, run_peer

PREFILL_S = 0.1
QUESTIONS = 3
"""In turn, in each stream."""
RAMP_S = 1.0


class Stream(NamedTuple):
    """What a client knows of one answer."""

    prompt: str
    ttft_ns: int
    tokens: int


Ask = Callable[[str], Awaitable[Stream]]
Client = Callable[[str], AbstractAsyncContextManager[Ask]]


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Ask]:
    """Ask as `ipw run lm` does."""
    from ipw.workloads.lm.http.client import ask
    from ipw.workloads.lm.http.reply import Reply
    from ipw.workloads.lm.http.transport import Transport
    from ipw.workloads.lm.http.url import server_url
    from ipw.workloads.lm.parameters import Parameters

    limits = Parameters(max_tokens=None).limits()
    async with Transport(server_url(url)) as transport:

        async def one(prompt: str) -> Stream:
            reply = Reply()
            answer = await ask(transport, "stand-in", prompt, limits, reply=reply)
            reply.arrivals()
            return Stream(prompt, (answer.first_token_ns or 0) - answer.start_ns, answer.response.count(" word"))

        yield one


@asynccontextmanager
async def plain_aiohttp(url: str) -> AsyncIterator[Ask]:
    """Ask in the plainest way."""
    import aiohttp

    async def one(prompt: str) -> Stream:
        body = {"model": "stand-in", "messages": [{"role": "user", "content": prompt}], "stream": True}
        stamps = []
        start_ns = time.monotonic_ns()
        async with session.post(f"{url}/chat/completions", json=body) as response:
            async for line in response.content:
                if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
                    continue
                t_ns = time.monotonic_ns()
                choices = json.loads(line[5:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    stamps.append(t_ns)
        return Stream(prompt, stamps[0] - start_ns, len(stamps))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield one


CLIENTS: dict[str, Client] = {"ipw": ours, "plain aiohttp": plain_aiohttp}


COLUMNS = {"cpu_us_per_token": 0, "core_percent": 0, "tokens_per_s": 0, "lost": 0, "p50_ms": 2, "p99_ms": 2}
"""What `measure` returns, and the decimals to show."""


def child(name: str, url: str, streams: int) -> None:
    """Run one client and print what it measured."""
    found: list[Stream] = []

    async def stream(ask: Ask, number: int) -> None:
        await asyncio.sleep(RAMP_S * number / streams)
        found.extend([await ask(f"question {number} {question}") for question in range(QUESTIONS)])

    async def timed() -> tuple[float, float]:
        async with CLIENTS[name](url) as ask:
            await ask("warm-up")  # imports
            cpu, wall = time.process_time(), time.perf_counter()
            await asyncio.gather(*(stream(ask, number) for number in range(streams)))
            return time.process_time() - cpu, time.perf_counter() - wall

    cpu_s, wall_s = asyncio.run(timed())
    print(json.dumps({"streams": [list(one) for one in found], "cpu_s": cpu_s, "wall_s": wall_s}))


class Bench(NamedTuple):
    """What every client is put to."""

    streams: int
    tokens: int
    rate: float
    programs: dict[str, str]
    """Paths of the peers that are installed."""


def measure(name: str, bench: Bench) -> dict[str, Any]:
    """Measure one client against a fresh server."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with tempfile.TemporaryDirectory() as folder:
        books_path = Path(folder) / "books.json"
        options = ["--prefill-s", str(PREFILL_S), "--token-s", str(1 / bench.rate), "--tokens", str(bench.tokens)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        server = subprocess.Popen(
            [sys.executable, "-m", "doubles.openai_server", *options, "--books", str(books_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if len(cores) > 1:
            os.sched_setaffinity(server.pid, {cores[0]})
        core = cores[1] if len(cores) > 1 else None
        try:
            if name in CLIENTS:
                found = _told(name, url, bench.streams, core)
            else:
                requests = bench.streams * QUESTIONS
                found = run_peer(name, bench.programs[name], url, bench.streams, requests, Path(folder), core)
        finally:
            server.communicate()
        books = [entry for entry in json.loads(books_path.read_text()) if entry["first_token_ns"]]
    if name in CLIENTS:
        return _judged(found, books, bench)
    ttft_ms, looks = found
    return _judged_peer(ttft_ms, looks, books, bench)


def _told(name: str, url: str, streams: int, core: int | None) -> Any:
    command = [sys.executable, __file__, "--child", name, "--url", url, "--streams", str(streams)]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if core is not None:
        os.sched_setaffinity(client.pid, {core})
    return json.loads(client.communicate()[0])


def _judged(told: Any, books: list[dict[str, Any]], bench: Bench) -> dict[str, Any]:
    true_ns = {entry["prompt"]: entry["first_token_ns"] - entry["received_ns"] for entry in books}
    errors_ms = sorted((ttft_ns - true_ns[prompt]) / 1e6 for prompt, ttft_ns, _ in told["streams"])
    received = sum(count for *_, count in told["streams"])
    return {
        "cpu_us_per_token": told["cpu_s"] / received * 1e6,
        "core_percent": told["cpu_s"] / told["wall_s"] * 100,
        "tokens_per_s": received / told["wall_s"],
        "lost": bench.streams * QUESTIONS * bench.tokens - received,
        "p50_ms": percentile(errors_ms, 0.5),
        "p99_ms": percentile(errors_ms, 0.99),
    }


def _judged_peer(
    ttft_ms: list[float], looks: list[tuple[int, float]], books: list[dict[str, Any]], bench: Bench
) -> dict[str, Any]:
    first_ns, last_ns = min(entry["received_ns"] for entry in books), max(entry["end_ns"] for entry in books)
    busy = [(t_ns, cpu_s) for t_ns, cpu_s in looks if first_ns <= t_ns <= last_ns]
    cpu_s, wall_s = busy[-1][1] - busy[0][1], (busy[-1][0] - busy[0][0]) / 1e9
    sent = sum(entry["completion_tokens"] for entry in books)
    per_s = sent / ((last_ns - first_ns) / 1e9)
    true_ms = sorted((entry["first_token_ns"] - entry["received_ns"]) / 1e6 for entry in books)
    theirs_ms = sorted(ttft_ms)
    return {
        "cpu_us_per_token": cpu_s / (per_s * wall_s) * 1e6,
        "core_percent": cpu_s / wall_s * 100,
        "tokens_per_s": per_s,
        "lost": bench.streams * QUESTIONS * bench.tokens - sent,
        "p50_ms": percentile(theirs_ms, 0.5) - percentile(true_ms, 0.5),
        "p99_ms": percentile(theirs_ms, 0.99) - percentile(true_ms, 0.99),
    }


def percentile(ordered: list[float], q: float) -> float:
    """Find a quantile of values in rising order."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def main() -> None:
    """Measure every client at every load, several times in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--streams", type=int, nargs="+", default=[32, 100])
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens/s of each stream")
    parser.add_argument("--repeats", type=int, default=5)
    for name in PEERS:
        parser.add_argument(f"--{name}", default=shutil.which(name), help="its program")
    parser.add_argument("--peer-repeats", type=int, default=1, help="of GuideLLM and AIPerf, which start slowly")
    parser.add_argument("--child", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.url, options.streams[0])
        return
    # They are started in a folder of their own.
    programs = {name: str(Path(path).absolute()) for name in PEERS if (path := getattr(options, name))}
    print("median (least to most) of", options.repeats, "runs; the error of the time to first token is p50_ms, p99_ms")
    print(f"{'client':<14} {'streams':>7}" + "".join(f"{name:>26}" for name in COLUMNS) + f"{'CPU, times ipw':>16}")
    for streams in options.streams:
        bench = Bench(streams, options.tokens, options.rate, programs)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in (*CLIENTS, *programs)}
        for repeat in range(options.repeats):
            for name in (*CLIENTS, *(programs if repeat < options.peer_repeats else ())):
                results[name].append(measure(name, bench))
        ours_us = median(run["cpu_us_per_token"] for run in results["ipw"])
        for name, runs in results.items():
            cells = [_cell([run[key] for run in runs], digits) for key, digits in COLUMNS.items()]
            times = median(run["cpu_us_per_token"] for run in runs) / ours_us
            print(f"{name:<14} {streams:>7}" + "".join(f"{cell:>26}" for cell in cells) + f"{times:>16.2f}", flush=True)


def _cell(values: list[float], digits: int) -> str:
    middle, least, most = (f"{x:.{digits}f}" for x in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({least} to {most})"


if __name__ == "__main__":
    main()
