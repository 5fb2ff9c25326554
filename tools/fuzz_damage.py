"""How files come to harm: bits, cuts, odd values, and values that look as good as those that were there."""

from __future__ import annotations

import contextlib
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**53, 2**63, 10**40, 10**400, 1e300, float("nan"), float("inf"), "", "x", "8", [], {}, [[]],
    {"a": 1}, [None], "\x1b[31m", "\ud800", "x" * 100_000,
)  # fmt: skip


def damage(target: Path, rng: random.Random) -> str:
    """Damage a file; of a folder one of its files, seldom two, or take one away. Returns the names."""
    if target.is_file():
        damage_file(target, rng)
        return target.name
    files = sorted(path for path in target.rglob("*") if path.is_file())
    chosen = rng.sample(files, min(len(files), rng.choice((1, 1, 1, 2))))
    for path in chosen:
        if len(files) > 1 and rng.random() < 0.05:
            path.unlink()
        else:
            damage_file(path, rng)
    return ", ".join(path.name for path in chosen)


def damage_file(path: Path, rng: random.Random) -> None:
    """Damage a file: its bytes, or where it is JSON, one of its values."""
    path.write_bytes(damaged(path.read_bytes(), rng, path.suffix))


def damaged(raw: bytes, rng: random.Random, suffix: str) -> bytes:
    """Give other bytes than these."""
    if suffix in {".json", ".jsonl"} and rng.random() < 0.7:
        with contextlib.suppress(ValueError):
            return _other_value(raw, rng, lines=suffix == ".jsonl")
    return _other_bytes(raw, rng)


def _other_bytes(raw: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(raw) + 1), len(raw)
    match rng.randrange(10):
        case 0:
            return raw[:at]
        case 1:
            return b""
        case 2:
            return raw[:at] + rng.randbytes(rng.choice((1, 4, 8, 64))) + raw[at:]
        case 3:
            return raw[:at] + raw[at + rng.choice((1, 8, 100)) :]
        case 4:
            return raw[:at] + rng.choice((b"[", b'{"a":')) * 50_000 + raw[at:]
        case 5:
            return raw[:at] + struct.pack("<Q", rng.choice((0, 2**31, 2**63, 2**64 - 1))) + raw[at + 8 :]
        case 6:
            return raw[:at] + bytes(min(64, size - at)) + raw[at + 64 :]
        case 7:
            return raw + raw[at:]
        case 8:
            return _another_digit(raw, rng)
        case _:
            flipped = bytearray(raw or b"\0")
            for _ in range(rng.choice((1, 1, 5, 50))):
                flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            return bytes(flipped)


def _another_digit(raw: bytes, rng: random.Random) -> bytes:
    places = [place for place, byte in enumerate(raw[:200_000]) if 0x30 <= byte <= 0x39]
    if not places:
        return raw[:-1]
    changed = bytearray(raw)
    for place in rng.sample(places, min(len(places), rng.choice((1, 1, 4)))):
        changed[place] = rng.choice(b"0123456789-.e")
    return bytes(changed)


def _other_value(raw: bytes, rng: random.Random, *, lines: bool) -> bytes:
    if lines:
        rows = raw.splitlines()
        at = rng.randrange(len(rows))
        if rng.random() < 0.2:
            return b"\n".join(rows[:at] + rows[at + rng.choice((0, 1)) :] + rows[: rng.choice((0, 1))]) + b"\n"
        rows[at] = _other_value(rows[at], rng, lines=False)
        return b"\n".join(rows) + b"\n"
    document = json.loads(raw)
    places = list(_places(document))
    if not places:
        return json.dumps(rng.choice(ODD)).encode()
    holder, key = rng.choice(places)
    if rng.random() < 0.2:
        del holder[key]
    elif rng.random() < 0.5:
        other, place = rng.choice(places)
        holder[key] = _nearby(holder[key], other[place], rng)
    else:
        holder[key] = rng.choice(ODD)
    return json.dumps(document, separators=rng.choice(((",", ":"), (", ", ": ")))).encode()


def _nearby(value: Any, other: Any, rng: random.Random) -> Any:
    """Give a value that looks as good: of the same type, or one from elsewhere in the document."""
    match value:
        case bool():
            return not value
        case int() if rng.random() < 0.8:
            return value + 1 if value == 0 or rng.random() < 0.3 else value * rng.choice((2, 3, 10))
        case float() if value:
            return value * rng.choice((0.5, 1.01))
        case str() if value and rng.random() < 0.4:
            return value[:-1]
    return other


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])
