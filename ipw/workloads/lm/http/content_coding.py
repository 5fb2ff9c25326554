"""Bodies that come compressed, though nobody asked for it, by what they are rather than by what their head says.

Some servers compress whatever they are asked; some proxies undo that and leave the head as it was, or the other way
round. gzip and deflate (RFC 9110, section 8.4.1) are undone as the bytes come; what cannot be undone is named.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

from ipw.workloads.lm.http.parser import HttpError

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
LEADS = (GZIP[0], ZSTD[0])
NAMES = {"x-gzip": "gzip", "zlib": "deflate", "": None, "identity": None, "chunked": None}
SNIFFED = 6
"""Bytes from which a body is known."""
PLAIN = re.compile(rb"(\xef\xbb\xbf)?\s*(data|event|error|id|retry)?\s*:|\s*[{\[]\s*[\"{}\[\]]|\s*<[!?a-zA-Z]")
RAW, ZLIB, WITH_GZIP = -15, 15, 31
"""zlib's `wbits`."""


class ContentCoding:
    """Undoes what compresses one body. It is `plain`, from a moment on, if there is nothing to undo."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        told = f"{headers.get('transfer-encoding', '')},{headers.get('content-encoding', '')}".lower()
        names = [NAMES.get(word, word) for word in (part.strip() for part in told.split(","))]
        self._told = " and ".join(name for name in names if name)
        self._start = b""
        self._inflate: zlib._Decompress | None = None
        self._over = False
        self.plain = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the body, and return what they hold. Raises HttpError for what cannot be undone."""
        if self._inflate is None:
            data = self._start = self._start + data
            if len(data) < SNIFFED and (self._told or data[0] in LEADS):
                return b""
            self._open(data)
            if self.plain:
                return data
        return self._inflated(data)

    def _open(self, start: bytes) -> None:
        if start.startswith(GZIP):
            self._inflate = zlib.decompressobj(WITH_GZIP)
        elif PLAIN.match(start) or (self._told in ("", "gzip") and not start.startswith(ZSTD)):
            self.plain = True
        elif self._told == "deflate":
            has_header = start[0] & 15 == 8 and int.from_bytes(start[:2]) % 31 == 0
            self._inflate = zlib.decompressobj(ZLIB if has_header else RAW)
        else:
            raise HttpError(f"the answer is compressed as {self._told or 'zstd'}, which ipw does not undo")

    def _inflated(self, data: bytes) -> bytes:
        pieces = []
        try:
            while data and self._inflate is not None and not self._over:
                pieces.append(self._inflate.decompress(data))
                data = self._inflate.unused_data
                if data:  # some start anew for each piece; what else follows is padding
                    self._over = not data.startswith(GZIP[:1])
                    self._inflate = zlib.decompressobj(WITH_GZIP)
        except zlib.error:
            raise HttpError(f"the answer is not compressed as it says ({self._told or 'gzip'})") from None
        return b"".join(pieces)
