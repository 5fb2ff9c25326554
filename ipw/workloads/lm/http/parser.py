"""HTTP/1.1 responses from bytes as they arrive: no sockets here, and nothing that a server sends is trusted."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_HEAD = 64 * 1024
HEAD_END, FOLD = re.compile(rb"\r?\n\r?\n"), re.compile("\r?\n[ \t]+")
"""Servers written by hand end lines with a newline alone, and old proxies go on with a header on the next line; both
may be read (RFC 9112, sections 2.2 and 5.2)."""
MAX_LINE = 4096
"""Of a chunk's size line and of each trailer."""
LONGEST_SIZE = 15
DIGITS = re.compile(rb"[0-9A-Fa-f]{1,%d}" % LONGEST_SIZE)
"""Of a chunk's size; what Python takes for a number besides, such as `0x2`, is none here."""


class HttpError(Exception):
    """What came is not HTTP/1.1, or the connection ended before the response did."""


HEAD, SIZE, CHUNK, CHUNK_END, TRAILERS, LENGTH, UNTIL_CLOSE, DONE = range(8)
"""What is read next. Numbers, since Python 3.11 is slow to find the members of an enumeration."""


class ResponseParser:
    """Takes one response apart; `feed` returns the body's bytes in what it is given, without chunk framing."""

    most_head = MAX_HEAD
    """Bytes of a head."""

    def __init__(self) -> None:
        self.status = 0
        """Known once the head has come."""
        self.headers: dict[str, str] = {}
        """Names in lower case; of equal names the last counts."""
        self.keep_alive = False
        self.done = False
        """Whether the whole response has come."""
        self._state = HEAD
        self._left = 0
        self._rest = b""

    @property
    def has_head(self) -> bool:
        """Whether status and headers have come, and the body follows."""
        return self._state != HEAD

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from the socket. Raises HttpError for what is not HTTP/1.1."""
        return self.whole_chunk(data) or self._pieces(data)

    def whole_chunk(self, data: bytes) -> bytes:
        """Give what is in a read that is one plain chunk, as tokens mostly come; for anything else nothing is taken."""
        if self._state != SIZE or self._rest:
            return b""
        end = data.find(b"\r\n", 0, LONGEST_SIZE + 2)
        size = _plain_size(data[:end]) if end > 0 else 0
        return data[end + 2 : -2] if size and len(data) == end + size + 4 and data.endswith(b"\r\n") else b""

    def end(self) -> None:
        """Note that the whole response has come."""
        self._state = DONE
        self.done = True

    def _pieces(self, data: bytes) -> bytes:
        """Give what is in a read of any kind."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        pieces: list[bytes] = []
        at = 0
        if self._state == HEAD:
            at = self._head(data)
        while 0 <= at < len(data):
            if self.done:
                self.keep_alive = False  # more than an answer: whatever it is, it answers no question of ours
                break
            at, piece = self._step(data, at)
            if piece:
                pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def eof(self) -> None:
        """Note that the server closed the connection. Raises HttpError where the response is not whole."""
        if self._state == UNTIL_CLOSE:
            self.end()
        if not self.done:
            raise HttpError("the server closed the connection before its answer was whole")

    def _step(self, data: bytes, at: int) -> tuple[int, bytes]:
        """Go on from `at`: where to go on next (negative: wait for more), and a piece of the body."""
        state = self._state
        if state == SIZE:
            return self._chunk(data, at)
        if state in (CHUNK, LENGTH):
            piece = data[at : at + self._left]
            self._left -= len(piece)
            if not self._left:
                if state == CHUNK:
                    self._state = CHUNK_END
                else:
                    self.end()
            return at + len(piece), piece
        if state in (CHUNK_END, TRAILERS):
            end = self._line_end(data, at)
            if end < 0:
                return end, b""
            if state == CHUNK_END and end != at:
                raise HttpError("a chunk is longer than it said")
            if state == CHUNK_END:
                self._state = SIZE
            elif end == at:
                self.end()
            return end + 2, b""
        return len(data), data[at:]  # until the connection closes

    def _chunk(self, data: bytes, at: int) -> tuple[int, bytes]:
        """Read a chunk's size, and in the usual case, that all of it is there, the chunk too."""
        end = self._line_end(data, at)
        if end < 0:
            return end, b""
        line = data[at:end]
        self._left = (_plain_size(line) if len(line) <= LONGEST_SIZE else 0) or _chunk_size(line)
        start, stop = end + 2, end + 2 + self._left
        if self._left and data[stop : stop + 2] == b"\r\n":
            return stop + 2, data[start:stop]
        self._state = CHUNK if self._left else TRAILERS
        return start, b""

    def _line_end(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at)
        if end < 0:
            self._rest = data[at:]
        if (end if end >= 0 else len(data)) - at > MAX_LINE:
            raise HttpError("a line between chunks is too long")
        return end

    def _head(self, data: bytes) -> int:
        """Read the head, leaving out interim (1xx) ones; where the body starts, or the data's end to wait for more."""
        start = 0
        while True:
            end = HEAD_END.search(data, start)
            if (end.start() if end else len(data)) - start > self.most_head:
                raise HttpError("the head of the answer is too long")
            if end is None:
                self._rest = data[start:]
                if not b"HTTP/1.".startswith(self._rest[:7]):
                    raise HttpError("what answers there does not speak HTTP/1.1")
                return len(data)
            self._read_head(data[start : end.start()].decode("latin-1"))
            start = end.end()
            if not 100 <= self.status < 200:
                self._frame()
                return start

    def _read_head(self, head: str) -> None:
        first, *lines = FOLD.sub(" ", head).replace("\r\n", "\n").split("\n")
        version, _, rest = first.partition(" ")
        code = rest[:3]
        if version not in ("HTTP/1.1", "HTTP/1.0") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise HttpError("what answers there does not speak HTTP/1.1")
        self.status = int(code)
        self.headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise HttpError("a header of the answer has no colon")
            self.headers[name.strip().lower()] = value.strip()
        connection = self.headers.get("connection", "").lower()
        self.keep_alive = "close" not in connection and (version == "HTTP/1.1" or "keep-alive" in connection)

    def _frame(self) -> None:
        """Say where the body ends (RFC 9112, section 6.3)."""
        length = self.headers.get("content-length")
        if self.status in (204, 304):
            self.end()
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._state = SIZE
        elif length is None:
            self._state, self.keep_alive = UNTIL_CLOSE, False
        elif not (length.isascii() and length.isdigit() and len(length) < 19):
            raise HttpError("the answer's Content-Length is not a number")
        else:
            self._left = int(length)
            self._state = LENGTH
            if not self._left:
                self.end()


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not DIGITS.fullmatch(digits):
        raise HttpError("a chunk's size is not a number")
    return int(digits, 16)


@lru_cache(1000)
def _plain_size(line: bytes) -> int:
    """Read the line before a chunk; 0 for one that says more than a size, or none."""
    return int(line, 16) if DIGITS.fullmatch(line) else 0
