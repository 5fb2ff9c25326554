"""One owner: the process that measures, resumes, scores or derives a run holds a lock, which ends with the process.

A POSIX record lock on `owner.lock` in the run's folder: the system releases it however the process ends, no child
inherits it, and NFS knows it, so that hosts exclude each other too. Readers never ask for it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import threading
import time
from pathlib import Path
from typing import Any, Self

from ipw.clock import boot_id, wall_ns
from ipw.errors import IpwError
from ipw.foreign_json import parsed
from ipw.runs.files import opened, unwritable

LOCK = "owner.lock"
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What a file system says that knows no locks: Lustre without `flock`, some of FUSE."""
NOTE_BYTES = 1000

_held: dict[tuple[int, int], str] = {}
"""What this process does to which folders: to the system, two of its threads are one owner."""
_taking = threading.Lock()


class BusyError(IpwError):
    """Another process, or another part of this one, owns the run."""


class Owner:
    """Owns a run until `release`, or until the process ends. A context too."""

    def __init__(self, folder: Path, doing: str) -> None:
        """Take `folder`, to say to others that the run is being `doing`: measured, scored, derived.

        Raises BusyError, which says who owns it, and IpwError where the folder cannot be written.
        """
        self._path = folder / LOCK
        try:
            place = folder.stat()
            self._key = place.st_dev, place.st_ino
            with _taking:
                if self._key in _held:
                    raise _busy(folder, {"doing": _held[self._key], "pid": os.getpid()})
                self._descriptor = _locked(self._path)
                _held[self._key] = doing
        except OSError as error:
            raise unwritable(self._path, error) from None
        self._pid, self._released = os.getpid(), False
        with contextlib.suppress(OSError):  # a full disk: nobody learns who it is, and the lock holds
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_ns() / 1e9))
            note = {"doing": doing, "pid": self._pid, "host": platform.node(), "since": since, "boot_id": boot_id()}
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(note).encode(), 0)

    def release(self) -> None:
        """Let go; harmless to call twice, and in a forked child, which owns nothing."""
        if self._released or self._pid != os.getpid():
            return
        self._released = True
        with _taking:
            del _held[self._key]
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def _locked(path: Path) -> int:
    """Open and lock the file that `path` leads to once it is locked: an owner that goes removes its own."""
    while True:
        descriptor = opened(path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor, path)
            there = os.fstat(descriptor)
            with contextlib.suppress(FileNotFoundError):
                found = path.lstat()
                if (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN}:
            raise _busy(path.parent, _note(descriptor)) from None
        if error.errno not in NO_LOCKS:
            raise
        note = _note(descriptor)
        if _may_live(note):
            hint = f"this file system knows no locks: delete {path} if that process has ended"
            raise _busy(path.parent, note, hint) from None


def _may_live(note: dict[str, Any]) -> bool:
    """Whether who wrote the note may still own the run, where the file system does not tell."""
    if not note:
        return False
    if note.get("host") != platform.node():
        return True
    try:
        os.kill(note["pid"], 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return note.get("boot_id") == str(boot_id() or "") and note["pid"] != os.getpid()


def _note(descriptor: int) -> dict[str, Any]:
    """Read who owns it: nobody is where that cannot be read, and nothing but plain words comes from there."""
    try:
        note = parsed(os.pread(descriptor, NOTE_BYTES, 0))
    except (OSError, ValueError):
        return {}
    if not isinstance(note, dict) or type(note.get("pid")) is not int or not 0 < note["pid"] < 2**31:
        return {}
    words = {name: str(note.get(name) or "") for name in ("doing", "host", "since", "boot_id")}
    return {"pid": note["pid"]} | {name: word for name, word in words.items() if word.isprintable()}


def _busy(folder: Path, note: dict[str, Any], hint: str | None = None) -> BusyError:
    who = f"process {note['pid']}" if note else "another process"
    host = f" on {note['host']}" if note.get("host") not in {None, "", platform.node()} else ""
    since = f" since {note['since']}" if note.get("since") else ""
    told = f"{folder} is being {note.get('doing') or 'used'} by {who}{host}{since}"
    return BusyError(told, hint or f"wait for its end, or end it: ipw watch {folder}")


def _forget() -> None:
    """Begin anew in a forked child, which inherits no lock."""
    global _taking  # noqa: PLW0603 - another thread may have held it
    _taking = threading.Lock()
    _held.clear()


os.register_at_fork(after_in_child=_forget)
