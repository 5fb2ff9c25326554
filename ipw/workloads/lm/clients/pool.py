"""Several processes that ask one server, for a load that is too much for one.

Only the asking is theirs: bytes to the socket and answers from it, with their moments on the clock that all processes
of a machine share. When a question is asked, in which order, and what is kept is decided here, as with one process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Self

from ipw.clock import now_ns
from ipw.errors import IpwError, OutageError
from ipw.workloads.lm.clients.process import AskingProcess
from ipw.workloads.lm.clients.pulse import Pulse
from ipw.workloads.lm.clients.strain import Strain
from ipw.workloads.lm.clients.way import Cut, Told
from ipw.workloads.lm.http.client import Limits, Prompt, ordered
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.lm.servers.outage import death_of

FEWER = "take fewer --clients"
READY_S = 60.0
CUT_S = 10.0
"""For what had come of a question that is given up."""


class Pool:
    """Asks by so many processes. As a context it starts them, and ends them."""

    def __init__(self, endpoint: Endpoint, processes: int) -> None:
        self._endpoint = endpoint
        self._processes = [AskingProcess(number) for number in range(1, processes + 1)]

    async def __aenter__(self) -> Self:
        """Raises IpwError where one of them cannot be started."""
        try:
            await self._begin()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _begin(self) -> None:
        try:
            for process in self._processes:
                process.start()
            for process in self._processes:
                await process.greet(self._endpoint)
            async with asyncio.timeout(READY_S):
                await asyncio.gather(*(process.ready.wait() for process in self._processes))
        except TimeoutError:
            raise IpwError(f"the processes that ask are not ready within {READY_S:g} s", FEWER) from None
        except OSError as error:
            raise IpwError(f"a process that asks cannot be started: {error.strerror}", FEWER) from None
        if dead := next((process for process in self._processes if process.died), None):
            raise IpwError(f"a process that asks ended while it started: {dead.died}", FEWER)

    async def __aexit__(self, *exc: object) -> None:
        for process in self._processes:
            process.close()
        for process in self._processes:
            process.end()
        await asyncio.sleep(0)  # the loop closes the sockets

    async def ask(self, prompt: Prompt, limits: Limits, cut: Cut | None = None) -> Told:
        """Ask one question by the process that has the fewest. Raises OutageError where none is left."""
        alive = [process for process in self._processes if not process.died]
        if not alive:
            raise self._lost()
        process = min(alive, key=lambda each: (len(each.under_way), each.asked))
        number, coming = process.ask(ordered(self._endpoint.model, prompt, limits))
        try:
            return await asyncio.shield(coming)
        except asyncio.CancelledError:
            process.cut(number)
            with contextlib.suppress(TimeoutError):
                told = await asyncio.wait_for(coming, CUT_S)
                if cut is not None:
                    cut(told)
            raise

    def waiting(self) -> bool:
        """Whether an answer is to come over any connection."""
        return any(process.waiting for process in self._processes)

    def heard_ns(self) -> int:
        """When bytes came last of an answer that is on its way; 0 where none is."""
        return max(process.heard_ns for process in self._processes)

    def measure(self) -> None:
        """Begin to watch how hard all work, this process too, which hands out the questions."""
        for process in self._processes:
            process.strain = Strain()
        self._strain = Strain()
        self._pulse = Pulse(self._strain.take)

    def measured(self) -> Mapping[str, Any]:
        """Say how hard they worked since."""
        self._pulse.stop()
        return {"processes": [each.facts() for each in self._processes], "schedule": self._strain.facts()}

    def _lost(self) -> OutageError:
        outage = death_of("every process that asks", self._processes[-1].code or 0)
        return OutageError(outage.told, outage._asdict() | {"t_ns": now_ns(), "last_answer_ns": None})
