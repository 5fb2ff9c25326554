"""Waiting for an event, however late the machine is: the time limit only ends a test that would wait for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LONG_S = 90.0
"""Less than a test may take, and far more than any event needs."""


def wait_for(found: Callable[[], T | None], what: str = "it", *, each_s: float = 0.01) -> T:
    """Ask until the answer is true. Returns it; AssertionError where it never is."""
    deadline = time.monotonic() + LONG_S
    while not (answer := found()):
        assert time.monotonic() < deadline, f"{what} did not come within {LONG_S:g} s"
        time.sleep(each_s)
    return answer
