"""A machine on the other side of a network: `ipw sensors serve` on its own clock, and a wire that delays and breaks."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

TESTS = Path(__file__).parents[1]


@contextmanager
def serving_sensors(
    environment: Mapping[str, str],
    *more: str,
    ahead_s: float = 0.0,
    drift: float = 0.0,
    inside: tuple[str, ...] = (),
) -> Iterator[str]:
    """Serve the sensors of a machine with this environment. Gives the address; `inside` goes before the command."""
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent), environment.get("PYTHONPATH", "")])
    command = [*inside, sys.executable, "-m", "doubles.drifting", str(ahead_s), str(drift), "sensors", "serve"]
    listen = [] if "--listen" in more else ["--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--json", *listen, *more],
        env={**os.environ, **environment, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        told = json.loads(process.stdout.readline() or "{}")
        assert "url" in told, told or process.communicate()[1]
        yield str(told["url"])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code, said = process.wait(120), process.stderr.read()
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.stdout.close()
            process.stderr.close()
    assert (code, said) == (0, "")


class Wire:
    """Carries connections to a port, late; and may be cut, which ends them and lets no new one through."""

    def __init__(self, host: str, port: int, delay_s: float, jitter_s: float) -> None:
        self._to, self._delay_s, self._jitter_s = (host, port), delay_s, jitter_s
        self._random = random.Random(1)
        self._cut = False
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def cut(self) -> None:
        """Break all connections, and let none be made."""
        self._cut = True
        self._loop.call_soon_threadsafe(self._break)

    def mend(self) -> None:
        """Let connections be made again."""
        self._cut = False

    def _break(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Deliver what comes, in order, each piece after its own delay."""
        loop = asyncio.get_running_loop()
        free_s = 0.0
        pending: set[asyncio.TimerHandle] = set()
        try:
            while block := await reader.read(65536):
                late_s = self._delay_s + self._random.uniform(-self._jitter_s, self._jitter_s)
                free_s = max(free_s, loop.time() + late_s)
                if late_s:
                    pending.add(loop.call_at(free_s, writer.write, block))
                else:
                    writer.write(block)
            await asyncio.sleep(max(free_s - loop.time(), 0) + 0.001)
        finally:
            for each in pending:
                each.cancel()
            writer.close()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        pair = [asyncio.ensure_future(self._carry(*each)) for each in ((reader, there_writer), (there_reader, writer))]
        self._tasks |= set(pair)
        await asyncio.wait(pair)
        self._tasks -= set(pair)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._joined, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        self._break()
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()


@contextmanager
def wire(url: str, delay_s: float = 0.0, jitter_s: float = 0.0) -> Iterator[tuple[str, Wire]]:
    """Lead to an address over a wire. Gives the address of its near end."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    carried, ready = Wire(host, int(port), delay_s, jitter_s), threading.Event()
    thread = threading.Thread(target=carried._run, args=(ready,), daemon=True)
    thread.start()
    ready.wait(120)
    try:
        yield f"http://127.0.0.1:{carried.port}", carried
    finally:
        carried._loop.call_soon_threadsafe(carried._loop.stop)
        thread.join(120)
