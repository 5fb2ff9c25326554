"""Lets readers on this machine and others see what its sensors say: over HTTP, read-only, in bounded memory.

`GET /v1/channels` tells what there is, `GET /v1/clock` what time it is here, and `GET /v1/readings?from=NUMBER` goes on
telling readings, as `power.bin` has them, for as long as the reader listens. Nothing else leaves the machine.
"""

from __future__ import annotations

import hmac
import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from socketserver import BaseRequestHandler, TCPServer, ThreadingMixIn
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ipw.clock import now_ns
from ipw.profilers.remote.requests import BadRequestError, Incoming, Request
from ipw.profilers.remote.ring import Ring
from ipw.runs.readings import RECORD

MOST_CONNECTIONS = 128
"""Each reader has two. One more is closed at once."""
STRANGER_S, IDLE_S, SEND_S = 5.0, 60.0, 10.0
"""How long a connection is kept that has not asked for anything that it may have, one that has, and one that takes
nothing of what it is sent."""
BEAT_S = 1.0
"""Where nothing is read for so long, the reader is told that the machine is there, by a record of no channel."""
NO_CHANNEL = 2**16 - 1
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
           405: "Method Not Allowed", 413: "Content Too Large", 431: "Request Header Fields Too Large"}  # fmt: skip


class Served(NamedTuple):
    """What is served."""

    ring: Ring
    facts: Callable[[], dict[str, Any]]
    """Of the machine's channels, for JSON."""
    instance: str
    """Of this process: the numbers of its readings are its own."""
    token: str | None


class Service(ThreadingMixIn, TCPServer):
    """Listens, and answers each connection in a thread of its own, which mostly waits."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, where: tuple[str, int], served: Served, tls: ssl.SSLContext | None = None) -> None:
        """Begin to listen. Raises OSError where that cannot be."""
        self.served = served
        self.closed = False
        self._tls = tls
        self._free = threading.Semaphore(MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        super().__init__(where, Reader)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection; what TLS has to agree on first is left to its own thread."""
        connection, address = super().get_request()
        connection.settimeout(STRANGER_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, unless there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, in that thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def server_close(self) -> None:
        """Listen no more, and let those who read know."""
        self.closed = True
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: whatever a connection brought, it is closed, and the others go on."""


class Reader(BaseRequestHandler):
    """One connection."""

    request: socket.socket
    server: Service

    def handle(self) -> None:
        """Answer one request after the other."""
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        incoming, seconds = Incoming(self.request), STRANGER_S
        with suppress(OSError):
            while True:
                try:
                    request = incoming.next(seconds)
                    goes_on = request is not None and self._answer(request)
                except BadRequestError as error:
                    self._send(error.status, {"error": REASONS[error.status]}, goes_on=False)
                    break
                if not goes_on:
                    break
                seconds = IDLE_S

    def _answer(self, request: Request) -> bool:
        """Answer one. Returns whether the connection goes on."""
        now = now_ns()
        served = self.server.served
        if not _may(request, served.token):
            return self._send(401, {"error": "the token is missing or wrong"}, goes_on=False)
        if served.token is None and not _to_loopback(request):
            return self._send(403, {"error": "without a token, this is asked by its address alone"}, goes_on=False)
        if request.method != "GET":
            return self._send(405, {"error": "there is nothing here but to GET"}, goes_on=False)
        goes_on = request.headers.get("connection", "").lower() != "close"
        if request.path == "/v1/clock":
            return self._send(200, {"now_ns": now}, goes_on=goes_on)
        if request.path == "/v1/channels":
            oldest, following = served.ring.bounds()
            numbers = {"instance": served.instance, "oldest": oldest, "next": following, "now_ns": now}
            return self._send(200, served.facts() | numbers, goes_on=goes_on)
        if request.path == "/v1/readings":
            return self._stream(request)
        return self._send(404, {"error": "GET /v1/channels, /v1/clock or /v1/readings?from=NUMBER"}, goes_on=goes_on)

    def _stream(self, request: Request) -> bool:
        """Tell readings until the reader is gone, or too slow."""
        ring = self.server.served.ring
        oldest, following = ring.bounds()
        asked = request.query.get("from", "")
        if asked and not (asked.isascii() and asked.isdigit() and len(asked) < 19):
            raise BadRequestError(400)
        number = min(max(int(asked), oldest), following) if asked else following
        head = {"Transfer-Encoding": "chunked", "Ipw-First": str(number), "Ipw-Instance": self.server.served.instance}
        self.request.settimeout(SEND_S)
        self.request.sendall(_head(200, "application/octet-stream", head))
        while not self.server.closed:
            first, block = ring.since(number, BEAT_S)
            if block and first != number:
                break  # it was overtaken: it is to ask again, and will see what is lost
            number += len(block) // RECORD.size
            block = block or RECORD.pack(now_ns(), 0.0, NO_CHANNEL, 0, 0)
            self.request.sendall(b"%x\r\n%b\r\n" % (len(block), block))
        return False

    def _send(self, status: int, body: dict[str, Any], *, goes_on: bool) -> bool:
        content = json.dumps(body).encode()
        head = {"Content-Length": str(len(content))}
        if status == 401:
            head["WWW-Authenticate"] = "Bearer"
        if not goes_on:
            head["Connection"] = "close"
        self.request.settimeout(SEND_S)
        self.request.sendall(_head(status, "application/json", head) + content)
        return goes_on


def _head(status: int, kind: str, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", f"Content-Type: {kind}", "Cache-Control: no-store"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


def _to_loopback(request: Request) -> bool:
    """Whether a request names what it asks by address, or not at all: a page in a browser names its own site."""
    try:
        host = urlsplit(f"//{request.headers.get('host') or 'localhost'}").hostname or ""
        return host.lower() == "localhost" or bool(ip_address(host))
    except ValueError:
        return False


def _may(request: Request, token: str | None) -> bool:
    """Whether the reader has the token, where there is one; how long it takes to tell says nothing about it."""
    if token is None:
        return True
    scheme, _, told = request.headers.get("authorization", "").partition(" ")
    return hmac.compare_digest(told.strip().encode("latin-1"), token.encode()) and scheme.lower() == "bearer"
