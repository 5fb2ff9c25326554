"""How a question gets to the server and its answer back: by this process itself, or by another one (pool.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from ipw.workloads.lm.clients.pulse import Pulse
from ipw.workloads.lm.clients.strain import Strain
from ipw.workloads.lm.http.client import Limits, Prompt, ask
from ipw.workloads.lm.http.messages import ToolCall
from ipw.workloads.lm.http.reply import Answer, Reply
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.servers.endpoint import Endpoint

CUT_OFF = "cut off"


class Told(NamedTuple):
    """What came of a question."""

    answer: Answer
    came: bytes
    """When its chunks came: a block of runs/arrivals.py, or nothing."""
    calls: list[ToolCall]
    """Of tools, that the answer asks for."""


Cut = Callable[[Told], None]
"""Takes what has come of a question until it is given up."""


def told_of(reply: Reply, answer: Answer) -> Told:
    """Take what a reply holds."""
    return Told(answer, reply.arrivals(), reply.calls())


def cut_off(reply: Reply, key: str | None) -> Told:
    """Take what had come when nobody waited any more."""
    reply.fail("error", CUT_OFF, "transport")
    return told_of(reply, reply.answer(key))


class Way(Protocol):
    """Asks one server."""

    async def ask(self, prompt: Prompt, limits: Limits, cut: Cut | None = None) -> Told:
        """Ask one question. Never raises for what a server does; where this is cancelled, `cut` gets what had come."""

    def waiting(self) -> bool:
        """Whether an answer is to come over a connection that is up."""

    def heard_ns(self) -> int:
        """When bytes came last of an answer that is on its way; 0 where none is."""

    def measure(self) -> None:
        """Begin to watch how hard the asking processes work."""

    def measured(self) -> Mapping[str, Any]:
        """Say how hard they worked since, for the manifest."""


class Direct:
    """Asks by the event loop of this process."""

    def __init__(self, transport: Transport, endpoint: Endpoint) -> None:
        self.waiting, self.heard_ns = transport.waiting, transport.heard_ns
        self._transport, self._model, self._key = transport, endpoint.model, endpoint.key

    async def ask(self, prompt: Prompt, limits: Limits, cut: Cut | None = None) -> Told:
        """Ask one question."""
        reply = Reply()
        try:
            answer = await ask(self._transport, self._model, prompt, limits, self._key, reply)
        except asyncio.CancelledError:
            if cut is not None:
                cut(cut_off(reply, self._key))
            raise
        return told_of(reply, answer)

    def measure(self) -> None:
        """Begin to watch how hard this process works."""
        self._strain = Strain()
        self._pulse = Pulse(self._strain.take)

    def measured(self) -> Mapping[str, Any]:
        """Say how hard it worked since."""
        self._pulse.stop()
        return {"processes": [self._strain.facts()]}
