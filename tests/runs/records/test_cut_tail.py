"""What a crash cut short at the end of a file of lines is cut off, however long it is, and whole lines stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipw.runs.files import TAIL_BYTES, appending

WHOLE = b'{"a":1}\n'


@pytest.mark.parametrize("whole", [b"", WHOLE, WHOLE * 3, b"x" * (TAIL_BYTES + 5) + b"\n", b"\n"])
@pytest.mark.parametrize("size", [0, 1, TAIL_BYTES - 1, TAIL_BYTES, TAIL_BYTES + 1, 2 * TAIL_BYTES + 3])
def test_a_torn_end_of_any_length_is_cut_off_and_the_next_line_follows_the_last_whole_one(
    tmp_path: Path, whole: bytes, size: int
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(whole + b"y" * size)
    with appending(path, lines=True) as file:
        assert path.read_bytes() == whole
        file.write(WHOLE)
    assert path.read_bytes() == whole + WHOLE


def test_a_file_that_is_no_lines_keeps_its_end(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(b"\x00\x01")
    with appending(path) as file:
        file.write(b"\x02")
    assert path.read_bytes() == b"\x00\x01\x02"
