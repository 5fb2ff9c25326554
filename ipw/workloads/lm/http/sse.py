"""Server-sent events from bytes as they arrive, and what comes without their framing.

The standard (WHATWG HTML, section 9.2.6): lines end with CR, LF or both; a byte-order mark may come first; `data` lines
of an event are joined; an empty line ends an event. Servers differ: some end events with one newline, some the last one
with none, and some send JSON, or a page, without any framing. So data that makes sense by itself is taken at once, and
what makes none waits for the rest of its event.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CR, LF = b"\r"[0], b"\n"[0]
IGNORED = (b"", b"id", b"retry")
"""Fields that say nothing of an answer; a line that starts with a colon is a comment."""


class EventStream(ABC):
    """Takes bytes, and gives what is in them to its own methods, which a subclass fills."""

    done = False
    """Whether all that is wanted has come; what follows is not looked at."""

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        """The pieces of a line whose end has not come."""
        self._after_cr = False
        self._at_start = True
        self._plain = False
        """Whether a line starts with the next block, and no newline belongs to the one before: what is usual."""
        self._name: bytes | None = None
        self._data: list[bytes] = []
        """Of an event that is not over, the data that made no sense by itself."""
        self._document: list[bytes] = []
        """Lines without framing that make no sense one by one."""

    # --- for a subclass to fill -------------------------------------------------------------------------------------

    @abstractmethod
    def data(self, payload: bytes, t_ns: int) -> bool:
        """Take the data of an event; False where it makes no sense by itself."""

    @abstractmethod
    def named(self, name: str, payload: bytes, t_ns: int) -> None:
        """Take a whole event with a name of its own, or one whose data makes no sense."""

    @abstractmethod
    def error_field(self, payload: bytes) -> None:
        """Take a field `error`, which is no part of the standard."""

    @abstractmethod
    def unframed(self, line: bytes, t_ns: int) -> bool:
        """Take a line without framing; False where it makes no sense by itself."""

    @abstractmethod
    def document(self, body: bytes, t_ns: int) -> None:
        """Take all lines without framing that made no sense one by one."""

    # --- bytes ------------------------------------------------------------------------------------------------------

    def feed(self, block: bytes, t_ns: int) -> None:
        """Take bytes that were read from the socket at `t_ns`."""
        for line in block.splitlines() if self._plain and block[-1] == LF else self._lines(block):
            if not line:
                if self._data or self._name is not None:
                    self._end_event(t_ns)
            elif line.startswith(b"data:") and not self._data and self._name is None:
                payload = line[5:].strip()
                if not self.data(payload, t_ns):
                    self._data.append(payload)
            else:
                self._field(line, t_ns)

    def _lines(self, block: bytes) -> list[bytes]:
        """Cut a block into the lines that it ends; the last one, if it goes on, is kept for the next block."""
        if self._after_cr and block[0] == LF:  # of a CR and LF that were cut in two
            block = block[1:]
            self._after_cr = False
            if not block:
                return []
        last = block[-1]
        lines = block.splitlines()
        ended = last in (LF, CR)
        self._after_cr = last == CR
        self._plain = last == LF
        if self._tail and (ended or len(lines) > 1):
            lines[0] = b"".join(self._tail) + lines[0]
            self._tail = []
        if not ended:
            self._tail.append(lines.pop())
        if self._at_start and lines:
            self._at_start = False
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        return lines

    def close(self, t_ns: int) -> None:
        """Note that no more bytes come. A last line without its end counts if it makes sense."""
        tail, self._tail = b"".join(self._tail), []
        if self._at_start:
            tail = tail.removeprefix(BYTE_ORDER_MARK)
        if tail.startswith(b"data:") and not self._data and self._name is None:
            self.data(tail[5:].strip(), t_ns)  # what makes no sense was cut off
        else:
            self._field(tail, t_ns)
        if self._data or self._name is not None:
            self._end_event(t_ns)
        if self._document:
            self.document(b"\n".join(self._document), t_ns)

    def _field(self, line: bytes, t_ns: int) -> None:
        """Take a line that is not the usual one."""
        if self.done or not line.strip():
            return
        name, _, value = line.partition(b":")
        value = value.strip()
        if name == b"data":
            if self._data or self._name is not None or not self.data(value, t_ns):
                self._data.append(value)
        elif name == b"event":
            self._name = value or None
        elif name == b"error":
            self.error_field(value)
        elif name not in IGNORED and (self._document or not self.unframed(line.strip(), t_ns)):
            self._document.append(line)

    def _end_event(self, t_ns: int) -> None:
        name, data = self._name, self._data
        self._name, self._data = None, []
        if not self.done:
            self.named((name or b"").decode(errors="replace"), b"\n".join(data), t_ns)
