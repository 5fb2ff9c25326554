"""A server that costs little: bytes made beforehand, sent by the clock to many streams, and books of every question.

    python tools/bench/parts/cheap_server.py --rate 50 --tokens 100 --books books.json

It speaks as much of an OpenAI-compatible server as `ipw run lm` asks for. It prints its URL, serves until its standard
input closes, and then writes when each question came and when its first token was sent, on the monotonic clock.
"""

from __future__ import annotations

import argparse
import heapq
import json
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Any

PREFILL_NS = 100_000_000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
READ_BYTES = 1 << 16
MOST_AT_ONCE = 200
"""Tokens that are sent between two looks at what comes in."""


def chunk(data: bytes) -> bytes:
    """Frame bytes as one chunk of HTTP."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """Make a chunk of a completion."""
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "cheap", "choices": choices}
    return chunk(b"data: " + json.dumps(told | more).encode() + b"\n\n")


class Stream:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.data = b""
        self.sent = 0
        self.entry: dict[str, Any] = {}


class Server:
    """Serves all of them in one loop."""

    def __init__(self, rate: float, tokens: int) -> None:
        self._gap_ns, self._tokens = int(1e9 / rate), tokens
        self._token = event({"content": " word"})
        usage = {"prompt_tokens": 8, "completion_tokens": tokens, "total_tokens": tokens + 8}
        self._end = event({}, "stop", usage=usage) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        listing = json.dumps({"data": [{"id": "cheap"}]}).encode()
        self._listing = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(listing), listing)
        self.books: list[dict[str, Any]] = []
        self._due: list[tuple[int, int, Stream]] = []
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def serve(self) -> None:
        """Serve until standard input closes."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            wait_s = max(self._due[0][0] - time.monotonic_ns(), 0) / 1e9 if self._due else None
            for key, _ in self._selector.select(wait_s):
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key.data)
            self._send_what_is_due()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, Stream(connection))

    def _read(self, stream: Stream) -> None:
        try:
            data = stream.connection.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(stream.connection)
            stream.connection.close()
            return
        stream.data += data
        head, found, rest = stream.data.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0].strip()
        if not found or len(rest) < int(length or b"0"):
            return
        stream.data = b""
        if not head.startswith(b"POST"):
            stream.connection.send(self._listing)
            return
        now = time.monotonic_ns()
        stream.entry = {"prompt": json.loads(rest)["messages"][-1]["content"], "received_ns": now}
        self.books.append(stream.entry)
        stream.sent = 0
        self._later(now + PREFILL_NS, stream)

    def _later(self, due_ns: int, stream: Stream) -> None:
        heapq.heappush(self._due, (due_ns, id(stream), stream))

    def _send_what_is_due(self) -> None:
        now = time.monotonic_ns()
        for _ in range(MOST_AT_ONCE):
            if not self._due or self._due[0][0] > now:
                return
            due_ns, _, stream = heapq.heappop(self._due)
            first, stream.sent = not stream.sent, stream.sent + 1
            data = (HEAD if first else b"") + self._token
            if stream.sent == self._tokens:
                data += self._end
            if first:
                stream.entry["first_token_ns"] = time.monotonic_ns()
            try:
                whole = stream.connection.send(data) == len(data)
            except BlockingIOError:  # the client is behind: this token waits
                stream.sent -= 1
                self._later(now + self._gap_ns, stream)
                continue
            except OSError:
                continue
            assert whole, "a token was cut in two"
            if stream.sent < self._tokens:
                self._later(due_ns + self._gap_ns, stream)


def main() -> None:
    """Serve, and write the books."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens/s of each stream")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--books", type=Path)
    options = parser.parse_args()
    server = Server(options.rate, options.tokens)
    print(server.url, flush=True)
    server.serve()
    if options.books:
        options.books.write_text(json.dumps(server.books))


if __name__ == "__main__":
    main()
