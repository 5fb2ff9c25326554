"""The journal: every finished unit of work, a line each, appended as it finishes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from ipw.clock import now_ns
from ipw.runs.checks.whole_writes import close_whole, write_whole
from ipw.runs.files import appending, unwritable
from ipw.runs.journal_lines import JOURNAL, KINDS, STALL
from ipw.secrets_out import without_secrets

if TYPE_CHECKING:
    from ipw.runs.directory import RunDir

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Journal:
    """Appends finished units of work. `append` returns when the operating system has the whole line: SIGKILL keeps it.

    A line that cannot be written whole is taken back, so that the next one never stands behind half of another. A disk
    that is full for a moment is waited for, which the journal then tells.
    """

    _writing = threading.Lock()
    """Held until a line is whole, so that another thread's never begins in its middle."""

    def __init__(self, run: RunDir, rank: int | None = None, name: str = JOURNAL) -> None:
        """Open the journal of `run`; one of several ranks marks its records with its number.

        What a crash cut short at its end was not finished, and is cut off. Raises IpwError where it cannot be written.
        """
        self._path = run.path / name
        self._rank = "" if rank is None else f'"rank":{rank},'
        try:
            self._file = appending(self._path, lines=True)
        except OSError as error:
            raise unwritable(self._path, error) from None

    def append(self, kind: str, record: Mapping[str, Any]) -> None:
        """Write one record. Raises OutageError where it cannot be written whole, as on a full disk: the run ends."""
        if error := record.get("error"):
            record = {**record, "error": without_secrets(str(error))}
        self.append_fields(kind, _encode(record)[1:-1])

    def append_fields(self, kind: str, fields: str) -> None:
        """Write one record whose fields are JSON already: for what must cost its caller microseconds."""
        if kind not in KINDS:
            raise ValueError(f"the journal knows no kind {kind!r}")
        line = f'{{"kind":"{kind}",{self._rank}{fields}}}\n'.encode()
        with self._writing:
            full_ns = write_whole(self._file, self._path, line)
        if full_ns and kind != STALL:
            self.append(STALL, {"start_ns": full_ns, "end_ns": now_ns()})

    def fileno(self) -> int:
        """Give the file's descriptor, to lock it."""
        return self._file.fileno()

    def close(self) -> None:
        """Flush to the disk and close. Raises IpwError where the disk does not take what was written."""
        close_whole(self._file, self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


os.register_at_fork(after_in_child=lambda: setattr(Journal, "_writing", threading.Lock()))
