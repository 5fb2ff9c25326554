"""Loops that numpy cannot express, compiled where numba is installed (extra `routing`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """Return `loop` as machine code, or unchanged without numba: the same numbers, some hundred times slower."""
    try:
        import numba
    except ImportError:
        return loop
    return cast("Loop", numba.njit(cache=True, nogil=True)(loop))
