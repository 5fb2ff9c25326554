"""One request through the gateway: read by aiohttp, passed on as it came, and answered in the server's own bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from ipw.clock import now_ns
from ipw.workloads.agents.gateway.heads import ByName, Header, answer_head
from ipw.workloads.agents.gateway.recorder import LEFT, Recorder
from ipw.workloads.agents.gateway.upstream import EMPTY, HttpError, Passing, Upstream
from ipw.workloads.agents.gateway.watched import Watched
from ipw.workloads.lm.http.transport import reason

HIGH, LOW = 1 << 20, 1 << 16
"""Bytes that wait for a slow client, at which the server is no longer read, and at which it is again."""
LOOK_S = 0.01
Watch = Callable[[], Watched]
"""Begins to look at a request."""


class Answered(web.StreamResponse):
    """An answer whose bytes have gone out already: aiohttp has nothing to add."""

    def __init__(self, *, keeps: bool) -> None:
        super().__init__()
        self._keeps = keeps

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection can take another request."""
        return self._keeps

    async def prepare(self, request: web.BaseRequest) -> Any:
        """Send nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


class Relay:
    """The answer of one request on its way to the client. Every block is written in the moment in which it was read."""

    begun = False

    def __init__(self, request: web.BaseRequest, transport: asyncio.Transport) -> None:
        self.exchange: Passing | None = None
        self.watched: Watched | None = None
        """What is known of the request, once it is on its way, if anything is to be."""
        self.sent_ns = 0
        self.told = False
        """Whether the client has the head of the answer."""
        self.keeps = False
        self.request, self._client = request, transport
        self._chunked = False
        self._held: asyncio.Task[None] | None = None
        self._server: asyncio.Transport | None = None

    def reads(self, server: asyncio.Transport) -> None:
        """Know where the answer comes from, so that it can be held up for a slow client."""
        self._server = server

    def sent(self, t_ns: int) -> None:
        """Note when the request is written to the socket."""
        self.sent_ns = t_ns

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Send the head on, with the framing that the client can read."""
        assert self.exchange is not None
        parser = self.exchange.passed
        modern = self.request.version >= (1, 1)
        framing: list[Header] = []
        bodiless = self.request.method == "HEAD" or status in EMPTY
        self.keeps = modern and self.request.keep_alive
        if parser.length is not None:
            framing = [(b"Content-Length", parser.length)]
        elif not bodiless and modern:
            framing, self._chunked = [(b"Transfer-Encoding", b"chunked")], True
        elif not bodiless:
            self.keeps = False
        if not self.keeps:
            framing.append((b"Connection", b"close"))
        self.told = True
        self._client.write(answer_head(parser.status_line, parser.raw, framing))
        if self.watched:
            self.watched.head(status, headers)

    def block(self, data: bytes, t_ns: int) -> bool:
        """Send bytes of the body on, then look at them."""
        self.chunk(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else b"", data, t_ns)
        return False

    def chunk(self, framed: bytes, data: bytes, t_ns: int) -> None:
        """Send bytes of the body on in the framing that they came in, where the client can read it."""
        self._client.write(framed if self._chunked else data)
        if self.watched:
            self.watched.block(data, t_ns)
        if self._held is None and self._client.get_write_buffer_size() > HIGH:
            self._held = asyncio.get_running_loop().create_task(self._hold())

    def end(self) -> None:
        """Say that the body is over."""
        if self._chunked:
            self._client.write(b"0\r\n\r\n")

    def give_up(self) -> None:
        """Let the client see that the answer broke off, as it would have seen it of the server."""
        self.keeps = False
        self._client.close()

    async def _hold(self) -> None:
        """Read no more from the server until the client has taken most of what waits."""
        if self._server is not None:
            self._server.pause_reading()
            # asyncio tells only a transport's own protocol, aiohttp's, when its buffer has drained
            while self._client.get_write_buffer_size() > LOW and not self._client.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
            if not self._server.is_closing():
                self._server.resume_reading()
        self._held = None


async def relay(
    way: Relay, upstream: Upstream, recorder: Recorder, head: bytes, body: bytes, target: str, watch: Watch | None
) -> web.StreamResponse:
    """Pass one request on; every end of it is kept, also that the client left."""
    request = way.request
    began_ns, failed = now_ns(), None
    try:
        connection = await upstream.connection()
        way.exchange = exchange = Passing(way, bodiless=request.method == "HEAD")
        way.reads(connection.transport)
        async with upstream.asked(connection, head + body, exchange):
            if watch:  # only now, since the request goes out first
                way.watched = recorder.begin(watch(), body, way.sent_ns)
        way.end()
    except asyncio.CancelledError:
        failed = LEFT
        raise
    except HttpError as error:
        failed = str(error)
    except OSError as error:
        failed = f"the connection failed: {reason(error)}"
    finally:
        if watch:
            # one that was never sent is known all the same: by it a later try is known as one
            recorder.end(way.watched or recorder.begin(watch(), body, began_ns), failed)
        else:
            recorder.passed(request.method, target, request.raw_headers, began_ns)
    if failed and way.told:
        way.give_up()
    elif failed:
        return refusal(502, f"the server behind ipw's gateway gives no answer: {failed}")
    return Answered(keeps=way.keeps)


def refusal(status: int, message: str) -> web.Response:
    """Answer in the gateway's own words, in the form that clients know errors by."""
    kind = "bad_gateway" if status == 502 else "unauthorized"
    return web.json_response({"error": {"message": message, "type": kind, "code": status}}, status=status)


def spoken_to(headers: ByName) -> bool:
    """Whether the client waits for a word before it sends its body."""
    return headers.get(b"expect", b"").lower() == b"100-continue"
