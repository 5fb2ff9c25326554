"""What this process and those that ask for it say to each other: JSON with bytes behind it, over a pair of sockets.

From here: the server, once; then orders (`ask`), and which of them nobody waits for any more (`cut`). From there:
beats, the first when the process is ready, and what came of each order (`told`).
"""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import asdict
from typing import Any

from ipw.workloads.lm.clients.way import Told
from ipw.workloads.lm.http.messages import ToolCall
from ipw.workloads.lm.http.reply import Answer

LENGTHS = struct.Struct("<II")
"""Of the JSON, and of the bytes."""
_encode = json.JSONEncoder(separators=(",", ":")).encode


def write_frame(writer: asyncio.StreamWriter, said: dict[str, Any], data: bytes = b"") -> None:
    """Send one, or put it down to be sent."""
    text = _encode(said).encode()
    writer.write(LENGTHS.pack(len(text), len(data)) + text + data)


async def read_frame(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    """Wait for the next one. Raises IncompleteReadError or ConnectionError where none comes any more."""
    text, data = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
    said: dict[str, Any] = json.loads(await reader.readexactly(text))
    return said, await reader.readexactly(data)


def told_frame(number: int, told: Told) -> tuple[dict[str, Any], bytes]:
    """Make a frame of what came of an order."""
    said = {"told": number, "answer": told.answer, "calls": [asdict(call) for call in told.calls]}
    return said, told.came


def told_from(said: dict[str, Any], data: bytes) -> Told:
    """Read it."""
    return Told(Answer(*said["answer"]), data, [ToolCall(**call) for call in said["calls"]])
