"""The one reader of JSON that somebody else may have written: whatever it is, it is a value or one line that says why.

What a document must look like, shapes.py says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ipw.errors import UsageError

MOST_BYTES = 256 << 20
MOST_DEEP = 64
"""Lists and objects inside one another: more than anybody needs, and few enough to be gone through by recursion."""
TOO_DEEP = f"it is nested more than {MOST_DEEP} deep"
COPIED = "was it copied whole?"
MOST_DIGITS = 300
"""So many a floating-point number still holds."""
LONG = re.compile(r"\d{300}|[eE]\+?\d{3}")
"""What a number looks like that may be beyond all floating-point numbers."""


def parsed(text: bytes | str, errors: str = "strict") -> Any:
    """Read one JSON value. NaN, infinity, and numbers beyond all floating-point numbers are absent: null.

    `errors` is what `bytes.decode` does with bytes that are no text: with "replace", a name of such bytes costs itself.
    Raises ValueError where it is none, or is nested too deep.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text), errors)
        value = (_careful if LONG.search(text) else _quick)(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if text.count("[") + text.count("{") > MOST_DEEP:
        _refuse_depth(value)
    return value


def read_json(path: Path, hint: str | None = COPIED, most_bytes: int = MOST_BYTES) -> Any:
    """Read a file as `parsed` does. Raises UsageError, which names it."""
    try:
        if path.stat().st_size > most_bytes:
            raise UsageError(f"{path} is larger than {most_bytes >> 20} MiB", hint)
        return parsed(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", hint) from None
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {error}", hint) from None


def _no_number(_: str) -> None:
    return None


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= MOST_DIGITS else None


def _real(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


_quick = json.JSONDecoder(parse_constant=_no_number).decode
_careful = json.JSONDecoder(parse_constant=_no_number, parse_int=_whole, parse_float=_real).decode


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEEP + 1):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return
    raise ValueError(TOO_DEEP)


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (inner for inner in value.values() if isinstance(inner, dict | list))
    elif isinstance(value, list):
        yield from (inner for inner in value if isinstance(inner, dict | list))
