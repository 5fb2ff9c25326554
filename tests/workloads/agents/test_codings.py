"""Compressed bodies are undone for the record, up to what an answer may have: a few bytes can hold gigabytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from ipw.workloads.agents.gateway import codings
from ipw.workloads.agents.gateway.codings import PIECE, coding_of, undone
from ipw.workloads.lm.http.parser import HttpError

Pack = Callable[[bytes], bytes]


def brotli(data: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(data, quality=3))


def zstd(data: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").compress(data))


PACKED: list[tuple[str, Pack]] = [("br", brotli), ("zstd", zstd), ("gzip", gzip.compress), ("deflate", zlib.compress)]
every_coding = pytest.mark.parametrize(("name", "pack"), PACKED, ids=[name for name, _ in PACKED])
by_packages = pytest.mark.parametrize(("name", "pack"), PACKED[:2], ids=["br", "zstd"])


@pytest.fixture
def few_bytes(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let an answer have few bytes, so that what is too much is made quickly."""
    monkeypatch.setattr(codings, "MAX_BYTES", 4 * PIECE)
    return 4 * PIECE


@every_coding
@pytest.mark.parametrize("size", [1, 255, 256, 257, PIECE, 2 * PIECE + 1])
def test_a_whole_body_is_undone(name: str, pack: Pack, size: int) -> None:
    body = bytes(number % 251 for number in range(1000)) * (size // 1000) + b"!" * (size % 1000)
    assert undone(pack(body), name) == body


@every_coding
def test_a_body_that_holds_too_much_stays_as_it_is(name: str, pack: Pack, few_bytes: int) -> None:
    assert undone(pack(b"\0" * few_bytes), name) == b"\0" * few_bytes
    bomb = pack(b"\0" * (few_bytes + 1))
    assert undone(bomb, name) == bomb


@by_packages
@pytest.mark.parametrize("step", [7, 1 << 16])
def test_an_answer_is_undone_as_it_comes(name: str, pack: Pack, step: int) -> None:
    body = b"data: {}\n\n" * 100_000
    packed, coding = pack(body), coding_of({"content-encoding": name})
    assert b"".join(coding.feed(packed[at : at + step]) for at in range(0, len(packed), step)) == body


@by_packages
def test_an_answer_that_holds_too_much_is_told_and_stays_so(name: str, pack: Pack, few_bytes: int) -> None:
    coding = coding_of({"content-encoding": name})
    bomb = pack(b"\0" * (3 * few_bytes))
    with pytest.raises(HttpError, match="longer than 4 MiB"):
        coding.feed(bomb)
    with pytest.raises(HttpError):
        coding.feed(bomb)


@by_packages
def test_no_more_is_undone_than_what_is_too_much(name: str, pack: Pack, few_bytes: int) -> None:
    import tracemalloc

    bomb = pack(b"\0" * (20 * few_bytes))
    coding = coding_of({"content-encoding": name})
    tracemalloc.start()
    try:
        with pytest.raises(HttpError, match="longer than"):
            coding.feed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * few_bytes


def test_a_zstd_body_that_asks_for_more_memory_than_the_web_allows_is_refused() -> None:
    zstandard = pytest.importorskip("zstandard")
    wide = zstandard.ZstdCompressionParameters(window_log=24, enable_ldm=False)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    body = packer.compress(b"{}") + packer.flush()
    assert undone(body, "zstd") == body
