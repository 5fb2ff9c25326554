"""Bodies in the codings that clients and servers agree on by themselves, undone for the record alone.

gzip and deflate are undone as in `ipw run lm`; brotli and zstd by the packages that other clients use for them. A few
hundred bytes can hold gigabytes: what is undone comes in pieces, and where they are too much together, that is the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from ipw.workloads.lm.http.content_coding import ContentCoding
from ipw.workloads.lm.http.parser import HttpError
from ipw.workloads.lm.http.reply import MAX_BYTES

Undo = Callable[[bytes], Iterator[bytes]]
"""Gives what some bytes hold, in pieces of a few MiB at most."""
PIECE = 1 << 20
AT_ONCE = 256
"""Bytes whose content can be held in memory, whatever it is: gzip makes 260 KiB of them at most, zstd 8 MiB."""


WINDOW = 8 << 20
"""What a body in zstd may ask a reader to keep at most (RFC 9659)."""


class Coding(Protocol):
    """Undoes what compresses one body."""

    plain: bool
    """Whether, from a moment on, there is nothing to undo."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the body, and return what they hold. Raises HttpError for what cannot be undone."""


def coding_of(headers: Mapping[str, str]) -> Coding:
    """Choose by what the headers, by name in lower case, say."""
    told = headers.get("content-encoding", "").strip().lower()
    return _ByPackage(told) if told in PACKAGES else ContentCoding(headers)


def undone(body: bytes, told: str | None) -> bytes:
    """Undo the coding of a whole body; one that cannot be undone, or that holds too much, stays as it is."""
    if not told or not body:
        return body
    coding, pieces = coding_of({"content-encoding": told}), _Pieces()
    try:
        for part in _parts(body):
            pieces.add(coding.feed(part))
            if coding.plain:
                return body
    except HttpError:
        return body
    return pieces.joined()


class _Pieces:
    """What was undone, up to what an answer may have."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._left = MAX_BYTES

    def add(self, piece: bytes) -> None:
        """Take the next piece. Raises HttpError where that is too much."""
        self._left -= len(piece)
        if self._left < 0:
            self._pieces = []
            raise HttpError(f"what is compressed is longer than {MAX_BYTES >> 20} MiB")
        self._pieces.append(piece)

    def joined(self) -> bytes:
        """Give what came since the last time."""
        found, self._pieces = b"".join(self._pieces), []
        return found


def _parts(data: bytes) -> Iterator[bytes]:
    return (data[at : at + AT_ONCE] for at in range(0, len(data), AT_ONCE))


class _ByPackage:
    plain = False

    def __init__(self, told: str) -> None:
        self._told = told
        self._undo: tuple[Undo, type[Exception]] | None = None
        self._pieces = _Pieces()

    def feed(self, data: bytes) -> bytes:
        package, opened = PACKAGES[self._told]
        if self._undo is None:
            try:
                self._undo = opened()
            except ImportError:
                told = f"the answer is compressed as {self._told}, which {package} would undo: pip install {package}"
                raise HttpError(told) from None
        undo, broken = self._undo
        try:
            for piece in undo(data):
                self._pieces.add(piece)
        except broken:
            raise HttpError(f"the answer is not compressed as it says ({self._told})") from None
        return self._pieces.joined()


def _brotli() -> tuple[Undo, type[Exception]]:
    import brotli

    decoder = brotli.Decompressor()
    if not hasattr(decoder, "can_accept_more_data"):
        raise ImportError("brotli before 1.2 knows no bound")

    def undo(data: bytes) -> Iterator[bytes]:
        yield (piece := decoder.process(data, output_buffer_limit=PIECE))
        while len(piece) >= PIECE or not decoder.can_accept_more_data():
            yield (piece := decoder.process(b"", output_buffer_limit=PIECE))

    return undo, brotli.error


def _zstd() -> tuple[Undo, type[Exception]]:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj(read_across_frames=True)
    return lambda data: map(decoder.decompress, _parts(data)), zstandard.ZstdError


PACKAGES: dict[str, tuple[str, Callable[[], tuple[Undo, type[Exception]]]]] = {
    "br": ("brotli", _brotli),
    "zstd": ("zstandard", _zstd),
}
"""By name of the coding: the package that undoes it, and how it is opened."""
