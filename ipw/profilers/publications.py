"""A counter that is published in batches: which reads are news, and when what they tell was true.

Some counters are not renewed when they are asked but when their driver publishes them: under macOS 27 every 0.5 to
2.3 s, in batches with a tail of some 10 to 30 ms. What is read between two publications was true at the first of them,
so such a read says nothing about now.
"""

from __future__ import annotations

from ipw.clock import now_ns

LIVE_AFTER, NEAR_NS = 4, 150_000_000
"""So many reads in a row that differ, each so near to the one before, and the counter is renewed as it is read: a batch
and its tail are two, and between batches there is time for a read that does not."""
LONGEST_PERIOD_S = 3.0
"""Between two batches, at most."""


class Publications:
    """What the reads of one counter tell about when it was renewed."""

    def __init__(self, *, live: bool = False) -> None:
        """Watch a counter; `live` where it is known to be renewed as it is read, until a read shows otherwise."""
        self._moved_ns = now_ns()
        self._longest_ns = 0
        self._live, self._run = live, 0
        self._last: tuple[int, float] | None = None

    def see(self, t_ns: int, half_ns: int, value: float) -> tuple[int, int] | None:
        """Take note of a read: of its moment, half-width and value.

        Returns the moment, with its half-width, at which this value was new; `None` where it is not news. A first read
        is none, since nobody knows how old it is.
        """
        last, self._last = self._last, (t_ns, value)
        if last is None:
            return (t_ns, half_ns) if self._live else None
        if value == last[1]:
            self._live, self._run = False, 0
            return None
        since_ns = t_ns - last[0]
        self._longest_ns = max(self._longest_ns, t_ns - self._moved_ns)
        self._moved_ns = t_ns
        self._run = self._run + 1 if since_ns <= NEAR_NS else 0
        self._live |= self._run >= LIVE_AFTER
        return (t_ns, half_ns) if self._live else (t_ns - since_ns // 2, since_ns // 2 + half_ns)

    def still_s(self, t_ns: int) -> float | None:
        """Seconds for which it stood still, where they are more than its batches so far allow; else `None`."""
        still_ns = t_ns - self._moved_ns
        return still_ns / 1e9 if still_ns > LONGEST_PERIOD_S * 1e9 + self._longest_ns else None
