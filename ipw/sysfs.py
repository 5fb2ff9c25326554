"""Short files as sysfs and procfs have them, and names as devices tell them: nothing in them is trusted."""

from __future__ import annotations

import re
from pathlib import Path

MOST_BYTES = 4096
"""A file that holds a name or a number holds less."""


def printable(told: str | bytes) -> str:
    """Give the text without what cannot be shown: bytes that are no UTF-8, control characters, ends of lines."""
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.strip("\0 \t\r\n"))


def read_text(path: Path) -> str:
    """Read such a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return printable(file.read(MOST_BYTES))
    except (OSError, ValueError):
        return ""


def read_number(path: Path) -> int | None:
    """Read a whole number; `None` where there is none."""
    text = read_text(path)
    return int(text) if text.isascii() and text.removeprefix("-").isdecimal() else None


def slug(label: str) -> str:
    """Make a part of a channel's name of a label."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def listed(root: Path, pattern: str = "*") -> list[Path]:
    """List what a folder holds, sorted; nothing where it is not there, or may not be looked at."""
    try:
        return sorted(root.glob(pattern))
    except OSError:
        return []
