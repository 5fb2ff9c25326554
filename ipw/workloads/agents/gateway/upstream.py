"""The way to the server: requests as they came, over connections that are kept, and bytes back as they are read.

It is the client of `ipw run lm`: bytes are stamped where they are read from the socket, and go to whoever asked in one
call, without a queue or a task between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from ipw.clock import now_ns
from ipw.workloads.agents.gateway.heads import Header
from ipw.workloads.lm.http.connection import Connection, Exchange
from ipw.workloads.lm.http.parser import HttpError, ResponseParser
from ipw.workloads.lm.http.transport import Transport

EMPTY = (204, 304)


class Sink(Protocol):
    """Takes an answer as it is read."""

    begun: bool

    def sent(self, t_ns: int) -> None:
        """Note when the request is written to the socket."""

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Take status and headers by name, in lower case."""

    def block(self, data: bytes, t_ns: int) -> bool:
        """Take some bytes of the body, as they were sent."""

    def chunk(self, framed: bytes, data: bytes, t_ns: int) -> None:
        """Take some bytes of the body that came as one chunk, with its framing and without."""


class PassedParser(ResponseParser):
    """Reads an answer and keeps its head as it was written."""

    most_head = 1 << 20  # more than clients take: what is too long for one is its own to refuse

    def __init__(self, *, bodiless: bool) -> None:
        super().__init__()
        self.status_line = b""
        self.raw: list[Header] = []
        self._bodiless = bodiless

    @property
    def length(self) -> bytes | None:
        """How long the body is said to be; `None` where only its end tells."""
        told = self.headers.get("content-length")
        return None if told is None or "transfer-encoding" in self.headers else told.encode("latin-1")

    def _read_head(self, head: str) -> None:
        super()._read_head(head)
        first, *lines = head.encode("latin-1").replace(b"\r\n", b"\n").split(b"\n")
        self.status_line = b"HTTP/1.1 " + first.partition(b" ")[2]
        self.raw = []
        for line in lines:
            if line[:1] in {b" ", b"\t"} and self.raw:
                name, value = self.raw.pop()
                self.raw.append((name, value + b" " + line.strip()))
            else:
                name, _, value = line.partition(b":")
                self.raw.append((name.strip(), value.strip()))

    def _frame(self) -> None:
        super()._frame()
        if self._bodiless:  # it is over with its head, as that of a HEAD request is
            self.end()


class Passing(Exchange):
    """One answer on its way through: bytes of the body are told as they were sent, compressed or not."""

    def __init__(self, sink: Sink, *, bodiless: bool) -> None:
        super().__init__(sink)
        self._sink = sink
        self.parser = self.passed = PassedParser(bodiless=bodiless)

    def take(self, data: bytes, t_ns: int) -> None:
        """Pass on what was read at `t_ns`. Raises HttpError."""
        self.last_ns = t_ns
        if self._head_told and (body := self.passed.whole_chunk(data)):
            if not self.finished.done():
                self._sink.chunk(data, body, t_ns)
            return
        body = self.parser.feed(data)
        if not self._head_told and self.parser.has_head:
            self._head_told = True
            self.receiver.head(self.parser.status, self.parser.headers)
        if body and not self.finished.done():
            self.receiver.block(body, t_ns)
        if self.parser.done:
            self.finish()


class Upstream(Transport):
    """Connections to the server."""

    async def connection(self) -> Connection:
        """Take one that is free, or make one. Raises OSError."""
        return self._free() or await self._connect()

    @asynccontextmanager
    async def asked(self, connection: Connection, request: bytes, exchange: Passing) -> AsyncIterator[None]:
        """Send a request; as the block ends, wait until its answer has come whole.

        Raises HttpError or OSError where it has not.
        """
        try:
            exchange.receiver.sent(now_ns())
            connection.send(request, exchange)
            yield
            await exchange.finished
        except BaseException:
            connection.abort()
            raise


__all__ = ["HttpError", "Passing", "Sink", "Upstream"]
