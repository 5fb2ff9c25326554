"""A piece is written whole or not at all: partial writes, disks that are full for a moment or for good."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from ipw.clock import now_ns
from ipw.errors import IpwError, OutageError
from ipw.runs.checks import whole_writes
from ipw.runs.checks.whole_writes import close_whole, write_whole


class Disk(io.FileIO):
    """A file of which each write takes so many bytes, or fails with a code; then everything."""

    def __init__(self, path: Path, *takes: int | str) -> None:
        super().__init__(path, "ab")
        self.takes = list(takes)

    def write(self, piece: Any) -> int:
        """As the system would."""
        take = self.takes.pop(0) if self.takes else len(piece)
        if isinstance(take, str):
            raise OSError(getattr(errno, take), "no")
        return super().write(bytes(piece)[:take]) or 0


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again for room at once."""
    monkeypatch.setattr(whole_writes, "RETRY_S", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a line in it."""
    (tmp_path / "journal").write_bytes(b"one\n")
    return tmp_path / "journal"


def test_what_is_taken_in_parts_is_written_whole_and_no_disk_was_full(path: Path) -> None:
    with Disk(path, 1, 2, 0, 3) as file:
        assert write_whole(file, path, b"and another line\n") is None
    assert path.read_bytes() == b"one\nand another line\n"


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT"])
def test_a_disk_that_is_full_for_a_moment_is_waited_for_and_told_since_when(path: Path, code: str) -> None:
    before = now_ns()
    with Disk(path, 3, code, code) as file:
        since = write_whole(file, path, b"two\n")
    assert since is not None
    assert before <= since <= now_ns()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_disk_that_stays_full_takes_nothing_of_the_piece_and_ends_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_writes, "PATIENCE_NS", 1_000_000)
    with Disk(path, 3, *["ENOSPC"] * 1_000_000) as file, pytest.raises(OutageError) as error:
        write_whole(file, path, b"two\n")
    assert error.value.facts["kind"] == "disk"
    assert path.read_bytes() == b"one\n"


def test_any_other_error_ends_it_at_once_and_what_was_begun_is_taken_back(path: Path) -> None:
    with Disk(path, 2, "EIO", 99) as file:
        with pytest.raises(OutageError):
            write_whole(file, path, b"two\n")
        assert file.takes == [99]
        assert path.read_bytes() == b"one\n"
        assert write_whole(file, path, b"six\n") is None
    assert path.read_bytes() == b"one\nsix\n"


def test_an_interruption_is_passed_on_and_leaves_no_half_of_a_line(path: Path) -> None:
    class Interrupted(Disk):
        def write(self, piece: Any) -> int:
            if not self.takes:
                raise KeyboardInterrupt
            return super().write(piece)

    with Interrupted(path, 3) as file, pytest.raises(KeyboardInterrupt):
        write_whole(file, path, b"two\n")
    assert path.read_bytes() == b"one\n"


def test_behind_what_another_process_wrote_meanwhile_nothing_is_taken_back(path: Path) -> None:
    class Shared(Disk):
        def write(self, piece: Any) -> int:
            if len(self.takes) == 1:
                with path.open("ab") as other:
                    other.write(b"OTHER\n")
            return super().write(piece)

    with Shared(path, 2, "EIO") as file, pytest.raises(OutageError):
        write_whole(file, path, b"two\n")
    assert path.read_bytes() == b"one\ntwOTHER\n"


def test_closing_flushes_to_the_disk_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    file = Disk(path)
    number = file.fileno()
    close_whole(file, path)
    close_whole(file, path)
    assert (flushed, file.closed) == ([number], True)


@pytest.mark.parametrize(("code", "told"), [("EINVAL", False), ("ENOTSUP", False), ("EIO", True), ("ENOSPC", True)])
def test_a_disk_that_does_not_take_it_is_told_and_a_file_system_that_cannot_flush_is_not(
    path: Path, code: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: int) -> None:
        raise OSError(getattr(errno, code), "no")

    monkeypatch.setattr(os, "fsync", refuses)
    file = Disk(path)
    if told:
        with pytest.raises(IpwError, match="cannot write"):
            close_whole(file, path)
    else:
        close_whole(file, path)
    assert file.closed
