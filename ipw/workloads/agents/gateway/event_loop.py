"""The loop that the gateway runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def served(work: Coroutine[Any, Any, T]) -> T:
    """Run what serves, on uvloop where it is installed: a streamed token costs less CPU (tools/bench/gateway.py)."""
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(work)


def _factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        from uvloop import new_event_loop
    except ImportError:  # there is none for Windows, and not yet one for each new Python
        return asyncio.new_event_loop
    return new_event_loop
