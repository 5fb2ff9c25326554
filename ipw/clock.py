"""One clock for sensors and workloads: the system's monotonic nanoseconds, which every process of a host shares."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType
from typing import NamedTuple

# What `time.monotonic_ns` reads, asked for in a way that libraries which freeze time in tests leave alone: they put
# their own functions in the place of `time.monotonic_ns` wherever a module holds it, and the sampler, which is another
# process, would live on another clock.
if sys.platform == "darwin":
    _MONOTONIC = time.CLOCK_UPTIME_RAW
else:
    _MONOTONIC = time.CLOCK_MONOTONIC
_frozen = not isinstance(time.monotonic_ns, BuiltinFunctionType)
now_ns = partial(time.clock_gettime_ns, _MONOTONIC) if _frozen else partial(time.monotonic_ns)  # the second is quicker
"""Nanoseconds that never step; all `*_ns` times of a run are on this clock."""
wall_ns = partial(time.clock_gettime_ns, time.CLOCK_REALTIME)
"""Nanoseconds since 1970 by the wall clock, which may step."""


class Anchor(NamedTuple):
    """The same moment on the monotonic and the wall clock."""

    monotonic_ns: int
    wall_ns: int


def anchor() -> Anchor:
    """Read both clocks, the wall clock between two readings of the monotonic one."""
    before = now_ns()
    wall = wall_ns()
    return Anchor((before + now_ns()) // 2, wall)


def wall_step_ns(first: Anchor, last: Anchor) -> int:
    """How far the wall clock was stepped or slewed between two anchors, in nanoseconds."""
    return (last.wall_ns - first.wall_ns) - (last.monotonic_ns - first.monotonic_ns)


def boot_id() -> str | None:
    """Name the boot since which the monotonic clock runs; `None` where the system has no name for it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None
