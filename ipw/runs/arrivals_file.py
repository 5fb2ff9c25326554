"""Writes `arrivals.bin`: a block for each request that has ended, just before its line in the journal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from ipw.clock import now_ns
from ipw.runs.arrivals import ARRIVALS, block, whole_blocks
from ipw.runs.checks.whole_writes import close_whole, write_whole
from ipw.runs.directory import RunDir
from ipw.runs.files import appending, unwritable
from ipw.runs.journal import Journal
from ipw.runs.journal_lines import STALL


class ArrivalsFile:
    """Appends blocks. SIGKILL keeps what `append` has returned; a block without a line in the journal says nothing."""

    def __init__(self, run: RunDir, journal: Journal) -> None:
        """Open that of `run`; what a crash cut short at its end is cut off.

        Raises IpwError where it cannot be written, and UsageError where what is there is damaged.
        """
        self._path, self._journal = run.path / ARRIVALS, journal
        try:
            self._file = appending(self._path)
        except OSError as error:
            raise unwritable(self._path, error) from None
        size = os.fstat(self._file.fileno()).st_size
        try:
            self._end = max((blocks.end for blocks in whole_blocks(self._path)), default=0)
        except BaseException:
            self._file.close()
            raise
        self.cut_bytes = size - self._end
        """What was cut off."""
        if self.cut_bytes:
            os.ftruncate(self._file.fileno(), self._end)

    def append(self, blocks: bytes) -> int:
        """Write a block, or several; returns where it begins. Raises OutageError as the journal does."""
        begin = self._end
        full_ns = write_whole(self._file, self._path, blocks)
        self._end += len(blocks)
        if full_ns:
            self._journal.append(STALL, {"start_ns": full_ns, "end_ns": now_ns()})
        return begin

    def take(self, path: Path) -> tuple[int, int]:
        """Append all whole blocks of another file; returns where they begin here, and how many bytes they are.

        Raises UsageError where that is damaged; where there is none, there are no blocks.
        """
        begin = self._end
        if path.is_file():
            for blocks in whole_blocks(path):
                self.append(b"".join(map(block, blocks.contents)))
        return begin, self._end - begin

    def close(self) -> None:
        """Flush to the disk and close. Raises IpwError where the disk does not take what was written."""
        close_whole(self._file, self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
