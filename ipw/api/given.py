"""What a program gives to ipw, checked where it gives it."""

from __future__ import annotations

import math
import os

from ipw.errors import UsageError


def text(value: object, what: str, example: str) -> None:
    """Raise UsageError where the value is no text."""
    if not isinstance(value, str):
        raise UsageError(f"{what} must be text, not {type(value).__name__}", example)


def path(value: object, what: str, example: str) -> None:
    """Raise UsageError where the value names no file."""
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{what} must be a path, not {type(value).__name__}", example)


def seconds(value: object, what: str, example: str) -> None:
    """Raise UsageError where the value is no length of time."""
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise UsageError(f"{what} must be seconds, 0 or more, not {value!r}", example)
