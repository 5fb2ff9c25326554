"""aiohttp's side of a client, which lets a request go on in the moment in which it was read.

aiohttp gives a request to its handler two turns of the event loop later, and in each turn all that came meanwhile of
other requests is passed on first. So a whole request for which a connection to the server is free goes out at once; its
handler finds it on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from ipw.workloads.agents.gateway.recorder import LEFT
from ipw.workloads.agents.gateway.relay import Relay

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Factory = Callable[
    [RawRequestMessage, StreamReader, RequestHandler, AbstractStreamWriter, "asyncio.Task[None]"], web.BaseRequest
]
Begin = Callable[[RawRequestMessage, StreamReader, asyncio.Transport], Relay | None]
"""Sends a request that has come whole; `None` for one that is not to be sent so soon."""


class Front(RequestHandler):
    """One connection of a client."""

    def __init__(self, server: FrontServer, begin: Begin, **options: Any) -> None:
        super().__init__(server, **options)
        self._begin = begin
        self._on_its_way: Relay | None = None

    def taken(self) -> Relay | None:
        """Give the request that is on its way, to whom it belongs from then on."""
        way, self._on_its_way = self._on_its_way, None
        return way

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        super().data_received(data)
        # names of aiohttp's own, which may go: then every request takes the longer way
        waits: object = getattr(self, "_waiter", None)
        messages: Sequence[Any] = getattr(self, "_messages", ())
        if not data or waits is None or len(messages) != 1 or self._on_its_way is not None:
            return  # it calls this without data where a body is read
        message, payload = messages[0]
        if isinstance(message, RawRequestMessage) and payload.is_eof() and self.transport is not None:
            self._on_its_way = self._begin(message, payload, self.transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the client; a request that no handler has taken ends here."""
        way = self.taken()
        if way:
            way.ended(LEFT)
        super().connection_lost(exc)


class FrontServer(web.Server):
    """Makes them."""

    def __init__(self, handler: Handler, factory: Factory, begin: Begin, **options: Any) -> None:
        super().__init__(handler, request_factory=factory, handler_cancellation=True, **options)
        self._begin, self._options = begin, options

    def __call__(self) -> RequestHandler:
        """Make one for a client that has come."""
        return Front(self, self._begin, loop=asyncio.get_running_loop(), **self._options)
