"""Reads this machine's sensors, as a run does, and serves what they say until it is told to stop."""

from __future__ import annotations

import os
import platform
import signal
import socket
import ssl
import threading
import uuid
from collections.abc import Callable
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ipw.clock import boot_id, now_ns
from ipw.errors import IpwError, UsageError
from ipw.profilers.discovery import close, find
from ipw.profilers.remote.ring import Ring
from ipw.profilers.remote.service import Served, Service
from ipw.profilers.remote.where import LISTEN, PORT, TOKEN
from ipw.profilers.sampler.process import SamplerLoop
from ipw.profilers.selection import is_elsewhere, names_of

SHORTEST_TOKEN = 16
TOKEN_HINT = f"export {TOKEN}=$(openssl rand -hex 32), here and where the sensors are read"


def serve(
    selection: str, listen: str, certificate: Path | None, key: Path | None, say: Callable[[str, dict[str, Any]], None]
) -> None:
    """Serve until SIGTERM or SIGINT. `say` is told once that readers can come: where, and the machine's facts.

    Raises UsageError for an address or a token that cannot be, IpwError where it cannot listen or nothing can be read.
    """
    if elsewhere := [name for name in names_of(selection) if is_elsewhere(name)]:
        raise UsageError(f"{elsewhere[0]} is read over the network already", "name it where the sensors are read")
    where = address_of(listen)
    token = token_of(os.environ.get(TOKEN))
    if not ip_address(where[0]).is_loopback and token is None:
        raise UsageError(f"{listen} can be reached from other machines, and there is no token", TOKEN_HINT)
    tls = _tls(certificate, key)
    ring = Ring()
    try:
        service = Service(where, Served(ring, lambda: machine(sampling), uuid.uuid4().hex, token), tls)
    except OSError as error:
        raise IpwError(f"cannot listen at {listen}: {error.strerror or error}", "--listen HOST:PORT") from None
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with service:
        sensors = find(selection)
        try:
            sampling = SamplerLoop(sensors, ring, now_ns())
            if not any("index" in channel for channel in sampling.channels):
                raise IpwError("no sensor of this machine can be read", "ipw doctor")
            sampling.settle(first=True)
            threading.Thread(target=service.serve_forever, name="ipw-sensors", daemon=True).start()
            say(_url(service.server_address, secure=tls is not None), machine(sampling))
            sampling.run(stopped.is_set)
            service.shutdown()
        finally:
            close(sensors)


def machine(sampling: SamplerLoop) -> dict[str, Any]:
    """Say what readers are told of this machine: its name, its channels, and what failed of late."""
    boot = boot_id()
    return {
        "service": "ipw sensors",
        "version": 1,
        "host": platform.node(),
        "boot": sha256(f"ipw {boot}".encode()).hexdigest() if boot else None,
        "channels": sampling.channels,
        "failures": sampling.failures,
    }


def address_of(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `[IPV6]:PORT`, `HOST` or `:PORT`, which is every address. Raises UsageError."""
    hint = f"such as --listen {LISTEN}, or 0.0.0.0:{PORT} with a token"
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", PORT if parts.port is None else parts.port
        if parts.path or parts.query or parts.fragment or "@" in text or "://" in text:
            raise UsageError(f"--listen takes an address and a port, not {text!r}", hint)
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)  # noqa: S104 - refused without a token
    except (OSError, ValueError):
        raise UsageError(f"{text!r} is not an address of this machine", hint) from None
    return str(found[0][4][0]), port


def token_of(text: str | None) -> str | None:
    """Check a token. Raises UsageError for one that can be guessed, or that no header can carry."""
    if not text:
        return None
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(f"{TOKEN} holds a character that no header can carry", TOKEN_HINT)
    if len(text) < SHORTEST_TOKEN:
        raise UsageError(f"{TOKEN} has less than {SHORTEST_TOKEN} characters, so it can be guessed", TOKEN_HINT)
    return text


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise UsageError("there is a key, and no --certificate", "give both, or neither")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{certificate} and its key cannot be used: {told}", "PEM files, the key without a password"
        ) from None
    return context


def _url(where: Any, *, secure: bool) -> str:
    host, port = str(where[0]), int(where[1])
    return f"http{'s' if secure else ''}://" + (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
