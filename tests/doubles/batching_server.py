"""A stand-in for a server that computes in steps over all sequences in flight (the shape of vLLM's and SGLang's loop).

It streams over HTTP as an OpenAI-compatible server does, sets the power of a stand-in GPU at the edges of each step,
and keeps books of what each request's share of every step was. The answer to `tokens:PROMPT:ANSWER:NUMBER` has so many
tokens; other questions get eight. `python -m doubles.batching_server --nvml FOLDER --books FILE` prints its URL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from doubles.nvml import FakeNvml

TIMER_S = 0.0015
"""How late a timer of the loop may be."""
ASKED = re.compile(r"tokens:(\d+):(\d+):(\d+)")


@dataclass
class Costs:
    """One engine: its speeds and what it draws."""

    weights_s: float = 0.014
    token_s: float = 0.00012
    step_j: float = 2.07
    token_j: float = 0.0418
    prompt_j: float = 0.0418
    kv_j: float = 0.0
    budget: int = 512
    most: int = 64
    idle_w: float = 70.0
    on_time: int = 0
    """Whether steps end on time: else they are held up by up to two milliseconds, as timers of a loop are."""


@dataclass
class Sequence:
    """A request that is being answered, and its books."""

    number: int
    prompt: int
    answer: int
    left: int
    writer: asyncio.StreamWriter
    done: asyncio.Event = field(default_factory=asyncio.Event)
    produced: int = 0
    shares: float = 0.0
    prefill_j: float = 0.0
    decode_j: float = 0.0


class Engine:
    """The loop, and the HTTP before it."""

    def __init__(self, costs: Costs, gpu: FakeNvml, books: Path, log: Path | None = None) -> None:
        self.costs, self.gpu = costs, gpu
        self.books = books.open("a", buffering=1)
        self.log = log.open("a", buffering=1) if log else None
        self.ready: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.woken = asyncio.Event()
        self.steps = 0

    async def loop(self) -> None:
        """Step after step, for ever."""
        self.gpu.set_power(0, self.costs.idle_w)
        while True:
            if not self.ready and not self.running:
                self.woken.clear()
                await self.woken.wait()
            while self.ready and len(self.running) < self.costs.most:
                self.running.append(self.ready.popleft())
            await self._step()

    async def _step(self) -> None:
        costs = self.costs
        decoding = [s for s in self.running if s.left == 0]
        room = costs.budget - len(decoding)
        chunks: list[tuple[Sequence, int]] = []
        for s in self.running:
            if s.left and room > 0:
                taken = min(room, s.left)
                chunks.append((s, taken))
                s.left -= taken
                room -= taken
        tokens = len(decoding) + sum(n for _, n in chunks)
        seconds = max(costs.weights_s, tokens * costs.token_s)
        context = sum(s.prompt + s.produced for s in decoding) + sum(s.prompt - s.left for s, _ in chunks)
        joules = costs.step_j + costs.token_j * len(decoding) + costs.prompt_j * (tokens - len(decoding))
        joules += costs.kv_j * context
        start = self.gpu.set_power(0, costs.idle_w + joules / seconds)
        ahead = seconds - (time.monotonic_ns() - start) / 1e9
        await asyncio.sleep(max(ahead - (TIMER_S if costs.on_time else 0), 0))
        while costs.on_time and time.monotonic_ns() - start < seconds * 1e9:
            pass
        end = self.gpu.set_power(0, costs.idle_w)
        longer = (end - start) / 1e9 / seconds
        each = costs.step_j / (len(chunks) + len(decoding))
        for s in [*decoding, *(s for s, _ in chunks)]:
            s.shares += longer / (len(chunks) + len(decoding))
        for s, n in chunks:
            s.prefill_j += longer * (each + costs.prompt_j * n + costs.kv_j * (s.prompt - s.left))
        for s in decoding:
            s.decode_j += longer * (each + costs.token_j + costs.kv_j * (s.prompt + s.produced))
        self.steps += 1
        if self.log:
            who = [[s.number, n] for s, n in chunks], [s.number for s in decoding]
            row = [start, end, seconds, len(decoding), *who]
            self.log.write(json.dumps(row) + "\n")
        for s in [*decoding, *(s for s, _ in chunks if s.left == 0)]:
            self._send(s)

    def _send(self, s: Sequence) -> None:
        s.produced += 1
        last = s.produced == s.answer
        delta = {"content": "4" if s.produced == 1 else " a"}
        choice = {"index": 0, "delta": delta, "finish_reason": "length" if last else None}
        _chunk(s.writer, {"id": "x", "object": "chat.completion.chunk", "choices": [choice]})
        if last:
            usage = {"prompt_tokens": s.prompt, "completion_tokens": s.answer, "total_tokens": s.prompt + s.answer}
            _chunk(s.writer, {"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": usage})
            _raw(s.writer, b"data: [DONE]\n\n")
            s.writer.write(b"0\r\n\r\n")
            self.running.remove(s)
            book = {"number": s.number, "prefill_j": s.prefill_j, "decode_j": s.decode_j, "steps": self.steps}
            book |= {"shares": s.shares}
            self.books.write(json.dumps(book) + "\n")
            s.done.set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if head.startswith("GET"):
                    text = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]}).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                    writer.write(b"content-length: %d\r\n\r\n" % len(text) + text)
                    continue
                await self._asked(json.loads(body), writer)
        writer.close()

    async def _asked(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        asked = ASKED.search(json.dumps(body["messages"]))
        prompt, answer, number = map(int, asked.groups()) if asked else (20, 8, -1)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        sequence = Sequence(number, prompt, min(answer, body.get("max_tokens") or answer), prompt, writer)
        self.ready.append(sequence)
        self.woken.set()
        await sequence.done.wait()


def _chunk(writer: asyncio.StreamWriter, value: dict[str, Any]) -> None:
    _raw(writer, b"data: " + json.dumps(value).encode() + b"\n\n")


def _raw(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n" % len(data) + data + b"\r\n")


async def serve(costs: Costs, gpu: FakeNvml, books: Path, log: Path | None) -> None:
    """Listen, and say where."""
    engine = Engine(costs, gpu, books, log)
    server = await asyncio.start_server(engine.connected, "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1\n")
    sys.stdout.flush()
    await engine.loop()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nvml", type=Path, required=True)
    parser.add_argument("--books", type=Path, required=True)
    parser.add_argument("--log", type=Path, help="file that each step is written to")
    for name, value in asdict(Costs()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    options = vars(parser.parse_args())
    gpu, books, log = FakeNvml(options.pop("nvml")), options.pop("books"), options.pop("log")
    asyncio.run(serve(Costs(**options), gpu, books, log))


if __name__ == "__main__":
    main()
