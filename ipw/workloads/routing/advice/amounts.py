"""Amounts as people write them: `8GiB`, `12GB/s`, `20ms`, `45W`."""

from __future__ import annotations

import re

from ipw.errors import UsageError

SHAPE = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?\d+)?)\s*([A-Za-zµ/]*)\s*")
DECIMAL = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BYTES = {
    **{f"{prefix}B": factor for prefix, factor in DECIMAL.items()},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("", "K", "M", "G", "T")) if power},
    "": 1,
}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
JOULES = {"J": 1.0, "mJ": 1e-3, "kJ": 1e3, "uJ": 1e-6, "µJ": 1e-6}


def amount(text: str, units: dict[str, float], option: str, example: str) -> float:
    """Read a number above 0 with one of `units`. Raises UsageError, which names the option."""
    match = SHAPE.fullmatch(text)
    if not match or match[2] not in units or not float(match[1]) > 0:
        raise UsageError(f"{option} {text!r} is not an amount above 0", f"like {option} {example}")
    return float(match[1]) * units[match[2]]


def bytes_of(text: str, option: str, example: str = "8GiB") -> int:
    """Read `8GiB` or `3MB`."""
    return int(amount(text, {unit: float(factor) for unit, factor in BYTES.items()}, option, example))


def bytes_per_s(text: str, option: str) -> float:
    """Read `12GB/s`."""
    units = {f"{unit}/s": float(factor) for unit, factor in BYTES.items() if unit}
    return amount(text, units, option, "12GB/s")
