"""From readings to `power.bin`: which readings are kept, what is kept of a failure, and how the file stays whole."""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any, Protocol

from ipw.clock import now_ns as clock_ns
from ipw.profilers.base import Channel, Reading, SensorError
from ipw.runs.files import opened
from ipw.runs.readings import RECORD, STATUS_CODES, Status

HEARTBEAT_NS = 1_000_000_000
"""A value that holds still is recorded this often."""
GOES_ON_NS, RETRY_NS = 2_000_000_000, 1_000_000_000
"""A channel that has failed for so long is tried again only this often; before, within its poll period."""
AHEAD_NS = 1_000_000_000
"""A reading that says it is from so far in the future is none: nothing that is read until then would be newer."""
MOST_FAILURES = 256
"""The manifest names so many, the last ones; the file has them all."""
MOST_UNCERTAINTY_NS = 2**32 - 1


class Sink(Protocol):
    """Where records go: a file, or what others read."""

    @property
    def records(self) -> int:
        """How many it took and did not lose."""

    def add(self, t_ns: int, value: float, index: int, code: int, uncertainty_ns: int) -> None:
        """Take one record."""

    def flush(self) -> None:
        """Hand on what was taken. Raises OSError where a disk is full."""


def packed(t_ns: int, value: float, index: int, code: int, uncertainty_ns: int) -> bytes:
    """Make a record; its uncertainty is as large as fits. Raises struct.error, or TypeError, for what is no record."""
    try:
        return RECORD.pack(t_ns, value, index, code, uncertainty_ns)
    except struct.error:
        return RECORD.pack(t_ns, value, index, code, min(max(uncertainty_ns, 0), MOST_UNCERTAINTY_NS))


class PowerFile:
    """Appends records in blocks; whatever happens, the file ends with a whole record."""

    def __init__(self, path: Path) -> None:
        self._fd = opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._block = bytearray()
        self._cut()
        self._written = 0

    @property
    def records(self) -> int:
        """How many it took and did not lose."""
        return (self._written + len(self._block)) // RECORD.size

    def add(self, t_ns: int, value: float, index: int, code: int, uncertainty_ns: int) -> None:
        """Take one record into the block."""
        try:
            self._block += RECORD.pack(t_ns, value, index, code, uncertainty_ns)
        except struct.error:
            self._block += packed(t_ns, value, index, code, uncertainty_ns)

    def flush(self) -> None:
        """Hand the block to the operating system. Raises OSError where the disk is full; the block is gone then."""
        block, self._block = memoryview(self._block), bytearray()
        try:
            while block:
                written = os.write(self._fd, block)
                self._written, block = self._written + written, block[written:]
        except OSError:
            self._written -= self._written % RECORD.size
            self._cut()
            raise

    def close(self) -> None:
        """Close the file; what was not flushed is lost."""
        os.close(self._fd)

    def _cut(self) -> None:
        size = os.fstat(self._fd).st_size
        if size % RECORD.size:
            os.ftruncate(self._fd, size - size % RECORD.size)


class Lane:
    """One channel on its way into the file."""

    __slots__ = (
        "_add", "_failed_ns", "_failures", "_index", "_keeps_all", "_kept_ns", "_last", "_read", "_retry_ns",
        "_soon_ns", "changed_ns", "channel", "failing", "longest_ns", "read_ns", "reads",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        channel: Channel,
        read: Callable[[], Reading | None],
        file: Sink,
        failures: deque[dict[str, Any]],
    ) -> None:
        self.channel = channel
        self.reads = 0
        self.read_ns = self.changed_ns = -1
        """When the newest reading was true, and the newest that differed from the one before it."""
        self.longest_ns = 0
        """Between two that differed from the one before."""
        self.failing: Status | None = None
        self._keeps_all = not channel.ticks
        self._index, self._read, self._add, self._failures = index, read, file.add, failures
        self._last: Reading | None = None
        self._kept_ns = self._retry_ns = self._failed_ns = -1
        self._soon_ns = min(int(channel.poll_s * 1e9) // 2, RETRY_NS)

    def poll(self, now_ns: int) -> bool:
        """Read what there is, a stream until it is empty. Returns whether the value changed; never raises."""
        if now_ns < self._retry_ns:
            return False
        changed = False
        try:
            while reading := self._read():
                self.reads += 1
                t_ns, value, uncertainty_ns = reading
                if t_ns <= self.read_ns:
                    break  # seen already
                if t_ns > now_ns + AHEAD_NS or not -inf < value < inf:
                    _check(t_ns, value)
                last = self._last
                moved = last is not None and value != last.value
                if moved:
                    changed = True
                    self._moved(t_ns)
                if moved or last is None or self._keeps_all or t_ns - self._kept_ns >= HEARTBEAT_NS:
                    self._add(t_ns, value, self._index, 0, uncertainty_ns)
                    self._kept_ns = t_ns
                self._last, self.read_ns, self.failing = reading, t_ns, None
                if t_ns >= now_ns:
                    break  # not from a queue: the next would be as new
        except SensorError as error:
            self._fail(now_ns, error.status, error.reason)
        except Exception as error:  # noqa: BLE001 - a sensor of another package must not take the others down
            self._fail(now_ns, "lost", f"{type(error).__name__}: {error}")
        return changed

    def _moved(self, t_ns: int) -> None:
        if 0 <= self.changed_ns < t_ns - self.longest_ns:
            self.longest_ns = t_ns - self.changed_ns
        self.changed_ns = t_ns
        if self._last is not None and self.read_ns > self._kept_ns:
            self._keep(self._last)

    def _keep(self, reading: Reading) -> None:
        t_ns, value, uncertainty_ns = reading
        self._add(t_ns, value, self._index, 0, uncertainty_ns)
        self._kept_ns = t_ns

    def _fail(self, now_ns: int, status: Status, reason: str) -> None:
        if self.failing is None:
            self._failed_ns = now_ns
        self._retry_ns = now_ns + (RETRY_NS if now_ns - self._failed_ns >= GOES_ON_NS else self._soon_ns)
        if status == self.failing:
            return
        if self._last is not None and self._last.t_ns > self._kept_ns:
            self._keep(self._last)
        self._last, self.failing = None, status
        self._add(now_ns, nan, self._index, STATUS_CODES.get(status, STATUS_CODES["lost"]), 0)
        self._failures.append({"channel": self.channel.name, "status": status, "reason": reason, "t_ns": now_ns})


def _check(t_ns: int, value: float) -> None:
    """Raise SensorError for a value that is no number, and for a moment that is yet to come."""
    if not isfinite(value):
        raise SensorError("lost", f"it answered {value}")
    if t_ns > clock_ns() + AHEAD_NS:  # more than from when the poll began: the call took its time
        raise SensorError("lost", "its reading is from the future")
