"""Where a server is: its URL taken apart, checked, and free of secrets."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from ipw.errors import UsageError
from ipw.variables import OPENAI_KEY

HINT = "give it like http://127.0.0.1:8000/v1"


class ServerUrl(NamedTuple):
    """An OpenAI-compatible API: paths such as `/chat/completions` follow `path`."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as a URL and the Host header show them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"


def server_url(text: str) -> ServerUrl:
    """Read the URL of an OpenAI-compatible server; without a path, `/v1` is meant. Raises UsageError."""
    try:
        parts = urlsplit(text.strip())
        port, host = parts.port, parts.hostname
    except ValueError:
        raise UsageError("the server's URL cannot be read", HINT) from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UsageError(
            "the server's URL holds a user, a password or a query, which would be stored with the run",
            f"give the key in the environment variable {OPENAI_KEY}",
        )
    if parts.scheme not in ("http", "https") or not host or not text.isascii() or len(text.split()) != 1:
        raise UsageError(f"{text!r} is not an http:// or https:// URL", HINT)
    tls = parts.scheme == "https"
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return ServerUrl(tls, host, port or (443 if tls else 80), path or "/v1")
