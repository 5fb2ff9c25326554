"""The last readings of a machine, which any number of readers follow, each at its own pace."""

from __future__ import annotations

import threading

from ipw.profilers.sampler.lane import packed
from ipw.runs.readings import RECORD

MOST_RECORDS = 1 << 18
"""6 MiB: of eight GPUs, whose sampler keeps 130 readings a second, the last half hour."""
MOST_AT_ONCE = 2048
PAGE = 4096


class Ring:
    """Keeps readings in memory of a fixed size. The sampler writes to it as it does to a file.

    Readings are numbered from 0 on, in the order in which they came. A reader holds a number and nothing else, so that
    one more reader, or a slow one, takes no more memory.
    """

    def __init__(self, most_records: int = MOST_RECORDS) -> None:
        self.records = 0
        self._most = most_records
        self._kept = bytearray(most_records * RECORD.size)
        self._kept[::PAGE] = bytes(len(self._kept[::PAGE]))  # or it would grow until it is full
        self._block = bytearray()
        self._next = 0
        self._news = threading.Condition()

    def add(self, t_ns: int, value: float, index: int, code: int, uncertainty_ns: int) -> None:
        """Take one record; readers see it after the next `flush`."""
        self._block += packed(t_ns, value, index, code, uncertainty_ns)
        self.records += 1

    def flush(self) -> None:
        """Let the readers have what was added."""
        block, self._block = bytes(self._block), bytearray()
        if not block:
            return
        with self._news:
            for begin in range(0, len(block), RECORD.size * self._most):
                self._keep(block[begin : begin + RECORD.size * self._most])
            self._news.notify_all()

    def bounds(self) -> tuple[int, int]:
        """Number of the oldest reading that is kept, and of the next that will come."""
        with self._news:
            return max(0, self._next - self._most), self._next

    def since(self, number: int, seconds: float) -> tuple[int, bytes]:
        """Give the readings from `number` on, some at a time: the number of the first, and their records.

        Waits for so many seconds at most where there are none. The first has another number where the one that was
        asked for is no longer kept.
        """
        with self._news:
            if number >= self._next:
                self._news.wait_for(lambda: number < self._next, seconds)
            first = max(number, self._next - self._most, 0)
            place, count = first % self._most, min(self._next - first, MOST_AT_ONCE)
            end = min(place + max(count, 0), self._most)
            return first, bytes(self._kept[place * RECORD.size : end * RECORD.size])

    def _keep(self, block: bytes) -> None:
        place, count = self._next % self._most, len(block) // RECORD.size
        fits = min(count, self._most - place)
        self._kept[place * RECORD.size : (place + fits) * RECORD.size] = block[: fits * RECORD.size]
        self._kept[: (count - fits) * RECORD.size] = block[fits * RECORD.size :]
        self._next += count
