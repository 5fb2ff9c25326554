"""A server that answers in bytes that were written down, and a client that reads the bytes of an answer as they are."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Piece = bytes | float
"""Bytes to write at once, or seconds to wait."""
BREAK_OFF = b"<break off>"
"""In place of a piece: the connection is reset."""


@dataclass(frozen=True)
class Exchange:
    """A request, and the answer that is written down for it."""

    name: str
    answer: Sequence[Piece]
    method: str = "POST"
    target: str = "/v1/chat/completions"
    body: bytes = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true}'
    headers: Sequence[str] = ("Content-Type: application/json",)


class Heard(NamedTuple):
    """A request as the server heard it."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes


class Got(NamedTuple):
    """An answer as a client read it."""

    status_line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool


def sse(*events: Any, name: str | None = None) -> bytes:
    lines = [f"data: {e if isinstance(e, str) else json.dumps(e)}\n\n".encode() for e in events]
    return b"".join((f"event: {name}\n".encode() if name else b"") + line for line in lines)


def head(status: str = "200 OK", *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def chunked(*pieces: bytes, kind: str = "text/event-stream") -> list[Piece]:
    framed: list[Piece] = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [head("200 OK", f"Content-Type: {kind}", "Transfer-Encoding: chunked"), *framed, b"0\r\n\r\n"]


def with_length(body: bytes, status: str = "200 OK", *lines: str) -> list[Piece]:
    return [head(status, *lines, f"Content-Length: {len(body)}"), body] if body else [
        head(status, *lines, "Content-Length: 0")
    ]  # fmt: skip


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, **more}]}


STREAM = sse(delta("he"), delta("llo"), delta("", finish_reason="stop"), "[DONE]")
BIG = json.dumps({"choices": [{"message": {"content": "x" * (1 << 20)}, "finish_reason": "stop"}]}).encode()
TOOLS = sse(
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None, "tool_calls": [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": ""}}]}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1'}}]}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": ', "b": 2}'}}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 7}}, "[DONE]",
)  # fmt: skip
BYTE_BY_BYTE: list[Piece] = [bytes([byte]) for byte in b"".join(p for p in chunked(STREAM) if isinstance(p, bytes))]
EXCHANGES = [
    Exchange("a stream", chunked(*STREAM.splitlines(keepends=True))),
    Exchange("a stream of tool calls", chunked(TOOLS)),
    Exchange("every byte by itself", BYTE_BY_BYTE),
    Exchange("chunks that cut events and characters", chunked(*(STREAM + "é\U0001f600".encode())[::1].split(b"l"))),
    Exchange("chunks with extensions and trailers", [
        head("200 OK", "Transfer-Encoding: chunked", "Trailer: X-Sum"), b"5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"]),
    Exchange("an answer that ends with its connection", [head("200 OK", "Content-Type: text/event-stream"), STREAM]),
    Exchange("a whole answer", with_length(b'{"choices": [{"message": {"content": "hi"}}]}')),
    Exchange("an answer of a megabyte", with_length(BIG)),
    Exchange("a request of a megabyte", with_length(b"{}"), body=json.dumps({"messages": ["y" * (1 << 20)]}).encode()),
    Exchange("a body that is no JSON", with_length(b"{}"), body=b"\x00\xff{"),
    Exchange("a refusal", with_length(b'{"error": {"message": "no"}}', "429 Too Many Requests", "Retry-After: 7")),
    Exchange("an error of the server's", with_length(b"oops", "500 Internal Server Error", "Content-Type: text/plain")),
    Exchange("a status of nobody's", with_length(b"tea", "418 I'm a teapot")),
    Exchange("a status without a phrase", with_length(b"x", "299 ")),
    Exchange("an error after 200", chunked(sse({"error": {"message": "out of memory", "code": 500}}))),
    Exchange("a page in place of an answer", with_length(b"<html>502</html>", "502 Bad Gateway")),
    Exchange("nothing", [head("204 No Content", "X-Request-Id: 5")]),
    Exchange("headers twice, and odd ones", [head(
        "200 OK", "Set-Cookie: a=1", "set-cookie: b=2", "X-Empty:", "x-ratelimit-remaining: 1", "Content-Length: 2",
        "Date: Thu, 01 Jan 1970 00:00:00 GMT", "Server: other"), b"{}"]),
    Exchange("a compressed answer", with_length(gzip.compress(STREAM, mtime=0), "200 OK", "Content-Encoding: gzip")),
    Exchange("a compressed stream", chunked(gzip.compress(STREAM, mtime=0)[:20], gzip.compress(STREAM, mtime=0)[20:])),
    Exchange("what is no text", with_length(bytes(range(256)) * 9), target="/v1/audio/speech"),
    Exchange("a list of models", with_length(b'{"data": []}'), method="GET", target="/v1/models?limit=2", body=b""),
    Exchange("an unknown place", with_length(b"x"), method="DELETE", target="/v1/files/a%20b?x=%2F&y", body=b""),
    Exchange("a head alone", [head("200 OK", "Content-Length: 77")], method="HEAD", target="/v1/models", body=b""),
    Exchange("an interim answer first", [b"HTTP/1.1 103 Early Hints\r\n\r\n", *with_length(b"{}")]),
    Exchange("an answer of old", [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b'{"choices": []}']),
    Exchange("leave to ask from elsewhere", [head("204 No Content", "Access-Control-Allow-Origin: *", "Allow: POST")],
             method="OPTIONS", body=b"", headers=("Origin: http://a", "Access-Control-Request-Method: POST")),
    Exchange("comments and both line ends", chunked(b": here\r\n\r\n", STREAM.replace(b"\n", b"\r\n"), b":\r\n\r\n")),
    Exchange("a mark of bytes' order and lone returns", chunked(b"\xef\xbb\xbf" + STREAM.replace(b"\n", b"\r"))),
    Exchange("a head of 300 kB", with_length(b"{}", "200 OK", *(f"X-{i}: " + "b" * 6000 for i in range(50)))),
    Exchange("a header of 60 kB", with_length(b"{}"), headers=("X-Long: " + "a" * 60_000,)),
    Exchange("sizes in capitals with zeros", [head("200 OK", "Transfer-Encoding: chunked"),
                                              b"00A\r\n0123456789\r\n000\r\n\r\n"]),
    Exchange("bytes that are no text in a header", [b"HTTP/1.1 200 OK\r\nX-A: caf\xe9\r\nContent-Length: 2\r\n\r\n{}"]),
    Exchange("a word of nobody's", with_length(b"{}"), method="PURGE", target="//v1//x/../y?a=b;c&d=%00%ff+e",
             body=b""),
    Exchange("a body where none is expected", with_length(b"{}"), method="GET", target="/v1/models", body=b'{"a": 1}'),
    Exchange("not modified", [head("304 Not Modified", "ETag: x", "Content-Length: 99")], method="GET", body=b""),
    Exchange("a stream that breaks off", [*chunked(STREAM)[:2], BREAK_OFF]),
    Exchange("a length that is not kept", [head("200 OK", "Content-Length: 50"), b"short", BREAK_OFF]),
]  # fmt: skip


@dataclass
class Server:
    """Answers by what is written down; keeps what it heard."""

    answer: Sequence[Piece] = ()
    heard: list[Heard] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self._answer(reader, writer)
        finally:
            self.tasks.discard(task)
            writer.transport.abort()
            await asyncio.sleep(0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines[1:] if line)]
                length = next((int(v) for n, v in headers if n.lower() == "content-length"), 0)
                self.heard.append(Heard(lines[0], headers, await reader.readexactly(length)))
                await self._write(writer, reader)
                if not any(n.lower() in {b"content-length", b"transfer-encoding"} for n, _ in _headers(self.answer)):
                    writer.write_eof()
                    await reader.read()
                    break

    async def _write(self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        for piece in self.answer:
            if isinstance(piece, float):
                try:
                    async with asyncio.timeout(piece):
                        if not await reader.read(1):
                            self.left.set()
                except TimeoutError:
                    continue
            elif piece is BREAK_OFF:
                writer.transport.abort()
                raise ConnectionError
            else:
                writer.write(piece)
                await writer.drain()
                if len(self.answer) > 100:
                    await asyncio.sleep(0)


def _headers(answer: Sequence[Piece]) -> list[tuple[bytes, bytes]]:
    whole = b"".join(piece for piece in answer if isinstance(piece, bytes))
    return parted(whole.rpartition(b"\r\n\r\n")[0] if whole.startswith(b"HTTP/1.1 103") else whole)[1]


@asynccontextmanager
async def served(answer: Sequence[Piece]) -> AsyncIterator[Server]:
    """Serve what is written down, for a moment."""
    server = Server(answer)
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


def parted(answer: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Part status line, headers and all that follows."""
    top, _, rest = answer.partition(b"\r\n\r\n")
    while top.startswith(b"HTTP/1.1 1"):  # interim
        top, _, rest = rest.partition(b"\r\n\r\n")
    first, *lines = top.split(b"\r\n")
    return first, [(n, v.strip()) for n, _, v in (line.partition(b":") for line in lines)], rest


async def ask(
    port: int, exchange: Exchange, more: Sequence[str] = (), until: Callable[[bytes], bool] | None = None
) -> Got:
    """Ask over a connection of its own, and read until the answer is whole or the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = [f"Content-Length: {len(exchange.body)}"] if exchange.body else []
    lines = [
        f"{exchange.method} {exchange.target} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        *exchange.headers,
        *more,
        *length,
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + exchange.body)
    data, whole = b"", False
    try:
        while not whole:
            block = await reader.read(1 << 16)
            if not block:
                break
            data += block
            whole = _whole(data, exchange.method) or (until is not None and until(data))
    except ConnectionError:
        pass
    writer.transport.abort()
    await asyncio.sleep(0)
    status_line, headers, rest = parted(data)
    named = {name.lower(): value for name, value in headers}
    return Got(status_line, headers, _dechunked(rest) if b"transfer-encoding" in named else rest, whole)


def _whole(data: bytes, method: str) -> bool:
    status_line, headers, rest = parted(data)
    named = {name.lower(): value for name, value in headers}
    if b"\r\n\r\n" not in data or (data.startswith(b"HTTP/1.1 1") and not status_line):
        return False
    if method == "HEAD" or status_line.split(b" ")[1] in {b"204", b"304"}:
        return True
    if b"transfer-encoding" in named:
        return rest.endswith((b"0\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n"))
    return b"content-length" in named and len(rest) >= int(named[b"content-length"])


def _dechunked(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        count = int(size.partition(b";")[0] or b"0", 16)
        if not count:
            break
        body, data = body + data[:count], data[count + 2 :]
    return body
