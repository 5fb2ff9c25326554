"""Requests that ask for another protocol, such as WebSocket: bytes both ways, of which nothing is understood."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence

from aiohttp import web

from ipw.workloads.agents.gateway.heads import ByName, Header
from ipw.workloads.agents.gateway.relay import HIGH, LOOK_S, Answered, refusal
from ipw.workloads.lm.http.transport import CONNECT_S, reason
from ipw.workloads.lm.http.url import ServerUrl

READ_BYTES = 1 << 16


class _ToServer:
    """Takes what the client sends, in place of aiohttp's reader of requests."""

    def __init__(self, server: asyncio.StreamWriter) -> None:
        self._server = server

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Send it on."""
        self._server.write(data)
        return False, b""

    def feed_eof(self) -> None:
        """Say that the client sends no more."""
        if self._server.can_write_eof() and not self._server.is_closing():
            self._server.write_eof()

    def set_exception(self, *_error: object) -> None:
        """Leave it to the cancellation of the request."""


def wants_tunnel(headers: ByName) -> bool:
    """Whether a request asks for another protocol."""
    return b"upgrade" in headers


async def tunnel(
    request: web.BaseRequest, server: ServerUrl, target: str, headers: Sequence[Header]
) -> web.StreamResponse:
    """Pass bytes both ways until one side has ended."""
    client = request.transport
    if client is None:
        raise ConnectionResetError
    lines = [f"{request.method} {target} HTTP/1.1".encode(), b"Host: " + server.authority.encode()]
    lines += [name + b": " + value for name, value in headers if name.lower() != b"host" and name[:6] != b"x-ipw-"]
    try:
        async with asyncio.timeout(CONNECT_S):
            tls = ssl.create_default_context() if server.tls else None
            reader, writer = await asyncio.open_connection(server.host, server.port, ssl=tls)
    except OSError as error:  # TimeoutError is one
        return refusal(502, f"the server behind ipw's gateway gives no answer: the connection failed: {reason(error)}")
    try:
        writer.write(b"\r\n".join([*lines, b"", b""]))
        request.protocol.set_parser(_ToServer(writer))  # type: ignore[arg-type] # it calls these three alone
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(READ_BYTES):
                client.write(data)
                while client.get_write_buffer_size() > HIGH and not client.is_closing():  # noqa: ASYNC110 - as in relay.py
                    await asyncio.sleep(LOOK_S)
    finally:
        writer.transport.abort()
        client.close()
    return Answered(keeps=False)
