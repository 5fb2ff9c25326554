"""Runs a tool: in a child of its own, without a shell, for a limited time, and with a limited result."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple

from ipw.processes import environment, python

CHILD = "ipw.workloads.agents.loop.tool_child"
MOST_BYTES = 1 << 16
"""Of what a tool says; the rest is read, and left out."""


CLOSED_S = 1.0
"""For the end of what a tool says, once it has ended; what fled from its group may hold the pipe."""


class Ran(NamedTuple):
    """What came of a tool."""

    said: bytes
    """On its standard output."""
    errors: bytes
    code: int | None
    """`None` where the time was over."""


async def run_child(task: Mapping[str, Any], timeout_s: float, keys: tuple[str, ...] = ()) -> Ran:
    """Give a task to a child and wait for its end; what it has started ends with it.

    Of the environment it gets no secrets but `keys`.
    """
    given = environment(secrets=False)
    given |= {name: os.environ[name] for name in keys if name in os.environ}
    child = await asyncio.create_subprocess_exec(
        *python(CHILD),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=given,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    said, errors = bytearray(), bytearray()
    reading = asyncio.gather(_read(child.stdout, said), _read(child.stderr, errors))
    code: int | None = None
    try:
        async with asyncio.timeout(timeout_s):
            child.stdin.write(json.dumps(task).encode() + b"\n")
            code = await child.wait()
    except TimeoutError:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # also what the tool left behind
        await asyncio.shield(child.wait())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reading, CLOSED_S)
    return Ran(bytes(said), bytes(errors), code)


async def _read(stream: asyncio.StreamReader, into: bytearray) -> None:
    """Read to the end, and keep what fits."""
    while block := await stream.read(1 << 14):
        into += block[: MOST_BYTES - len(into)]
