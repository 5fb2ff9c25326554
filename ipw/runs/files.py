"""Files that appear whole or not at all, under names that nobody can guess, and as private as their folder."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ipw.errors import IpwError, UsageError

FULL = "is the disk full?"
TAIL_BYTES = 1 << 16
PART = (".ipw-", ".part")
"""How the name of a file begins and ends that is not whole yet."""
SHARE = "IPW_SHARE"
"""Set to 1 where others on this machine may read what is measured."""


def absolute(path: Path) -> Path:
    """Give a path that stays right when the working directory changes. Raises UsageError where that is gone."""
    try:
        return path.absolute()
    except FileNotFoundError:
        raise UsageError("the current folder does not exist any more", "change to another folder") from None


def folder_mode() -> int:
    """Give the mode of a new run's folder: this user's alone, or what the umask allows where runs are shared."""
    return 0o777 if os.environ.get(SHARE) == "1" else 0o700


def opened(path: Path, flags: int) -> int:
    """Open or make a file and give its descriptor; it is never a link. A new one is as private as its folder.

    Raises OSError.
    """
    open_to_others = 0o066 & path.parent.stat().st_mode
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600 | open_to_others)


def make_folder(path: Path, hint: str = "choose another folder") -> Path:
    """Make a folder that a user asked for, and those above it. Raises IpwError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error, hint) from None
    return path


def appending(path: Path, *, lines: bool = False) -> io.FileIO:
    """Open a file at its end, unbuffered. Raises OSError.

    Of a file of `lines`, what a crash cut short behind the last whole one is cut off first.
    """
    file = os.fdopen(opened(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "ab", buffering=0)
    if lines:
        _cut_tail(file.fileno())
    return file


@contextlib.contextmanager
def replacing(path: Path, hint: str = FULL, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Give a file to write; whole, it takes the place of `path`, and keeps the access that the old one had.

    With `durable` it is on the disk before it does, as what cannot be derived again must be. Raises IpwError where it
    cannot be written.
    """
    try:
        with _in_place(path) if _is_device(path) else _beside(path, durable=durable) as file:
            yield file
    except OSError as error:
        raise unwritable(path, error, hint) from None


def unwritable(path: Path, error: OSError, hint: str | None = FULL) -> IpwError:
    """Tell in one line that a file cannot be written."""
    if hint == FULL and error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        hint = "copy it to where you may write"
    return IpwError(f"cannot write {path}: {os.strerror(error.errno) if error.errno else error}", hint)


@contextlib.contextmanager
def _beside(path: Path, *, durable: bool) -> Iterator[BinaryIO]:
    part = path.with_name(f"{PART[0]}{os.urandom(8).hex()}{PART[1]}")
    descriptor = opened(part, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            _keep_access(path, descriptor)
            yield file
            file.flush()
            if durable:
                os.fsync(descriptor)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    if durable:
        _sync_folder(path.parent)


def _keep_access(path: Path, descriptor: int) -> None:
    """Give a file the mode of the one that it will replace, and its owner where that is allowed."""
    with contextlib.suppress(OSError):
        before = path.lstat()
        if stat.S_ISREG(before.st_mode):
            if before.st_uid != os.geteuid():
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


@contextlib.contextmanager
def _in_place(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        yield file


def _is_device(path: Path) -> bool:
    """Whether something stands there that must not be replaced: a terminal, a pipe, /dev/stdout."""
    where = path.absolute().parts[1:3]
    if where[:1] in {("dev",), ("proc",)} and where != ("dev", "shm"):
        return True
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISBLK(mode)
    return False


def _sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk, where its file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _cut_tail(descriptor: int) -> None:
    """Cut off what stands behind the last line."""
    size = end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - TAIL_BYTES)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
