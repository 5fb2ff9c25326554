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


def undisturbed(claim: Callable[[], T]) -> T:
    """Try again what holds unless the machine is held up meanwhile, such as a power over a quarter of a second.

    Returns what the claim returns; raises the last AssertionError where it never holds. What holds however late the
    machine is needs no such help, and stands outside of the claim.
    """
    deadline = time.monotonic() + LONG_S
    while True:
        try:
            return claim()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
