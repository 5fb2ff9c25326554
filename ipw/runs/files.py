"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ipw.errors import IpwError, UsageError


def absolute(path: Path) -> Path:
    """Give a path that stays right when the working directory changes. Raises UsageError where that is gone."""
    try:
        return path.absolute()
    except FileNotFoundError:
        raise UsageError("the current folder does not exist any more", "change to another folder") from None


@contextlib.contextmanager
def replacing(path: Path, hint: str = "is the disk full?") -> Iterator[Path]:
    """Give a file to write; whole, it takes the place of `path`. Raises IpwError where it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        why = os.strerror(error.errno) if error.errno else str(error)
        raise IpwError(f"cannot write {path}: {why}", hint) from None
