"""A process that asks what another one orders: `python -m ipw.workloads.lm.clients.worker`, a socket as its input.

It ends with its parent, however that ends, and has nothing to save: the parent keeps the books.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import Any

from ipw.workloads.lm.clients.frames import read_frame, told_frame, write_frame
from ipw.workloads.lm.clients.pulse import Beat, Pulse
from ipw.workloads.lm.clients.way import Told, cut_off, told_of
from ipw.workloads.lm.http.client import Order, carry_out
from ipw.workloads.lm.http.reply import Reply
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.http.url import ServerUrl
from ipw.workloads.lm.servers.parent_death import at_death_of_parent


async def work() -> None:
    """Carry out orders until the socket is closed, and then end at once."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=0))
    said, key = await read_frame(reader)
    async with Transport(ServerUrl(*said["server"]), key.decode() or None) as transport:

        def beat(now: Beat) -> None:
            write_frame(writer, {"beat": now, "waiting": transport.waiting(), "heard_ns": transport.heard_ns()})

        Pulse(beat)
        with contextlib.suppress(EOFError, ConnectionError):
            await _serve(reader, writer, transport, key.decode() or None)
        os._exit(0)  # nothing is left to save, and what is under way would hold an orderly end up


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, transport: Transport, key: str | None
) -> None:
    under_way: dict[int, asyncio.Task[None]] = {}

    async def one(number: int, order: Order) -> None:
        told = await _told(transport, order, key)
        del under_way[number]
        write_frame(writer, *told_frame(number, told))

    while True:
        said, data = await read_frame(reader)
        if "cut" in said:
            await asyncio.sleep(0)  # a task that never began would say nothing when it is cancelled
            if task := under_way.get(said["cut"]):
                task.cancel()
        else:
            under_way[said["ask"]] = asyncio.create_task(one(said["ask"], _order(said, data)))


def _order(said: dict[str, Any], body: bytes) -> Order:
    return Order(said["path"], body, said["timeout_s"], said["stall_s"])


async def _told(transport: Transport, order: Order, key: str | None) -> Told:
    reply = Reply()
    try:
        answer = await carry_out(transport, order, key, reply)
    except asyncio.CancelledError:
        return cut_off(reply, key)
    return told_of(reply, answer)


def main() -> None:
    """Work until the parent has gone, or wants no more."""
    at_death_of_parent(signal.SIGKILL)()
    asyncio.run(work())


if __name__ == "__main__":
    main()
