"""One HTTP/1.1 connection whose bytes are stamped where they are read from the socket.

A client library hands bytes on through queues and tasks: a stamp is then late by as much as the event loop is behind,
and a streamed token costs more than twice the time (tools/bench/client.py). Here a block goes from the socket to
whoever asked in one call.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

from ipw.clock import now_ns
from ipw.workloads.lm.http.content_coding import ContentCoding
from ipw.workloads.lm.http.parser import HttpError, ResponseParser

READ_BYTES = 64 * 1024
DRAIN_S = 1.0
"""How long a connection may take to end an answer of which all that is wanted has come."""


class Receiver(Protocol):
    """Takes one response as it comes."""

    @property
    def begun(self) -> bool:
        """Whether the answer proper has begun, so that silence is no longer thinking time."""

    def sent(self, t_ns: int) -> None:
        """Note when the request is written to the socket."""

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Take the status and the headers (names in lower case)."""

    def block(self, data: bytes, t_ns: int) -> bool:
        """Take some bytes of the body, read at `t_ns`; whether that was all that is wanted."""


class Exchange:
    """One request's response on its way to the receiver."""

    def __init__(self, receiver: Receiver) -> None:
        self.parser = ResponseParser()
        self.finished = asyncio.get_running_loop().create_future()
        self.receiver = receiver
        self.last_ns = 0
        """When the last bytes came; 0 before the first."""
        self._head_told = False
        self._coding: ContentCoding | None = None
        self._plain = False
        """Whether all that comes is the body, as it is."""

    def take(self, data: bytes, t_ns: int) -> None:
        """Pass on what was read at `t_ns`. Raises HttpError."""
        self.last_ns = t_ns
        body = self.parser.feed(data)
        if not self._plain:
            body = self._begun(body)
        if body and not self.finished.done() and self.receiver.block(body, t_ns):
            self.finish()
        if self.parser.done:
            self.finish()

    def _begun(self, body: bytes) -> bytes:
        """Tell the head once it is there, and undo what compresses the body."""
        if not self._head_told and self.parser.has_head:
            self._head_told = True
            self.receiver.head(self.parser.status, self.parser.headers)
            self._coding = ContentCoding(self.parser.headers)
        if body and self._coding is not None and not self.finished.done():
            body = self._coding.feed(body)
            if self._coding.plain:
                self._plain, self._coding = True, None
        return body

    def finish(self, error: Exception | None = None) -> None:
        """Let the request return, or raise `error`; the first call counts."""
        if self.finished.done():
            return
        if error is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(error)


class Owner(Protocol):
    """Keeps connections for the next request."""

    buffer: memoryview
    """Where all of them are read to, one after the other."""

    def opened(self, connection: Connection) -> None:
        """Take note of a connection that is up."""

    def rested(self, connection: Connection) -> None:
        """Take back a connection whose response has come whole, and which both sides will keep."""

    def closed(self, connection: Connection) -> None:
        """Take note of a connection that is no more."""


class Connection(asyncio.BufferedProtocol):
    """One socket, with one request on it at a time."""

    _transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self.idle_since = time.monotonic()
        """When the last response had come whole."""
        self._owner = owner
        self._exchange: Exchange | None = None
        self._buffer = owner.buffer

    @property
    def usable(self) -> bool:
        """Whether another request can go out here."""
        return not self._transport.is_closing()

    @property
    def transport(self) -> asyncio.Transport:
        """The socket, to hold up what comes from it."""
        return self._transport

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._exchange is not None and not self._exchange.finished.done()

    @property
    def heard_ns(self) -> int:
        """When bytes of the answer came last that is on its way; 0 before the first, and without any."""
        return self._exchange.last_ns if self._exchange else 0

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Write a request, whose response `exchange` takes."""
        self._exchange = exchange
        self._transport.write(request)

    def abort(self) -> None:
        """Close at once; harmless to call twice."""
        self._transport.abort()

    def drain(self, exchange: Exchange) -> None:
        """Let the rest of an answer come, so that the connection can be used again, but not for long."""
        if self._exchange is exchange:
            asyncio.get_running_loop().call_later(DRAIN_S, self._abort_if_at, exchange)

    def _abort_if_at(self, exchange: Exchange) -> None:
        if self._exchange is exchange:
            self.abort()

    # --- asyncio ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know the socket."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's have all of it, and another parent
        self._owner.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (asyncio's signature)
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes from the socket."""
        t_ns = now_ns()
        exchange = self._exchange
        if exchange is None:
            self.abort()  # nobody asked
            return
        try:
            exchange.take(self._buffer[:nbytes].tobytes(), t_ns)
        except HttpError as error:
            exchange.finish(error)
            self.abort()
            return
        if exchange.parser.done:
            self._exchange = None
            if exchange.parser.keep_alive:
                self.idle_since = time.monotonic()
                self._owner.rested(self)
            else:
                self.abort()

    def eof_received(self) -> None:
        """Note that the server sends no more."""
        if self._exchange is not None:
            try:
                self._exchange.parser.eof()
                self._exchange.finish()
            except HttpError as error:
                self._exchange.finish(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the socket."""
        self._owner.closed(self)
        if self._exchange is not None:
            self._exchange.finish(exc or HttpError("the connection was closed before the answer was whole"))
