"""What compiled parsers and another event loop would save of a streamed token's cost, where they are installed.

    pip install msgspec httptools uvloop
    python tools/bench/client_parsers.py

Each is put in the place of the part that it would replace, in the client's own path from the bytes of a socket to the
books of an answer: the JSON of a chunk, the framing of HTTP, and the loop. CPU microseconds a token, the least of some
repeats for the parsers, each of some runs against a stand-in server for the loops.
"""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from bench.parts.cheap_server import HEAD, event

from ipw.workloads.lm.http import completion
from ipw.workloads.lm.http.client import Limits, ask
from ipw.workloads.lm.http.connection import Exchange
from ipw.workloads.lm.http.parser import ResponseParser
from ipw.workloads.lm.http.reply import Reply
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.http.url import server_url

TOKENS, REPEATS, STREAMS, RUNS = 20_000, 7, 64, 3
TOKEN = event({"content": " word"})
LIMITS = Limits(timeout_s=300, stall_s=120, max_tokens=None, temperature=0, seed=None)


def least_us(prepared: Callable[[], Callable[[bytes], object]]) -> float:
    """Measure how long a token takes at least."""
    found = []
    for _ in range(REPEATS):
        take = prepared()
        begun = time.thread_time_ns()
        for _ in range(TOKENS):
            take(bytes(memoryview(TOKEN)))
        found.append((time.thread_time_ns() - begun) / TOKENS / 1000)
    return min(found)


def exchange() -> Callable[[bytes], object]:
    """Make the whole path behind the socket."""
    made = Exchange(Reply())
    made.take(HEAD, 1)
    return lambda data: made.take(data, 1)


def framing() -> Callable[[bytes], object]:
    """Make the HTTP part of it."""
    parser = ResponseParser()
    parser.feed(HEAD)
    return parser.feed


async def behind_the_socket(msgspec: ModuleType | None, httptools: ModuleType | None) -> None:
    """Print what each part takes."""
    print(f"all behind the socket: {least_us(exchange):.1f}, of which the framing of HTTP {least_us(framing):.1f}")
    if msgspec is not None:
        completion._decoded = msgspec.json.Decoder().decode  # noqa: SLF001
        print(f"all behind the socket, with msgspec: {least_us(exchange):.1f}")
    if httptools is not None:

        def compiled() -> Callable[[bytes], object]:
            parser = httptools.HttpResponseParser(Body())
            parser.feed_data(HEAD)
            found: Callable[[bytes], object] = parser.feed_data
            return found

        print(f"the framing of HTTP by httptools: {least_us(compiled):.1f}")


class Body:
    """Takes what httptools finds."""

    def on_body(self, data: bytes) -> None:
        """Keep it."""
        self.data = data


async def streams(url: str) -> float:
    """Ask by many streams; returns CPU microseconds a token."""
    async with Transport(server_url(url)) as transport:
        await ask(transport, "m", "warm-up", LIMITS)
        begun = time.thread_time()
        answers = await asyncio.gather(*(ask(transport, "m", f"question {n}", LIMITS) for n in range(STREAMS)))
        return 1e6 * (time.thread_time() - begun) / sum(answer.completion_tokens or 0 for answer in answers)


def whole(run: Callable[[Coroutine[Any, Any, float]], float]) -> float:
    """Measure the whole client against a fresh server."""
    server = subprocess.Popen(
        [sys.executable, ROOT / "tools/bench/parts/cheap_server.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        return run(streams(server.stdout.readline().strip()))
    finally:
        server.communicate()


def installed(name: str) -> ModuleType | None:
    """Import a library, where it is there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed")
        return None


def main() -> None:
    """Measure all."""
    msgspec, httptools, uvloop = map(installed, ("msgspec", "httptools", "uvloop"))
    loops: dict[str, Any] = {"asyncio": asyncio.run} | ({"uvloop": uvloop.run} if uvloop else {})
    found = {name: [whole(run) for _ in range(RUNS)] for name, run in loops.items()}
    for name, values in found.items():
        print(f"the whole client on {name}: {', '.join(f'{value:.1f}' for value in sorted(values))}")
    asyncio.run(behind_the_socket(msgspec, httptools))


if __name__ == "__main__":
    main()
