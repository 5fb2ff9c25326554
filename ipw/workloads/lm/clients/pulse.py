"""A timer of an event loop that tells, each time, how late it came and how much its thread has worked so far.

A chunk of an answer waits in its socket while the loop is busy with others, just as the timer does: as late as the
timer is, stamps are.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from ipw.clock import now_ns

EVERY_S = 0.1


class Beat(NamedTuple):
    """How a thread is, at one moment."""

    t_ns: int
    late_ns: int | None
    """Behind the moment that the timer was set for; `None` where no timer brought it. Up to 1 ms is the timer's own,
    since epoll(7) waits for whole ones."""
    worked_ns: int
    """On a processor, so far."""
    queued_ns: int | None
    """Ready to run while others had the processor, so far; `None` where the system does not tell."""


class Pulse:
    """Beats while the loop runs, until it is stopped."""

    def __init__(self, take: Callable[[Beat], None]) -> None:
        """Give every beat to `take`, the first one at once."""
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._queue = _run_queue()
        self._take(self._beat(None))
        self._set()

    def stop(self) -> None:
        """Beat a last time."""
        self._timer.cancel()
        self._take(self._beat(None))
        if self._queue is not None:
            os.close(self._queue)

    def _set(self) -> None:
        self._due_ns = now_ns() + int(EVERY_S * 1e9)
        self._timer = self._loop.call_later(EVERY_S, self._come)

    def _come(self) -> None:
        self._take(self._beat(self._due_ns))
        self._set()

    def _beat(self, due_ns: int | None) -> Beat:
        t_ns = now_ns()
        queued_ns = None if self._queue is None else int(os.pread(self._queue, 100, 0).split()[1])
        late_ns = None if due_ns is None else max(t_ns - due_ns, 0)
        return Beat(t_ns, late_ns, time.thread_time_ns(), queued_ns)


def _run_queue() -> int | None:
    """Open Linux's account of this thread (Documentation/scheduler/sched-stats.rst): ran, waited to run, how often."""
    try:
        return os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
