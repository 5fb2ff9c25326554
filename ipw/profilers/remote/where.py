"""Addresses of what is read over the network: taken apart, and what of them may be shown."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ipw.errors import UsageError

PORT, TOKEN = 9321, "IPW_SENSORS_TOKEN"
"""Where sensors are served, unless it is said otherwise, and the variable that holds the token of both sides."""
LISTEN = f"127.0.0.1:{PORT}"
SAFE = "/:@!$&'()*+,;=-._~%?"


class Where(NamedTuple):
    """Of a machine: its host, and how it is asked."""

    host: str
    port: int
    secure: bool
    path: str
    query: str
    shown: str
    """For people and files: without path and query."""

    @property
    def name(self) -> str:
        """With which the names of its channels begin: the host, where nothing else is known."""
        return f"[{self.host}]" if ":" in self.host else self.host


def where_of(text: str, port: int, *, credentials: str) -> Where:
    """Take `http://HOST:PORT/PATH?QUERY` apart; `port` is the usual one, `credentials` where secrets belong.

    Raises UsageError for what is no such address, or has a user and a password in it.
    """
    hint = f"such as http://HOST:{port}"
    try:
        parts = urlsplit(text.strip())
        host, told = parts.hostname or "", parts.port
        host.encode("ascii")
    except ValueError:
        raise UsageError("an address of sensors cannot be read", hint) from None
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:-]+", host, re.ASCII):
        raise UsageError("an address of sensors must begin with http:// or https:// and name a host", hint)
    if "@" in parts.netloc:
        raise UsageError("an address of sensors holds a user or a password", f"leave it out: {credentials} carries it")
    number = told or port
    shown = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{number}"
    return Where(host, number, parts.scheme == "https", quote(parts.path, SAFE), parts.query, shown)
