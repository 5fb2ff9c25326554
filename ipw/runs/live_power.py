"""Watts as they come, from the readings that the sampler has flushed so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path

from ipw.runs.readings import RECORD, Kind

WINDOW_NS = 2_000_000_000


class LivePower:
    """Follows a growing `power.bin`. A display only: figures of record come from energy curves."""

    def __init__(self, path: Path, channels: Mapping[int, Kind]) -> None:
        self._path = path
        self._channels = channels
        self._offset = 0
        self._recent: dict[int, deque[tuple[int, float]]] = {index: deque() for index in channels}

    def watts(self) -> dict[int, float]:
        """Watts of each channel over the last two seconds or a bit more; one without two readings is left out."""
        self._follow()
        return {index: power for index, recent in self._recent.items() if (power := self._power(index, recent))}

    def total(self) -> float | None:
        """The sum over all channels, or `None` as long as one is missing."""
        watts = self.watts()
        return sum(watts.values()) if watts and len(watts) == len(self._channels) else None

    def _follow(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                block = file.read()
        except OSError:
            return
        whole = len(block) - len(block) % RECORD.size
        self._offset += whole
        for t_ns, value, index, status, _ in RECORD.iter_unpack(block[:whole]):
            recent = self._recent.get(index)
            if recent is None or status != 0:
                continue
            recent.append((t_ns, value))
            while len(recent) > 2 and t_ns - recent[1][0] > WINDOW_NS:  # one from before stays: some counters are slow
                recent.popleft()

    def _power(self, index: int, recent: deque[tuple[int, float]]) -> float | None:
        if len(recent) < 2:
            return None
        (first_ns, first), (last_ns, last) = recent[0], recent[-1]
        if self._channels[index] == "power":
            return last
        if last < first or last_ns <= first_ns:
            return None
        return (last - first) / (last_ns - first_ns) * 1e9
