"""Bodies in the codings that clients and servers agree on by themselves, undone for the record alone.

gzip and deflate are undone as in `ipw run lm`; brotli and zstd by the packages that other clients use for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ipw.workloads.lm.http.content_coding import ContentCoding
from ipw.workloads.lm.http.parser import HttpError

Undo = Callable[[bytes], bytes]


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
    """Undo the coding of a whole body; one that cannot be undone stays as it is."""
    try:
        return coding_of({"content-encoding": told}).feed(body) if told and body else body
    except HttpError:
        return body


class _ByPackage:
    plain = False

    def __init__(self, told: str) -> None:
        self._told = told
        self._undo: tuple[Undo, type[Exception]] | None = None

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
            return undo(data)
        except broken:
            raise HttpError(f"the answer is not compressed as it says ({self._told})") from None


def _brotli() -> tuple[Undo, type[Exception]]:
    import brotli

    return brotli.Decompressor().process, brotli.error


def _zstd() -> tuple[Undo, type[Exception]]:
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress, zstandard.ZstdError


PACKAGES: dict[str, tuple[str, Callable[[], tuple[Undo, type[Exception]]]]] = {
    "br": ("brotli", _brotli),
    "zstd": ("zstandard", _zstd),
}
"""By name of the coding: the package that undoes it, and how it is opened."""
