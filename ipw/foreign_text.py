"""Text that other programs wrote: in any Unicode encoding, with log lines around what is wanted."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with that one's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
LOOK = 4096
"""Bytes that tell UTF-16 without a mark from UTF-8: half of them are zeros where the text is Latin."""


def read_text(path: Path) -> str:
    """Read a file as `decoded` does. Raises OSError."""
    return decoded(path.read_bytes())


def decoded(raw: bytes) -> str:
    """Decode by the byte-order mark, or by where zeros stand, else as UTF-8; what cannot be decoded becomes U+FFFD."""
    return raw.decode(_encoding(raw), "replace")


def _encoding(raw: bytes) -> str:
    for mark, encoding in MARKS:
        if raw.startswith(mark):
            return encoding
    head = raw[:LOOK]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > len(head) // 4 and min(even, odd) <= len(head) // 40:
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def json_values(text: str) -> Iterator[Any]:
    """Yield the JSON objects and lists of a text that begin a line; lines of logs around them are passed over.

    Raises ValueError (or RecursionError) for one that breaks off.
    """
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        start = at + len(text[at:end]) - len(text[at:end].lstrip())
        at = end + 1
        if text[start : start + 1] not in ("{", "["):
            continue
        try:
            value, over = decoder.raw_decode(text, start)
        except ValueError:
            if _begins_json(text[start:end]):
                raise
            continue  # a line of a log, such as `[INFO] …`
        yield value
        at = max(at, over)


def _begins_json(line: str) -> bool:
    """Whether a line that begins with a bracket is the beginning of JSON, and not of a log."""
    rest = line[1:].lstrip()
    return not rest or rest[0] in ('{["' if line[0] == "[" else '"')
