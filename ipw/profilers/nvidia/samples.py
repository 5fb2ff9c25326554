"""The NVIDIA driver's own ring of power samples, for GPUs whose energy counter takes long to answer.

On an H200 the counter takes 3 ms of a core to answer, and the ring of the last two seconds a fifth of that; each of its
samples is the mean of about the last 27 ms, one every 20 ms (docs/hardware/README.md).
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from itertools import pairwise
from statistics import median
from typing import Any

from ipw.clock import now_ns
from ipw.profilers.base import Reading, SensorError
from ipw.profilers.nvidia.calls import NOT_FOUND, told
from ipw.profilers.sources import Read

SLOW_NS = 500_000
"""A counter that takes longer to answer is read seldom, if there are samples."""
ASK_EVERY_NS = 25_000_000
"""At most: the sampler asks a few times a second, a probe would without a pause."""
LONGEST_PERIOD_NS = 50_000_000
"""Samples that are further apart than this tell less than the counter does."""
LAG_NS = 4_000_000
"""A sample looks back about 27 ms, further than the sample before it: it is that much older than its time says."""
UNSURE_NS = 4_000_000
CLOCK_STEP_NS = 5_000_000


def slow(read: Read) -> bool:
    """Whether a counter takes so long to answer."""
    took = []
    with suppress(SensorError):  # the sampler will tell
        for _ in range(5):
            before = now_ns()
            read()
            took.append(now_ns() - before)
    return bool(took) and median(took) > SLOW_NS


class Ring:
    """Reads a GPU's samples, each once, a few times a second."""

    def __init__(self, nv: Any, handle: Any) -> None:
        """Look at what the ring holds. Raises SensorError where there is none, or it is too coarse."""
        self._nv, self._handle = nv, handle
        self._news: deque[Reading] = deque()
        self._last_us, self._ask_ns = 0, 0
        self._offset_ns = wall_clock_ahead_ns()
        self._ask()
        if len(self._news) < 3:
            raise SensorError("unsupported", "the driver keeps no power samples")
        times = [reading.t_ns for reading in self._news]
        period_ns = median(after - before for before, after in pairwise(times))
        if period_ns > LONGEST_PERIOD_NS:
            raise SensorError("unsupported", f"the driver keeps power samples {period_ns / 1e6:.3g} ms apart")
        self.period_s = period_ns / 1e9

    def read(self) -> Reading | None:
        """Give the next sample that was not given yet: watts, the mean of the time since the sample before."""
        if not self._news and now_ns() >= self._ask_ns:
            self._ask()
        return self._news.popleft() if self._news else None

    def _ask(self) -> None:
        nv = self._nv
        self._ask_ns = now_ns() + ASK_EVERY_NS
        try:
            _, samples = nv.nvmlDeviceGetSamples(self._handle, nv.NVML_TOTAL_POWER_SAMPLES, self._last_us)
        except Exception as error:
            if getattr(error, "value", None) == NOT_FOUND:
                return  # nothing new
            raise told(error) from error
        ahead_ns, before_ns = wall_clock_ahead_ns(), self._offset_ns
        self._offset_ns = ahead_ns
        new = sorted((s.timeStamp, s.sampleValue.uiVal) for s in samples if s.timeStamp > self._last_us)
        if not new:
            return
        self._last_us = new[-1][0]
        if abs(ahead_ns - before_ns) > CLOCK_STEP_NS:
            return  # the clock was set: nobody knows by which clock these were stamped
        self._news.extend(Reading(us * 1000 - ahead_ns - LAG_NS, mw / 1e3, UNSURE_NS) for us, mw in new)


def wall_clock_ahead_ns() -> int:
    """By how much the wall clock, which stamps samples, is ahead of the monotonic one."""
    tries = []
    for _ in range(3):
        before, wall_ns, after = now_ns(), time.time_ns(), now_ns()
        tries.append((after - before, wall_ns - (before + after) // 2))
    return min(tries)[1]
