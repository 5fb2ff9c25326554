"""Arrivals of chunks on disk: what was written is read again, whatever became of the file's end, and damage is told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipw.errors import UsageError
from ipw.runs.arrivals import MOST_TOKENS, UNIT_NS, Read, block, encoded, read_chunks

START_NS = 5_000_000_000_000
MS = 1_000_000
moments = st.integers(START_NS - 2**60, START_NS + 2**60) | st.integers(START_NS, START_NS + 10**10)
Request = tuple[list[int], list[int] | None]


@st.composite
def requests(draw: st.DrawFn) -> list[Request]:
    """Chunks of some requests: in order of time or not, with counts or without."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        stamps = draw(st.lists(moments, max_size=6))
        stamps = sorted(stamps) if draw(st.booleans()) else stamps
        counts = st.lists(st.integers(0, 2**40), min_size=len(stamps), max_size=len(stamps))
        found.append((stamps, draw(st.none() | counts)))
    return found


def written(path: Path, given_: list[Request]) -> tuple[list[int], list[int]]:
    """Write the blocks; returns where each begins, or -1, and where each ends."""
    data, at, ends = b"", [], []
    for stamps, tokens in given_:
        made = encoded(START_NS, stamps, tokens)
        at.append(len(data) if made else -1)
        data += made
        ends.append(len(data))
    path.write_bytes(data)
    return at, ends


def chunks(path: Path, at: list[int]) -> dict[int, list[tuple[int, int]]]:
    """Units since the start and tokens, by request."""
    read = read_chunks(path, np.array(at, np.int64)).chunks
    found: dict[int, list[tuple[int, int]]] = {}
    for row, since_ns, tokens in zip(*(column.tolist() for column in read), strict=True):
        found.setdefault(row, []).append((since_ns // UNIT_NS, tokens))
    return found


def refused_or_read(path: Path, at: list[int]) -> Read | None:
    """Read what may be damaged; `None` where that was told, in one line."""
    try:
        return read_chunks(path, np.array(at, np.int64))
    except UsageError as error:
        told = error.message
    assert re.fullmatch(r"\S+arrivals\.bin cannot be read: its block at byte \d+ is damaged", told)
    return None


def expected(given_: list[Request]) -> dict[int, list[tuple[int, int]]]:
    return {
        number: [
            ((t_ns - START_NS) // UNIT_NS, min(count, MOST_TOKENS))
            for t_ns, count in zip(stamps, tokens or [1] * len(stamps), strict=True)
        ]
        for number, (stamps, tokens) in enumerate(given_)
        if stamps
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arrivals") / "arrivals.bin"


@settings(max_examples=60)
@given(requests())
def test_any_times_and_counts_are_read_as_they_were_written(path: Path, asked: list[Request]) -> None:
    at, _ = written(path, asked)
    assert chunks(path, at) == expected(asked)


@settings(max_examples=60)
@given(requests(), st.data())
def test_a_file_that_is_cut_anywhere_reads_back_its_whole_blocks(
    path: Path, asked: list[Request], data: st.DataObject
) -> None:
    at, ends = written(path, asked)
    cut = data.draw(st.integers(0, ends[-1]))
    path.write_bytes(path.read_bytes()[:cut])
    whole = [number for number, end in enumerate(ends) if end <= cut and at[number] >= 0]
    read = read_chunks(path, np.array(at, np.int64))
    assert chunks(path, at) == {number: told for number, told in expected(asked).items() if number in whole}
    assert read.missing == sum(begin >= 0 for begin in at) - len(whole)
    assert read.torn_bytes == cut - max((ends[number] for number in whole), default=0)


@settings(max_examples=60)
@given(requests(), st.data(), st.integers(1, 255))
def test_a_byte_that_is_flipped_is_told_or_harmless(
    path: Path, asked: list[Request], data: st.DataObject, flip: int
) -> None:
    at, ends = written(path, asked)
    if not ends[-1]:
        return
    damaged = bytearray(path.read_bytes())
    damaged[data.draw(st.integers(0, ends[-1] - 1))] ^= flip
    path.write_bytes(damaged)
    read = refused_or_read(path, at)
    if read is None:
        return
    assert read.missing  # the rest looks like what a crash cut short
    assert read.torn_bytes
    assert chunks(path, at).items() <= expected(asked).items()


@given(st.binary(max_size=200), st.integers(0, 20))
def test_any_bytes_are_refused_in_one_line_or_read(path: Path, junk: bytes, at: int) -> None:
    path.write_bytes(junk)
    refused_or_read(path, [at])


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_blocks_whose_content_was_made_up_are_refused_in_one_line_or_read(path: Path, contents: list[bytes]) -> None:
    path.write_bytes(b"".join(map(block, contents)))
    refused_or_read(path, [0])


@pytest.mark.parametrize("step_ms", [1, 7, 40, 80])
def test_an_answer_of_fifty_tokens_takes_less_than_three_bytes_a_token(step_ms: int) -> None:
    stamps = [START_NS + 300 * MS + step_ms * MS * number + number % 7 * 10_000 for number in range(50)]
    assert len(encoded(START_NS, stamps)) < 2.3 * 50


def test_a_token_half_a_millisecond_takes_one_byte_and_every_fifty_two() -> None:
    beside = 1 + 2 + 4  # the length of the block, how many chunks, and the check value
    assert len(encoded(0, [600_000 * k for k in range(1, 101)])) == 100 + beside
    assert len(encoded(0, [50_000_000 * k for k in range(1, 101)])) == 200 + beside + 1


def test_a_token_every_ten_seconds_takes_three_bytes() -> None:
    stamps = [START_NS + 10_000 * MS * number for number in range(1000)]
    assert len(encoded(START_NS, stamps)) <= 3 * 1000 + 10


def test_two_requests_never_share_a_block(path: Path) -> None:
    written(path, [([START_NS + MS], None)])
    read = read_chunks(path, np.array([-1, 0, 0], np.int64))
    assert (read.chunks.row.tolist(), read.first.tolist(), read.missing) == ([1], [0], 0)


def test_blocks_that_nobody_asks_for_are_passed_over(path: Path) -> None:
    asked: list[Request] = [([START_NS + number * MS], None) for number in range(5)]
    at, _ = written(path, asked)
    assert chunks(path, [at[3], -1, at[1]]) == {0: [(300, 1)], 2: [(100, 1)]}


def test_a_file_longer_than_what_is_read_at_once_is_read_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipw.runs.arrivals.READ_BYTES", 7)
    asked: list[Request] = [([START_NS + number * MS] * (number + 1), None) for number in range(40)]
    at, _ = written(path, asked)
    assert chunks(path, at) == expected(asked)
