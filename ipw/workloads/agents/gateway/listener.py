"""The gateway's own server: who may speak to it, and where each request goes."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from ipw.clock import now_ns
from ipw.errors import IpwError, UsageError
from ipw.variables import GATEWAY_TOKEN, TOKEN_HEADER
from ipw.workloads.agents.gateway.heads import Header, by_name, request_head
from ipw.workloads.agents.gateway.names import task_in_path
from ipw.workloads.agents.gateway.recorder import LEFT, Recorder
from ipw.workloads.agents.gateway.relay import Relay, refusal, relay, spoken_to
from ipw.workloads.agents.gateway.tunnel import tunnel, wants_tunnel
from ipw.workloads.agents.gateway.upstream import Upstream
from ipw.workloads.agents.gateway.watched import Watched
from ipw.workloads.agents.reading.apis import api_of
from ipw.workloads.lm.http.url import ServerUrl

LONGEST_LINE = 1 << 20
"""Of a request's head: more than servers take, whose own it is to refuse."""
BACKLOG = 2048
FILES = 65536
"""Sockets that may be open at once, as far as the system allows: two for each request."""
TOKEN = TOKEN_HEADER.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where the gateway listens, and whom it lets in."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    """Of the server: sent for those that were let in by the token in place of a key."""

    def check(self) -> None:
        """Raise UsageError where others than this machine could come in without a token."""
        if not is_loopback(self.host) and not self.token:
            raise UsageError(
                f"--host {self.host} lets other machines in, and there is no token",
                f"set {GATEWAY_TOKEN}; clients give it as their API key, or in the header {TOKEN_HEADER}",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def listening(door: Door, server: ServerUrl, recorder: Recorder) -> AsyncIterator[tuple[str, int]]:
    """Serve until the block ends; gives the host and the port. Raises IpwError where it cannot listen."""
    _more_files()
    loop = asyncio.get_running_loop()
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # what clients send wrongly is answered, not told
    async with Upstream(server) as upstream:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await _handle(request, door, server, upstream, recorder)

        def made(
            message: RawRequestMessage,
            payload: StreamReader,
            protocol: RequestHandler,
            writer: AbstractStreamWriter,
            task: asyncio.Task[None],
        ) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=0)

        front = web.Server(
            handle,
            request_factory=made,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=1000,
            lingering_time=0.0,
        )
        runner = web.ServerRunner(front, shutdown_timeout=0.5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, door.host, door.port, backlog=BACKLOG)
            try:
                await site.start()
            except OSError as error:
                told = f"the gateway cannot listen at {door.host}:{door.port}: {error.strerror}"
                raise IpwError(told, "choose another --port") from None
            yield door.host, int(runner.addresses[0][1])
        finally:
            await runner.cleanup()


async def _handle(
    request: web.BaseRequest, door: Door, server: ServerUrl, upstream: Upstream, recorder: Recorder
) -> web.StreamResponse:
    headers: Sequence[Header] = request.raw_headers
    if door.token:
        let_in = _let_in(headers, door)
        if let_in is None:
            return refusal(401, f"ipw's gateway asks for its token, as the API key or in the header {TOKEN_HEADER}")
        headers = let_in
    named, target = task_in_path(request.raw_path)
    known = by_name(headers)
    if wants_tunnel(known):
        began_ns = now_ns()
        try:
            return await tunnel(request, server, target, headers)
        finally:
            recorder.passed(request.method, target, headers, began_ns)
    api = api_of(request.method, target)
    watch = partial(Watched, api, target, headers, known, named, _client(request)) if api else None
    transport = request.transport
    if transport is None:
        raise ConnectionResetError(LEFT)
    if spoken_to(known):
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await request.read()
    length = len(body) if body or request.method in {"POST", "PUT", "PATCH"} else None
    head = request_head(request.method, target, server.authority, headers, length)
    return await relay(Relay(request, transport), upstream, recorder, head, body, target, watch)


def _let_in(headers: Sequence[Header], door: Door) -> list[Header] | None:
    """Check the token; returns the headers to pass on, in which it is no more, or `None`."""
    token = door.token or ""
    kept, known = [], False
    for name, value in headers:
        text = value.decode("latin-1").strip()
        lower = name.lower()
        given = text.partition(" ")[2].strip() if lower == b"authorization" else text
        if lower in {TOKEN, b"authorization", b"x-api-key", b"api-key"} and _same(given, token):
            known = True
            if lower != TOKEN and door.key:
                kept.append((name, value.replace(token.encode(), door.key.encode())))
        else:
            kept.append((name, value))
    return kept if known else None


def _client(request: web.BaseRequest) -> int | None:
    """Give the port of the connection that a request came over."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return int(peer[1]) if isinstance(peer, tuple) else None


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


def _more_files() -> None:
    """Let more sockets be open at once, as far as the system lets a program."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
