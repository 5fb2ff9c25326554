"""The connections to one server, and requests over them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections import deque
from typing import Self

from ipw.clock import now_ns
from ipw.workloads.lm.http.connection import READ_BYTES, Connection, Exchange, Receiver
from ipw.workloads.lm.http.url import ServerUrl

CONNECT_S = 10.0
LEAST_WAIT_S = 0.05
"""Between looks at an answer that has stopped coming."""
SETTLE_S, REUSE_S = 0.01, 2.0
"""A connection is used again while it has been idle for longer than the first and less than the second.

Some servers close what they had promised to keep, llama.cpp's right behind the answer, others after a few seconds; a
question that crosses with that is lost, and must not be sent twice.
"""


class Transport:
    """Connections to one server, kept for the next request. As a context it closes them."""

    def __init__(self, server: ServerUrl, key: str | None = None) -> None:
        # asyncio's plain protocols allocate 256 KiB for every read, which costs more than all else together. What is
        # read is taken before the loop reads again, from whichever connection: so one buffer serves all.
        self.buffer = memoryview(bytearray(READ_BYTES))
        self._server = server
        self._headers = _headers(server, key)
        self._tls = ssl.create_default_context() if server.tls else None
        self._reuse = True
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)  # the loop closes the sockets

    async def request(
        self, method: str, path: str, body: bytes, receiver: Receiver, stall_s: float | None = None
    ) -> None:
        """Send a request and give the response to `receiver`; a connection is made first where none is free.

        Raises OSError where there is no connection, TimeoutError after `stall_s` without a byte in the middle of an
        answer and HttpError for what is not HTTP.
        """
        head = f"{method} {self._server.path}{path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n{self._headers}\r\n"
        connection = self._free() or await self._connect()
        exchange = Exchange(receiver)
        watch = _Watch(exchange, stall_s) if stall_s else None
        try:
            receiver.sent(now_ns())
            connection.send(head.encode() + body, exchange)
            await exchange.finished
        except BaseException:
            connection.abort()
            raise
        finally:
            if watch:
                watch.end()
        connection.drain(exchange)

    def waiting(self) -> bool:
        """Whether an answer is to come over any connection."""
        return any(connection.waiting for connection in self._open)

    def heard_ns(self) -> int:
        """When bytes came last of an answer that is on its way; 0 where none is."""
        return max((connection.heard_ns for connection in self._open), default=0)

    # --- what connections tell --------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """Take note of a connection that is up."""
        self._open.add(connection)

    def rested(self, connection: Connection) -> None:
        """Take back a connection for the next request."""
        if self._reuse:
            self._idle.append(connection)
        else:
            connection.abort()

    def closed(self, connection: Connection) -> None:
        """Forget a connection; a server that closes one so soon is not trusted with a second question on any."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            self._reuse = self._reuse and _idle_s(connection) > REUSE_S

    def _free(self) -> Connection | None:
        """The connection that has been idle for longest, if it is fit for use."""
        while self._idle and _idle_s(self._idle[0]) > SETTLE_S:
            connection = self._idle.popleft()
            if connection.usable and _idle_s(connection) < REUSE_S:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, connection = await loop.create_connection(
                    lambda: Connection(self), self._server.host, self._server.port, ssl=self._tls
                )
        except TimeoutError:
            raise TimeoutError(f"no connection within {CONNECT_S:g} s") from None
        except UnicodeError:
            raise OSError(f"{self._server.host!r} is not a host name") from None
        return connection


def _idle_s(connection: Connection) -> float:
    return time.monotonic() - connection.idle_since


class _Watch:
    """Fails an exchange whose answer has stopped coming: one timer at a time, however many blocks come."""

    def __init__(self, exchange: Exchange, stall_s: float) -> None:
        self._exchange, self._stall_s = exchange, stall_s
        self._wait(stall_s)

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _wait(self, wait_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        begun = self._exchange.receiver.begun
        silent_s = (now_ns() - self._exchange.last_ns) / 1e9 if begun else 0.0
        if silent_s >= self._stall_s:
            self._exchange.finish(TimeoutError(f"nothing came for {self._stall_s:g} s in the middle of the answer"))
        else:
            self._wait(max(self._stall_s - silent_s, LEAST_WAIT_S))


def reason(error: OSError) -> str:
    """Why there is no connection, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror | ssl.SSLError) or error.errno is None:
        return error.strerror or "it cannot be reached at any of its addresses"
    return os.strerror(error.errno).lower()


def _headers(server: ServerUrl, key: str | None) -> str:
    lines = [
        f"Host: {server.authority}",
        "User-Agent: ipw",
        "Accept: text/event-stream, application/json",
        "Accept-Encoding: identity",
        "Content-Type: application/json",
        *([f"Authorization: Bearer {key}"] if key else []),
    ]
    return "".join(f"{line}\r\n" for line in lines)
