"""The reader's side of the network: asks a machine that serves its sensors, without proxies and without redirects."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple, Self

from ipw.clock import now_ns
from ipw.foreign_json import parsed
from ipw.profilers.base import SensorError
from ipw.profilers.remote.where import TOKEN, Where
from ipw.runs.readings import RECORD
from ipw.secrets_out import without_secrets

CONNECT_S, SILENT_S = 5.0, 4.0
"""For a connection or an answer; and of a stream, which tells something every second, without a byte."""
BROKEN = (OSError, HTTPException, ValueError, AttributeError)
"""What http.client raises where a connection breaks."""
MOST_BYTES = 4 << 20
"""Of an answer in JSON."""
REFUSED = f"the token is missing or wrong: set {TOKEN} to what it is set to there"


class Trip(NamedTuple):
    """An exchange with the other side, in ns: when it was asked, what its clock showed, when the answer was here."""

    sent_ns: int
    there_ns: int
    here_ns: int


class Stream(NamedTuple):
    """Readings from some number on."""

    first: int
    instance: str
    blocks: Iterator[bytes]
    """Of whole records; ends, or raises SensorError, where the connection does."""


class Link:
    """One connection, which is made when it is needed and kept."""

    def __init__(self, where: Where, token: str | None) -> None:
        self._where = where
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connection: HTTPConnection | None = None
        self._response: HTTPResponse | None = None
        self._hung_up = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; the next question makes another."""
        for each in (self._response, self._connection):
            if each is not None:
                each.close()
        self._response = self._connection = None

    def hang_up(self) -> None:
        """Let whoever waits for an answer, in another thread, fail, and ask no more."""
        self._hung_up = True
        connection = self._connection
        with suppress(OSError):
            if connection is not None and connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)

    def channels(self) -> dict[str, Any]:
        """Ask what there is. Raises SensorError."""
        told = self._json("/v1/channels")
        if told.get("service") != "ipw sensors":
            raise SensorError("unsupported", f"{self._where.shown} is not `ipw sensors serve`")
        return told

    def trip(self) -> Trip:
        """Ask what time it is there. Raises SensorError."""
        sent = now_ns()
        there = self._json("/v1/clock").get("now_ns")
        here = now_ns()
        if type(there) is not int or not 0 <= there < 2**62:
            raise SensorError("lost", f"{self._where.shown} tells no time")
        return Trip(sent, there, here)

    def stream(self, number: int) -> Stream:
        """Ask for the readings from `number` on, and all that come. Raises SensorError."""
        response = self._get(f"/v1/readings?from={number}")
        first = response.getheader("Ipw-First", "")
        if not (first.isascii() and first.isdigit() and len(first) < 19):
            raise SensorError("unsupported", f"{self._where.shown} tells no readings")
        assert self._connection is not None
        if self._connection.sock is not None:
            self._connection.sock.settimeout(SILENT_S)
        return Stream(int(first), response.getheader("Ipw-Instance", ""), self._blocks(response))

    def _blocks(self, response: HTTPResponse) -> Iterator[bytes]:
        rest = b""
        while True:
            try:
                block = response.read1(65536)
            except BROKEN as error:
                self.close()
                raise SensorError("lost", f"{self._where.shown}: {told_of(error)}") from None
            if not block:
                self.close()
                return
            rest += block
            whole = len(rest) - len(rest) % RECORD.size
            yield rest[:whole]
            rest = rest[whole:]

    def _json(self, path: str) -> dict[str, Any]:
        body = self._get(path).read(MOST_BYTES)
        try:
            told = parsed(body)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise SensorError("unsupported", f"{self._where.shown} is not `ipw sensors serve`")
        return told

    def _get(self, path: str) -> HTTPResponse:
        if self._hung_up:
            raise SensorError("lost", "the sensor is closed")
        try:
            if self._connection is None:
                self._connection = self._connected()
            self._connection.request("GET", path, headers=self._headers)
            if self._hung_up:  # meanwhile
                raise OSError(errno.ENOTCONN, "the sensor is closed")
            self._response = response = self._connection.getresponse()
        except BROKEN as error:
            self.close()
            raise SensorError("lost", f"{self._where.shown}: {told_of(error)}") from None
        if response.status != 200:
            self.close()
            refused = response.status in (401, 403)
            reason = REFUSED if refused else f"HTTP status {response.status}"
            raise SensorError("permission" if refused else "lost", f"{self._where.shown}: {reason}")
        return response

    def _connected(self) -> HTTPConnection:
        where = self._where
        if where.secure:
            return HTTPSConnection(where.host, where.port, timeout=CONNECT_S, context=ssl.create_default_context())
        return HTTPConnection(where.host, where.port, timeout=CONNECT_S)


def told_of(error: Exception) -> str:
    """Say in a few words what went wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here ({error.verify_message}): SSL_CERT_FILE names one that is"
    if isinstance(error, TimeoutError):
        return "no answer"
    told = error.strerror if isinstance(error, OSError) else None
    return without_secrets(told or type(error).__name__)
