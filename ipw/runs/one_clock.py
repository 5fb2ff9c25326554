"""Readings of other machines on the run's clock.

They were recorded on about that clock: on the other machine's, less how far that was ahead when the run began. How far
it is ahead since, a channel of the kind `HOST/clock` tells, whose readings are exchanges with that machine: the middle
of each on the run's clock, how far the other clock was ahead of it in seconds, and half of the time there and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ipw.energy.arrays import Ints
from ipw.energy.clocks import Ahead, ahead_at

if TYPE_CHECKING:
    from ipw.runs.readings import Readings


def on_one_clock(readings: Readings, channels: Sequence[Mapping[str, Any]]) -> Readings:
    """Move what other machines read to the run's clock; readings without any are given back as they are."""
    clocks = {c.get("name"): c.get("index") for c in channels}
    moved = None
    for clock in dict.fromkeys(c.get("clock") for c in channels if c.get("clock")):
        theirs = [c["index"] for c in channels if c.get("clock") == clock and isinstance(c.get("index"), int)]
        exchanges = _exchanges(readings, clocks.get(clock))
        if exchanges is None or not theirs:
            continue
        import numpy as np

        moved = readings.copy() if moved is None else moved
        rows = np.flatnonzero(np.isin(readings["channel"], theirs))
        told_ns = readings["t_ns"][rows]
        about_ns = told_ns - _whole(_ahead(exchanges, told_ns))
        moved["t_ns"][rows] = told_ns - _whole(_ahead(exchanges, about_ns))
    return readings if moved is None else moved


def clock_error(readings: Readings, clock: Mapping[str, Any], at_ns: Ints) -> Ahead | None:
    """Tell at moments of the run how well another machine's clock is known; `None` without any exchange."""
    exchanges = _exchanges(readings, clock.get("index"))
    return None if exchanges is None or not at_ns.size else _ahead(exchanges, at_ns)


def _exchanges(readings: Readings, index: object) -> Readings | None:
    if not isinstance(index, int):
        return None
    found = readings[(readings["channel"] == index) & (readings["status"] == 0)]
    return found if found.size else None


def _ahead(exchanges: Readings, at_ns: Ints) -> Ahead:
    return ahead_at(at_ns, exchanges["t_ns"], 1e9 * exchanges["value"], exchanges["uncertainty_ns"])


def _whole(ahead: Ahead) -> Ints:
    import numpy as np

    whole: Ints = np.rint(ahead.ahead_ns).astype(np.int64)
    return whole
