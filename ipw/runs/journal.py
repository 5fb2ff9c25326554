"""The journal: every finished unit of work, a line each, appended as it finishes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ipw.errors import IpwError

if TYPE_CHECKING:
    from ipw.runs.directory import RunDir

JOURNAL = "journal.jsonl"
RANK_JOURNALS = "journal-rank*.jsonl"
"""Of the ranks of a job beside the one that measures for all of them."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Journal:
    """Appends finished units of work. `append` returns when the operating system has the line: SIGKILL keeps it."""

    def __init__(self, run: RunDir, rank: int | None = None, name: str = JOURNAL) -> None:
        """Open the journal of `run`; one of several ranks marks its records with its number."""
        path = run.path / name
        self._rank = "" if rank is None else f'"rank":{rank},'
        torn = path.is_file() and not _ends_whole(path)
        self._file = path.open("ab", buffering=0)
        if torn:
            self._file.write(b"\n")

    def append(self, kind: str, record: Mapping[str, Any]) -> None:
        """Write one record. Raises IpwError when the disk is full."""
        self.append_fields(kind, _encode(record)[1:-1])

    def append_fields(self, kind: str, fields: str) -> None:
        """Write one record whose fields are JSON already: for what must cost its caller microseconds."""
        line = f'{{"kind":"{kind}",{self._rank}{fields}}}\n'.encode()
        try:
            self._file.write(line)
        except OSError as error:
            raise IpwError(f"cannot write {self._file.name}: {error.strerror}", "is the disk full?") from None

    def fileno(self) -> int:
        """Give the file's descriptor, to lock it."""
        return self._file.fileno()

    def close(self) -> None:
        """Flush to the disk and close."""
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
