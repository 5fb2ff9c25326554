"""Watts as they come, from the readings that the sampler has flushed so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ipw.energy.belief.limits import MARGIN, most_power_w
from ipw.runs.readings import RECORD

WINDOW_NS = 2_000_000_000
PERIOD_S = 3.0
"""A counter is taken to be renewed this often at least: what it counts at once may be from as long ago."""


class LivePower:
    """Follows a growing `power.bin`. A display only: figures of record come from energy curves."""

    def __init__(self, path: Path, channels: Iterable[Mapping[str, Any]]) -> None:
        """`channels` are those of the manifest to be shown; of a gauge the newest value counts, as of a power."""
        self._path = path
        self._offset = 0
        self._lanes = {int(channel["index"]): _Lane(channel) for channel in channels if "index" in channel}

    def watts(self) -> dict[int, float]:
        """Watts of each channel over the last two seconds or a bit more; one without two readings is left out."""
        self._follow()
        found = ((index, lane.watts()) for index, lane in self._lanes.items())
        return {index: power for index, power in found if power is not None}

    def total(self) -> float | None:
        """The sum over all channels, or `None` as long as one is missing."""
        watts = self.watts()
        return sum(watts.values()) if watts and len(watts) == len(self._lanes) else None

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
            if status == 0 and index in self._lanes:
                self._lanes[index].take(t_ns, value)


class _Lane:
    """What one channel said of late, without what cannot be true."""

    def __init__(self, channel: Mapping[str, Any]) -> None:
        self._counts = channel.get("kind") == "counter"
        most_w = MARGIN * most_power_w(channel.get("scope"), channel.get("max_power_w"))
        self._most_w = float("inf") if channel.get("kind") == "gauge" else most_w
        self._recent: deque[tuple[int, float]] = deque()
        """Readings of a power, and of a counter those that differ from the one before."""
        self._seen_ns = 0
        self._doubted: tuple[int, float] | None = None

    def take(self, t_ns: int, value: float) -> None:
        """Take a reading; one that leaves the counter's course is shown once the next goes on from there."""
        recent, doubted = self._recent, self._doubted
        self._doubted, self._seen_ns = None, t_ns
        if not self._counts:
            if not abs(value) <= self._most_w:
                return
        elif recent and not self._follows(recent[-1], t_ns, value):
            if doubted is None or not self._follows(doubted, t_ns, value):
                self._doubted = (t_ns, value)
                return
            recent.clear()  # it started anew
            recent.append(doubted)
        if not self._counts or not recent or value != recent[-1][1]:
            recent.append((t_ns, value))
        while len(recent) > 2 and t_ns - recent[1][0] > WINDOW_NS:  # one from before stays: some counters are slow
            recent.popleft()

    def watts(self) -> float | None:
        """Power now, or of a counter since the oldest reading that is remembered."""
        if len(self._recent) < 2:
            return None
        (first_ns, first), (last_ns, last) = self._recent[0], self._recent[-1]
        if not self._counts:
            return last
        still = self._seen_ns - last_ns > 2e9 * PERIOD_S
        return (last - first) / (last_ns - first_ns) * 1e9 if last_ns > first_ns and not still else None

    def _follows(self, before: tuple[int, float], t_ns: int, value: float) -> bool:
        return 0 <= value - before[1] <= self._most_w * ((t_ns - before[0]) / 1e9 + PERIOD_S)
