"""How hard a process works that asks, from its beats (pulse.py): pure sums.

A process is saturated while it is never idle: then what it measures is its own speed. It is looked at second by second,
since a load that comes in bursts is too much in some of them only.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ipw.workloads.lm.clients.pulse import EVERY_S, Beat
from ipw.workloads.lm.http.reply import three_digits

SLOT_NS = 1_000_000_000
NEVER_IDLE = 0.9
"""Of a second, worked. Beyond it what comes has to queue (tools/bench/clients.py)."""
SHARED = 0.25
"""Of a second, worked, where others had the processor for the rest of it: of up to four programs on one, each gets as
much. Who wants less gets it, if late, and is saturated only where its timer comes half as often as it should."""


class Strain:
    """Adds up the beats of one process."""

    def __init__(self) -> None:
        self._late_us: Counter[int] = Counter()
        self._most_late_ns = 0
        self._first: Beat | None = None
        self._last: Beat | None = None
        self._slot: Beat | None = None
        self._beats = 0
        self._saturated_ns = 0

    def take(self, beat: Beat) -> None:
        """Take the next one."""
        if self._first is None or self._slot is None:
            self._first = self._slot = beat
        self._last = beat
        if beat.late_ns is not None:
            self._late_us[three_digits(beat.late_ns // 1000)] += 1
            self._most_late_ns = max(self._most_late_ns, beat.late_ns)
        self._beats += 1
        if beat.t_ns - self._slot.t_ns >= SLOT_NS:
            if saturated(self._slot, beat, self._beats):
                self._saturated_ns += beat.t_ns - self._slot.t_ns
            self._slot, self._beats = beat, 0

    def facts(self) -> dict[str, Any]:
        """Say it for the manifest: seconds of the window, worked, queued and saturated, and how late the timer was."""
        if self._first is None or self._last is None:
            return {"wall_s": 0.0}
        wall_ns = self._last.t_ns - self._first.t_ns
        queued = None
        if self._last.queued_ns is not None and self._first.queued_ns is not None:
            queued = (self._last.queued_ns - self._first.queued_ns) / 1e9
        return {
            "wall_s": wall_ns / 1e9,
            "cpu_s": (self._last.worked_ns - self._first.worked_ns) / 1e9,
            "queued_s": queued,
            "saturated_s": self._saturated_ns / 1e9,
            "late_p50_s": self._late_s(0.5),
            "late_p99_s": self._late_s(0.99),
            "late_most_s": self._most_late_ns / 1e9 if self._late_us else None,
        }

    def _late_s(self, quantile: float) -> float | None:
        rank, seen = quantile * self._late_us.total(), 0
        for late_us, count in sorted(self._late_us.items()):
            seen += count
            if seen >= rank:
                return late_us / 1e6
        return None


def saturated(begin: Beat, end: Beat, beats: int) -> bool:
    """Whether a thread was never idle between two moments, with so many beats in between."""
    wall_ns, worked_ns, queued_ns = end.t_ns - begin.t_ns, end.worked_ns - begin.worked_ns, 0
    if begin.queued_ns is not None and end.queued_ns is not None:
        queued_ns = end.queued_ns - begin.queued_ns
    if worked_ns >= NEVER_IDLE * wall_ns:
        return True
    slow = worked_ns >= SHARED * wall_ns or wall_ns >= 2e9 * EVERY_S * beats
    return slow and worked_ns + queued_ns >= NEVER_IDLE * wall_ns
