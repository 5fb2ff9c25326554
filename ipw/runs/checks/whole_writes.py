"""Appends to files that hold whole pieces: a piece is written whole or taken back, and a full disk is waited for."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import time
from pathlib import Path

from ipw.clock import now_ns
from ipw.errors import OutageError
from ipw.runs.files import unwritable

PATIENCE_NS = 300_000_000
"""The client reads no token meanwhile."""
RETRY_S = 0.01


def write_whole(file: io.FileIO, path: Path, piece: bytes) -> int | None:
    """Append a piece to a file that is opened unbuffered; returns since when the disk was full, if it was for a moment.

    When this returns, the operating system has all of it: SIGKILL keeps it. What cannot be written whole is taken back,
    so that the next piece never stands behind half of another. Raises OutageError then: the run ends.
    """
    full_ns = None
    done = 0
    try:
        while done < len(piece):
            try:
                done += file.write(piece[done:])
            except OSError as error:
                full_ns = full_ns or now_ns()
                _wait(error, full_ns)
    except BaseException as error:
        if 0 < done < len(piece):
            _take_back(file, done)
        if isinstance(error, OSError):
            told = unwritable(path, error)
            raise OutageError(told.message, {"kind": "disk", "t_ns": now_ns()}, told.hint) from None
        raise
    return full_ns


def close_whole(file: io.FileIO, path: Path) -> None:
    """Flush to the disk and close; harmless to call twice. Raises IpwError where the disk does not take it."""
    if file.closed:
        return
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # a file system that cannot
            raise unwritable(path, error) from None
    finally:
        file.close()


def _take_back(file: io.FileIO, count: int) -> None:
    """Remove the last `count` bytes written here, unless another process has written behind them."""
    with contextlib.suppress(OSError):
        end = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        if os.fstat(file.fileno()).st_size == end:
            os.ftruncate(file.fileno(), end - count)


def _wait(error: OSError, since_ns: int) -> None:
    """Wait for room on a disk that is full. Raises the error where that took too long, and any other at once."""
    if error.errno not in {errno.ENOSPC, errno.EDQUOT} or now_ns() - since_ns > PATIENCE_NS:
        raise error
    time.sleep(RETRY_S)
