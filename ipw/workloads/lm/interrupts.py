"""A coroutine that SIGINT and SIGTERM end in good order."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_interruptible(work: Coroutine[object, object, None]) -> None:
    """Run `work` to its end. Raises KeyboardInterrupt when a signal cancelled it, after it has cleaned up.

    An exception from a group of tasks is raised by itself, the first of them.
    """
    try:
        asyncio.run(_cancelled_by_signals(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except BaseExceptionGroup as group:
        raise _first(group) from None


async def _cancelled_by_signals(work: Coroutine[object, object, None]) -> None:
    if threading.current_thread() is not threading.main_thread():
        await work  # only the main thread hears signals
        return
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def cancel(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, cancel) for number in SIGNALS}
    try:
        await work
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
