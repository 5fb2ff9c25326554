"""One of the processes that ask (worker.py), as the one sees it that hands out the questions."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from itertools import count
from typing import Any

from ipw.processes import environment, python
from ipw.workloads.lm.clients.frames import read_frame, told_from, write_frame
from ipw.workloads.lm.clients.pulse import Beat
from ipw.workloads.lm.clients.strain import Strain
from ipw.workloads.lm.clients.way import Told, told_of
from ipw.workloads.lm.http.client import Order
from ipw.workloads.lm.http.reply import Reply
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.lm.servers.outage import exit_text

WORKER = "ipw.workloads.lm.clients.worker"
STOP_S = 3.0
SILENT_S = 60.0
"""Without a beat: a process that hangs does not even give its questions up."""


class AskingProcess:
    """Starts it, gives it orders, and takes what comes of them."""

    def __init__(self, number: int) -> None:
        self.asked = 0
        self.under_way: dict[int, asyncio.Future[Told]] = {}
        self.ready = asyncio.Event()
        """Set when it can take orders, or has died."""
        self.waiting, self.heard_ns = False, 0
        """As it said last of its connections."""
        self.strain = Strain()
        self.code: int | None = None
        """With which it ended; negative for a signal."""
        self.died: str | None = None
        """How, where it ended by itself."""
        self._number = number
        self._lost = 0
        self._orders = count()
        self._process: subprocess.Popen[bytes] | None = None
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the process. Raises OSError where it cannot be."""
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    python(WORKER),
                    env=environment(secrets=False),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for this process, which then ends it
                )
        except OSError:
            self._socket.close()
            raise

    async def greet(self, endpoint: Endpoint) -> None:
        """Tell it of the server; the key goes by the socket, which nobody else can read."""
        reader, self._writer = await asyncio.open_connection(sock=self._socket)
        write_frame(self._writer, {"server": endpoint.url}, (endpoint.key or "").encode())
        self._listening = asyncio.create_task(self._listen(reader))

    def ask(self, order: Order) -> tuple[int, asyncio.Future[Told]]:
        """Have a question asked; returns the order's number, and where the answer will be."""
        number = next(self._orders)
        self.asked += 1
        self.under_way[number] = coming = asyncio.get_running_loop().create_future()
        said = {"ask": number, "path": order.path, "timeout_s": order.timeout_s, "stall_s": order.stall_s}
        write_frame(self._writer, said, order.body)
        return number, coming

    def cut(self, number: int) -> None:
        """Give an order up; what has come of it is told."""
        write_frame(self._writer, {"cut": number})

    def facts(self) -> dict[str, Any]:
        """Say for the manifest how hard it worked, and how it died where it did."""
        died = {"died": self.died, "lost": self._lost} if self.died else {}
        return {**self.strain.facts(), "asked": self.asked, **died}

    def close(self) -> None:
        """Let it end."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):  # it has gone
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._listening is None:
            self._socket.close()
        else:
            self._listening.cancel()
            self._writer.close()

    def end(self) -> None:
        """Wait for its end, or bring it about."""
        if self._process is None or self.code is not None:
            return
        try:
            self.code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.code = self._process.wait()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        assert self._process is not None
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                try:
                    async with asyncio.timeout(SILENT_S):
                        said, data = await read_frame(reader)
                except TimeoutError:
                    self._process.kill()
                    break
                if "beat" in said:
                    self.waiting, self.heard_ns = said["waiting"], said["heard_ns"]
                    self.strain.take(Beat(*said["beat"]))
                    self.ready.set()
                else:
                    _give(self.under_way.pop(said["told"]), told_from(said, data))
        self._bury()

    def _bury(self) -> None:
        """Note how the process ended, and that nobody will answer what it was asking."""
        self.end()
        self.died = exit_text(self.code or 0)
        self.waiting, self.heard_ns = False, 0
        self._lost = len(self.under_way)
        for coming in self.under_way.values():
            reply = Reply()
            reply.fail("error", f"process {self._number} of those that ask died: {self.died}", "client")
            _give(coming, told_of(reply, reply.answer(None)))
        self.under_way.clear()
        self.ready.set()


def _give(coming: asyncio.Future[Told], told: Told) -> None:
    if not coming.done():  # nobody waits any more for one that was given up
        coming.set_result(told)
