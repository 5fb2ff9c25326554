"""When questions are sent: a closed loop, in which an answer brings the next, or an open one, which waits for none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import count
from typing import TypeVar

from ipw.clock import now_ns
from ipw.workloads.lm.parameters import Arrival

Unit = TypeVar("Unit")
"""A question, a conversation of several, or a task."""
Send = Callable[[Unit, int | None], Awaitable[None]]
"""Does one unit to its end; the time is when it was due, in an open loop."""


def arrivals(rate: float, arrival: Arrival, seed: int) -> Iterator[float]:
    """Yield seconds from the start, without end: one every 1 / `rate`, or with gaps drawn from the exponential law."""
    if arrival == "constant":
        yield from (number / rate for number in count())
    draw, at = random.Random(f"{seed} arrivals"), 0.0  # noqa: S311 (a reproducible draw)
    while True:
        at += draw.expovariate(rate)
        yield at


async def closed_loop(units: Iterable[Unit], send: Send[Unit], in_flight: int) -> None:
    """Keep `in_flight` of them under way as long as there are any."""

    async def worker(waiting: Iterator[Unit]) -> None:
        for unit in waiting:
            await send(unit, None)

    waiting = iter(units)
    async with asyncio.TaskGroup() as workers:
        for _ in range(in_flight):
            workers.create_task(worker(waiting))


async def open_loop(due: Iterable[tuple[Unit, float]], send: Send[Unit], in_flight: int) -> None:
    """Send each when it is due (seconds from the first), or as soon after as fewer than `in_flight` are."""
    free = asyncio.Semaphore(in_flight)
    origin: int | None = None
    async with asyncio.TaskGroup() as tasks:
        for unit, at_s in due:
            origin = now_ns() - int(at_s * 1e9) if origin is None else origin
            due_ns = origin + int(at_s * 1e9)
            await asyncio.sleep(max(due_ns - now_ns(), 0) / 1e9)
            await free.acquire()
            tasks.create_task(_ended(send, unit, due_ns, free))


async def _ended(send: Send[Unit], unit: Unit, due_ns: int, free: asyncio.Semaphore) -> None:
    try:
        await send(unit, due_ns)
    finally:
        free.release()
