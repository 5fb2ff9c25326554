"""Loops that numpy cannot express, compiled where numba is installed (extra `routing`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """Return `loop` as machine code, or unchanged without numba: the same numbers, hundreds of times slower."""
    try:
        import numba
    except ImportError:
        return loop
    try:
        machine_code = numba.njit(loop, nogil=True, cache=True)
    except RuntimeError:  # neither this folder nor the user's can be written, so each process compiles anew
        machine_code = numba.njit(loop, nogil=True)
    return cast("Loop", machine_code)
