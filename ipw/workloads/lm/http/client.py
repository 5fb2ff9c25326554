"""One question to an OpenAI-compatible server, and what it has by way of models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ipw.workloads.lm.http.parser import HttpError
from ipw.workloads.lm.http.reply import Answer, Reply, Status
from ipw.workloads.lm.http.transport import Transport, reason

Api = Literal["chat", "completions"]
PATHS: dict[Api, str] = {"chat": "/chat/completions", "completions": "/completions"}
MODELS_S = 10.0
MAX_DOCUMENT, MAX_NAME = 4 << 20, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may take, and how the answer is drawn."""

    timeout_s: float
    """From the question to the end of its answer."""
    stall_s: float
    """Without a byte, in the middle of the answer."""
    max_tokens: int | None
    temperature: float
    seed: int | None
    logprobs: bool = False
    """Whether the log-probability of each token of the answer is asked for."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """What a request has to say beside all this; it overrules it."""
    api: Api = "chat"
    """Whether the prompt is a message to a chat model, or the bare beginning of a text."""


Prompt = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a chat."""


class Order(NamedTuple):
    """One question as it is sent."""

    path: str
    body: bytes
    timeout_s: float
    stall_s: float
    """As in `Limits`."""


def ordered(model: str | None, prompt: Prompt, limits: Limits) -> Order:
    """Make what is sent of a question."""
    return Order(PATHS[limits.api], request_body(model, prompt, limits), limits.timeout_s, limits.stall_s)


async def ask(
    transport: Transport,
    model: str | None,
    prompt: Prompt,
    limits: Limits,
    key: str | None = None,
    reply: Reply | None = None,
) -> Answer:
    """Ask one question. Never raises for what a server does: the answer tells. `key` is blotted out of the answer.

    Who gives the `reply` can look at it when this is cancelled.
    """
    reply = reply or Reply()
    return await carry_out(transport, ordered(model, prompt, limits), key, reply)


async def carry_out(transport: Transport, order: Order, key: str | None, reply: Reply) -> Answer:
    """Send it, and take the answer. Never raises for what a server does: the answer tells."""
    failed: tuple[Status, str] | None = None
    try:
        async with asyncio.timeout(order.timeout_s):
            await transport.request("POST", order.path, order.body, reply, order.stall_s)
    except TimeoutError as error:
        failed = "timeout", str(error) or f"no whole answer within {order.timeout_s:g} s"
    except HttpError as error:
        failed = "error", str(error)
    except OSError as error:
        failed = "error", f"the connection failed: {reason(error)}"
    reply.close()
    if failed:
        reply.fail(*failed, "transport")
    return reply.answer(key)


def request_body(model: str | None, prompt: Prompt, limits: Limits) -> bytes:
    """Make the JSON of a streamed completion; what is `None` is left to the server."""
    chat = limits.api == "chat"
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    body: dict[str, Any] = {
        **({"messages": messages} if chat else {"prompt": prompt}),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": limits.temperature,
    }
    optional = {"model": model, "max_tokens": limits.max_tokens, "seed": limits.seed}
    body |= {name: value for name, value in optional.items() if value is not None}
    if limits.logprobs:
        body["logprobs"] = True if chat else 1
    return json.dumps(body | dict(limits.request)).encode()


async def server_models(transport: Transport) -> list[str] | None:
    """Names of the models that a server lists; `None` where it does not say. Raises OSError without a connection."""
    try:
        async with asyncio.timeout(MODELS_S):
            status, document = await get(transport, "/models")
        models = json.loads(document) if status == 200 else None
    except (HttpError, TimeoutError, ValueError, RecursionError):
        return None
    entries = models.get("data") if isinstance(models, dict) else None
    if not isinstance(entries, list):
        return None
    names = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str) and name.isprintable() and 0 < len(name) <= MAX_NAME]


async def get(transport: Transport, path: str) -> tuple[int, bytes]:
    """Fetch a short document: its status and content. Raises OSError without a connection, HttpError for no HTTP."""
    document = _Document()
    await transport.request("GET", path, b"", document)
    return document.status, b"".join(document.blocks)


class _Document:
    """Receives a short document."""

    begun = False

    def __init__(self) -> None:
        self.status = 0
        self.blocks: list[bytes] = []
        self._bytes = 0

    def sent(self, t_ns: int) -> None:
        """Nothing is timed here."""

    def head(self, status: int, headers: dict[str, str]) -> None:  # noqa: ARG002 (the receiver's signature)
        """Take the status."""
        self.status = status

    def block(self, data: bytes, t_ns: int) -> bool:  # noqa: ARG002 (the receiver's signature)
        """Take some bytes, up to what it may hold."""
        self.blocks.append(data)
        self._bytes += len(data)
        return self._bytes > MAX_DOCUMENT
