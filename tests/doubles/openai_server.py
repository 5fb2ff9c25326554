"""A stand-in for an OpenAI-compatible server: answers as told, keeps books of what it did, and fails on demand.

In the test's process: `with serving(behave) as server: …; server.url; server.books`. As a process of its own:
`python -m doubles.openai_server --help`. `behave` says how each request is answered; `on_state(t_ns, prefilling,
decoding)` hears how many requests are in which phase whenever that changes, so that a stand-in power sensor can follow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

OnState = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Request:
    """What was asked; `number` counts questions from 0."""

    number: int
    prompt: str
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass(frozen=True)
class Behaviour:
    """How one question is answered."""

    tokens: Sequence[str] = ("4",)
    reasoning: Sequence[str] = ()
    prefill_s: float = 0.0
    token_s: float = 0.0
    """Between tokens."""
    prompt_tokens: int | None = None
    """By default a token a word."""
    usage: bool = True
    finish: bool = True
    done: bool = True
    cached_tokens: int = 0
    logprob: float = -0.5
    """Of every token, where the request asks for it."""
    status: int = 200
    fault: Literal["none", "drop", "stall", "garbage", "no-headers", "error-chunk", "reset", "not-http"] = "none"
    fault_after: int = 1
    """Tokens that are sent before a drop, a stall, garbage or an error chunk."""
    streamed: bool = True
    body: Sequence[bytes] | None = None
    """Sent as it is in place of all that, whatever it is: a chunk of HTTP each."""
    content_type: str = "text/event-stream"
    """Of such a body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More of them, of such a body, and of what is said with another status than 200."""
    keep_alive: bool = True
    promise: bool = True
    """Whether a connection that is not kept alive is announced as such."""


@dataclass
class Entry:
    """The books of one question, on the monotonic clock."""

    number: int
    prompt: str
    received_ns: int
    first_token_ns: int | None = None
    end_ns: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    status: int = 200
    authorization: str | None = None
    body: dict[str, Any] = field(default_factory=dict)


Behave = Callable[[Request], Behaviour]


class Server:
    """State that all connections share."""

    def __init__(self, behave: Behave, models: Sequence[str] | None, on_state: OnState | None) -> None:
        self.behave, self.models, self._on_state = behave, models, on_state
        self.url = ""
        self.books: list[Entry] = []
        self.connections = 0
        self.metrics: Callable[[], str] | None = None
        """Says what stands at `/metrics`; without it, nothing does."""
        self.open: set[asyncio.Transport] = set()
        self.listener: asyncio.Server
        self._dead = False
        self._counts = {"prefilling": 0, "decoding": 0}

    def die(self) -> None:
        """End as a killed process does, from within `behave`: every connection breaks, and new ones are refused."""
        self._dead = True
        loop = asyncio.get_running_loop()
        for socket in self.listener.sockets:
            loop.remove_reader(socket.fileno())
        # asyncio would leave those open for ever that are accepted and not yet ours when the listener closes.
        loop.call_later(0.05, self.listener.close)
        for transport in list(self.open):
            transport.abort()

    def opened(self, transport: asyncio.Transport) -> None:
        """Take note of a connection; of a dead server it breaks too, though it was on its way before."""
        self.connections += 1
        self.open.add(transport)
        if self._dead:
            transport.abort()

    def phase(self, t_ns: int, **change: int) -> None:
        """Count a request into or out of a phase."""
        for name, by in change.items():
            self._counts[name] += by
        if self._on_state:
            self._on_state(t_ns, self._counts["prefilling"], self._counts["decoding"])


class _Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._data = b""
        self._work: _Work | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.opened(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self.transport)
        if self._work:
            self._work.stop()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        line, *fields = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (entry.partition(":") for entry in fields)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._data = rest[length:]
        method, path, _ = line.split(" ")
        self._answer(method, path, headers, json.loads(rest[:length] or b"null"))

    def _answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        server = self._server
        if (method, path) == ("GET", "/v1/models"):
            known = server.models is not None
            listing = {"data": [{"id": name} for name in server.models or ()]}
            self.document(200 if known else 500, listing if known else {"error": "no list"})
        elif (method, path) == ("GET", "/metrics") and server.metrics:
            self.document(200, server.metrics().encode())
        elif (method, path) == ("GET", "/health"):
            self.document(200, {})
        elif method == "POST" and path in ("/v1/chat/completions", "/v1/completions"):
            prompt = _text(body["messages"][-1]["content"] if "messages" in body else body["prompt"])
            entry = Entry(len(server.books), prompt, time.monotonic_ns(), body=body)
            entry.authorization = headers.get("authorization")
            server.books.append(entry)
            self._work = _Work(self, server, entry, server.behave(Request(entry.number, prompt, body, headers)))
            self._work.start()
        else:
            self.document(404, {"error": {"message": f"no {method} {path} here"}})

    def document(self, status: int, value: Any, keep_alive: bool = True, more: Mapping[str, str] | None = None) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        connection = "keep-alive" if keep_alive else "close"
        headers = "".join(f"{name}: {value}\r\n" for name, value in (more or {}).items())
        self.transport.write(
            b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: %s\r\n%sContent-Length: %d\r\n\r\n%s"
            % (status, connection.encode(), headers.encode(), len(body), body)
        )
        if not keep_alive:
            self.transport.close()


def _text(content: Any) -> str:
    """A message's text, which some clients send in parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


class _Work:
    """One answer, sent by the clock."""

    def __init__(self, connection: _Connection, server: Server, entry: Entry, how: Behaviour) -> None:
        self._connection, self._server, self._entry, self._how = connection, server, entry, how
        self._loop = asyncio.get_running_loop()
        self._texts = [("reasoning_content", text) for text in how.reasoning] + [("content", t) for t in how.tokens]
        self._sent = 0
        self._phase: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        entry.prompt_tokens = len(entry.prompt.split()) if how.prompt_tokens is None else how.prompt_tokens
        entry.status = how.status

    def start(self) -> None:
        how, transport = self._how, self._connection.transport
        if how.fault == "reset":
            transport.abort()
            return
        if how.fault == "not-http":
            transport.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            return
        if how.fault == "no-headers":
            return
        if how.body is not None:
            head = {"Content-Type": how.content_type, "Transfer-Encoding": "chunked", **how.headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            transport.write(f"HTTP/1.1 {how.status} X\r\n{lines}\r\n".encode())
            for piece in how.body:
                self._write(piece)
            transport.write(b"0\r\n\r\n")
            self._close_books(time.monotonic_ns())
            return
        if how.status != 200:
            said = {"error": {"message": f"told to say {how.status}"}}
            self._connection.document(how.status, said, how.keep_alive, how.headers)
            self._close_books(time.monotonic_ns())
            return
        self._enter("prefilling", self._entry.received_ns)
        self._next = self._loop.time() + how.prefill_s
        if how.streamed:
            connection = b"" if how.keep_alive or not how.promise else b"Connection: close\r\n"
            transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n%s\r\n"
                % connection
            )
            self._chunk({"role": "assistant", "content": None})
        self._timer = self._loop.call_at(self._next, self._tick)

    def stop(self) -> None:
        """The client has gone."""
        if self._timer:
            self._timer.cancel()
        if self._phase:
            self._close_books(time.monotonic_ns())

    def _tick(self) -> None:
        how = self._how
        if how.fault != "none" and self._sent >= how.fault_after and self._fail():
            return
        if self._sent < len(self._texts):
            now = time.monotonic_ns()
            if self._sent == 0:
                self._entry.first_token_ns = now
                self._enter("decoding", now)
            key, text = self._texts[self._sent]
            self._sent += 1
            self._entry.completion_tokens = self._sent
            if how.streamed:
                self._chunk({key: text})
        if self._sent < len(self._texts) or how.fault != "none":
            self._next += how.token_s
            self._timer = self._loop.call_at(self._next, self._tick)
        else:
            self._end()

    def _fail(self) -> bool:
        """Do what is to go wrong; whether that was the last of it."""
        how, transport = self._how, self._connection.transport
        if how.fault == "drop":
            transport.abort()
        elif how.fault == "garbage":
            self._write(b'data: {"choices": [{"delta": {"content": \xff\xfe nonsense\n\n: a comment\n\nevent: odd\n\n')
            self._end()
        elif how.fault == "error-chunk":
            self._write(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')
            self._end()
        return True

    def _end(self) -> None:
        how, entry = self._how, self._entry
        usage = {
            "prompt_tokens": entry.prompt_tokens,
            "completion_tokens": entry.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": how.cached_tokens},
        }
        self._close_books(time.monotonic_ns())
        if not how.streamed:
            message = {"role": "assistant", "content": "".join(how.tokens), "reasoning_content": "".join(how.reasoning)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._connection.document(200, {"choices": [choice], "usage": usage}, how.keep_alive)
            return
        if how.finish:
            self._chunk({}, "stop")
        if how.usage:
            self._write(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
        if how.done:
            self._write(b"data: [DONE]\n\n")
        self._connection.transport.write(b"0\r\n\r\n")
        if not how.keep_alive:
            self._connection.transport.close()

    def _enter(self, phase: str, t_ns: int) -> None:
        changes = {phase: 1} | ({self._phase: -1} if self._phase else {})
        self._phase = phase
        self._server.phase(t_ns, **changes)

    def _close_books(self, t_ns: int) -> None:
        self._entry.end_ns = t_ns
        if self._phase:
            self._server.phase(t_ns, **{self._phase: -1})
            self._phase = None

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        said = {"delta": delta} if "messages" in self._entry.body else {"text": delta.get("content") or ""}
        choice = {"index": 0, **said, "finish_reason": finish_reason}
        if (delta.get("content") or delta.get("reasoning_content")) and self._entry.body.get("logprobs"):
            each = self._how.logprob
            chat = {"content": [{"token": "t", "logprob": each, "bytes": None, "top_logprobs": []}]}
            choice["logprobs"] = chat if "messages" in self._entry.body else {"token_logprobs": [each]}
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "stand-in", "choices": [choice]}
        self._write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        self._connection.transport.write(b"%x\r\n%s\r\n" % (len(data), data))


async def _listen(server: Server, port: int) -> asyncio.Server:
    listener = await asyncio.get_running_loop().create_server(
        lambda: _Connection(server), "127.0.0.1", port, backlog=1024
    )
    server.listener = listener
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    return listener


@contextmanager
def serving(
    behave: Behave | Behaviour | None = None,
    *,
    models: Sequence[str] | None = ("stand-in",),
    on_state: OnState | None = None,
    port: int = 0,
) -> Iterator[Server]:
    """Serve from a thread of this process. Without `models` the list of models fails."""
    how = Behaviour() if behave is None else behave
    server = Server(how if callable(how) else lambda _: how, models, on_state)
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        listener = await _listen(server, port)
        ready.set()
        await stop.wait()
        listener.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    ready.wait(120)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def main() -> None:
    """Serve as a process until standard input closes; then write the books."""
    parser = argparse.ArgumentParser(description="A stand-in for an OpenAI-compatible server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--prefill-s", type=float, default=0.0)
    parser.add_argument("--token-s", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=1)
    parser.add_argument("--right", action="store_true", help="repeat the question instead")
    parser.add_argument("--books", type=Path)
    options = parser.parse_args()
    timing = {"prefill_s": options.prefill_s, "token_s": options.token_s}

    def behave(request: Request) -> Behaviour:
        return Behaviour(tokens=[request.prompt] if options.right else [" word"] * options.tokens, **timing)

    server = Server(behave, ("stand-in",), None)

    async def serve() -> None:
        await _listen(server, options.port)
        print(server.url, flush=True)  # noqa: T201
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    asyncio.run(serve())
    if options.books:
        options.books.write_text(json.dumps([asdict(entry) for entry in server.books]))


if __name__ == "__main__":
    main()
