"""What the gateway costs: time that it adds to the first token, CPU of a token, and how many connections it holds.

    python tools/bench/gateway.py --streams 100 --repeats 5
    python tools/bench/gateway.py --held 1000

A stand-in server streams 50 tokens/s to each of many streams, which our own client asks for directly, and through the
gateway, in turn; all on one monotonic clock. A request's overhead is the client's time to first token less the
server's own; what the gateway adds is the difference of the overheads' quantiles. CPU a token is that of the gateway's
process, which parses, writes and journals, beside that of the client's in the direct runs; both have answered once
before, so that neither counts what it loads for its first request. A quiet machine with three cores or more is needed:
what waits for a core shows as latency.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tools")]

PREFILL_S = 0.1
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def gateway_child(url: str) -> None:
    """Serve as `ipw gateway` does, with a journal on disk and without sensors, until standard input ends."""
    from ipw.runs.arrivals_file import ArrivalsFile
    from ipw.runs.directory import RunDir
    from ipw.runs.journal import Journal
    from ipw.workloads.agents.gateway.event_loop import served
    from ipw.workloads.agents.gateway.listener import Door, listening
    from ipw.workloads.agents.gateway.recorder import Recorder
    from ipw.workloads.lm.http.url import server_url

    async def serve(recorder: Recorder) -> None:
        async with listening(Door(), server_url(url), recorder) as (host, port):
            print(f"http://{host}:{port}/v1", flush=True)
            loop = asyncio.get_running_loop()
            while await loop.run_in_executor(None, sys.stdin.readline):
                print(time.process_time(), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        run = RunDir.create(Path(folder), "bench")
        with Journal(run) as journal, ArrivalsFile(run, journal) as arrivals:
            served(serve(Recorder(journal, arrivals, lambda _counters: None)))


@contextmanager
def server(tokens: int, rate: float, books: Path) -> Iterator[str]:
    """Start the stand-in server."""
    options = [
        "--prefill-s",
        str(PREFILL_S),
        "--token-s",
        str(1 / rate),
        "--tokens",
        str(tokens),
        "--books",
        str(books),
    ]
    child = subprocess.Popen(
        [sys.executable, "-m", "doubles.openai_server", *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.communicate()


@contextmanager
def gateway(url: str) -> Iterator[tuple[str, Any]]:
    """Start the gateway; gives its URL, and what asks for its CPU time so far."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--gateway-child", url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdin is not None
    to, back = child.stdin, child.stdout

    def cpu_s() -> float:
        to.write("cpu\n")
        to.flush()
        return float(back.readline())

    try:
        yield back.readline().strip(), cpu_s
    finally:
        child.communicate()


def ask(url: str, streams: int) -> dict[str, Any]:
    """Ask by our own client in a process of its own."""
    command = [sys.executable, str(ROOT / "tools/bench/client.py"), "--child", "ipw", "--url", url]
    found: dict[str, Any] = json.loads(subprocess.check_output([*command, "--streams", str(streams)], text=True))
    return found


def overheads_ms(told: dict[str, Any], books: Path) -> list[float]:
    """How much longer the client waited for each first token than the server took."""
    entries = [entry for entry in json.loads(books.read_text()) if entry["first_token_ns"]]
    true_ns = {entry["prompt"]: entry["first_token_ns"] - entry["received_ns"] for entry in entries}
    return sorted((ttft_ns - true_ns[prompt]) / 1e6 for prompt, ttft_ns, _ in told["streams"])


def quantile(ordered: list[float], q: float) -> float:
    """The value of that rank."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def measure(streams: int, tokens: int, rate: float) -> dict[str, float]:
    """Ask directly, then through the gateway."""
    with tempfile.TemporaryDirectory() as folder:
        books = Path(folder) / "direct.json"
        with server(tokens, rate, books) as url:
            direct = ask(url, streams)
        alone = overheads_ms(direct, books)
        books = Path(folder) / "through.json"
        with server(tokens, rate, books) as url, gateway(url) as (front, cpu_s):
            asyncio.run(hold(front, 1))  # imports, as the client's own warm-up
            before = cpu_s()
            through = ask(front, streams)
            spent_s = cpu_s() - before
        behind = overheads_ms(through, books)
    counts = [sum(count for *_, count in told["streams"]) for told in (direct, through)]
    client_us, own_us = direct["cpu_s"] / counts[0] * 1e6, spent_s / counts[1] * 1e6
    return {
        "added_p50_ms": quantile(behind, 0.5) - quantile(alone, 0.5),
        "added_p99_ms": quantile(behind, 0.99) - quantile(alone, 0.99),
        "client_us": client_us,
        "gateway_us": own_us,
        "times_client": own_us / client_us,
        "lost": float(counts[0] - counts[1]),
    }


async def hold(front: str, number: int) -> tuple[int, float]:
    """Open so many streams at once; returns how many came whole, and the seconds that it took."""
    from ipw.workloads.lm.http.client import ask as ask_one
    from ipw.workloads.lm.http.transport import Transport
    from ipw.workloads.lm.http.url import server_url
    from ipw.workloads.lm.parameters import Parameters

    limits = Parameters(max_tokens=None).limits()
    began = time.perf_counter()
    async with Transport(server_url(front)) as transport:
        answers = await asyncio.gather(*(ask_one(transport, "m", f"held {i}", limits) for i in range(number)))
    return sum(answer.status == "ok" for answer in answers), time.perf_counter() - began


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens/s of each stream")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--held", type=int, help="hold so many connections in place of all that")
    parser.add_argument("--gateway-child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.gateway_child:
        gateway_child(options.gateway_child)
        return
    if options.held:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
        with (
            tempfile.TemporaryDirectory() as folder,
            server(20, 2.0, Path(folder) / "books.json") as url,
            gateway(url) as (front, _),
        ):
            whole, seconds = asyncio.run(hold(front, options.held))
        print(f"{whole} of {options.held} streams at once came whole, in {seconds:.1f} s")
        return
    runs = [measure(options.streams, options.tokens, options.rate) for _ in range(options.repeats)]
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:<14} {median(values):8.2f}   ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
