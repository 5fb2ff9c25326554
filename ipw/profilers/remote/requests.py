"""The little of HTTP that readers of sensors use: GET, a path, a query, and a token in a header."""

from __future__ import annotations

import re
import socket
from time import monotonic
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

MOST_BYTES = 8192
"""Of a request's head."""
END = b"\r\n\r\n"
LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", re.DOTALL)


class BadRequestError(Exception):
    """What came is no request that is answered here."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(status)


class Request(NamedTuple):
    """What a reader asks for."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By their names in small letters."""


class Incoming:
    """The requests that come over one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def next(self, seconds: float) -> Request | None:
        """Wait for the next request, for so many seconds in all; `None` where the other side has closed.

        Raises BadRequestError, and OSError where the connection breaks or time is up.
        """
        deadline = monotonic() + seconds
        while END not in self._rest:
            if len(self._rest) > MOST_BYTES:
                raise BadRequestError(431)
            left_s = deadline - monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._connection.settimeout(left_s)
            block = self._connection.recv(4096)
            if not block:
                return None
            self._rest += block
        head, _, self._rest = self._rest.partition(END)
        if len(head) > MOST_BYTES:
            raise BadRequestError(431)
        return parse(head)


def parse(head: bytes) -> Request:
    """Read the head of a request. One that brings a body is refused. Raises BadRequestError."""
    first, *lines = head.split(b"\r\n")
    told = LINE.fullmatch(first)
    found = [HEADER.fullmatch(line) for line in lines]
    if told is None or None in found:
        raise BadRequestError(400)
    headers = {match[1].decode("ascii").lower(): match[2].decode("latin-1") for match in found if match}
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise BadRequestError(413)
    try:
        target = urlsplit(told[2].decode("ascii"))
        query = dict(parse_qsl(target.query, max_num_fields=16))
    except ValueError:
        raise BadRequestError(400) from None
    return Request(told[1].decode("ascii"), target.path, query, headers)
