"""A server that is ready to be asked: where it is, which model it serves, and what is known of both."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ipw.errors import IpwError, UsageError
from ipw.variables import OPENAI_KEY
from ipw.workloads.lm.http.client import server_models
from ipw.workloads.lm.http.transport import Transport, reason
from ipw.workloads.lm.http.url import ServerUrl
from ipw.workloads.lm.servers.outage import Outage
from ipw.workloads.lm.servers.place import STARTED_HERE, Place


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What an engine gives to a workload."""

    url: ServerUrl
    model: str | None
    """The name to send; `None` sends none."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Identity of the model, for the manifest: name, digest, quantisation, parameters, … as far as known."""
    pid: int | None = None
    """Of the server, where ipw started it."""
    key: str | None = field(default=None, repr=False)
    """Goes into a header, and nowhere else."""
    place: Place = STARTED_HERE
    """Whether it runs on this machine, whose sensors are read."""
    ended: Callable[[], Outage | None] | None = None
    """Says how the server has ended by itself, where ipw can know."""


def api_key(variable: str = OPENAI_KEY) -> str | None:
    """Take a key from the environment. Raises UsageError where no header can carry it.

    A key goes to the server that it is meant for: the measured one's never to the judge, nor the other way round.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{variable} holds characters that no header can carry", "was it copied whole?")
    return key or None


def find_model(url: ServerUrl, model: str | None, key: str | None) -> str | None:
    """Check that a server is there and lists the model; without a model, take the only one that it lists.

    A server that lists nothing is believed: the warm-up shows. Raises IpwError and UsageError, each with a hint.
    """
    try:
        listed = asyncio.run(_list(url, key))
    except OSError as error:
        plain = isinstance(error, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(error)
        hint = "it does not speak TLS: try http:// in place of https://" if plain else None
        raise IpwError(
            f"no server at {url}: {reason(error)}", hint or "start it, or give its URL with --base-url"
        ) from None
    if not listed:
        return model
    shown = ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")
    if model is None:
        if len(listed) > 1:
            raise UsageError(f"the server at {url} has several models: {shown}", "choose one with --model")
        return listed[0]
    for name in (model, f"{model}:latest"):  # the tag that Ollama means when none is given
        if name in listed:
            return name
    raise IpwError(f"the server at {url} has no model {model!r}; it has {shown}", "choose one of these with --model")


async def _list(url: ServerUrl, key: str | None) -> list[str] | None:
    async with Transport(url, key) as transport:
        return await server_models(transport)
