"""All that is known of how the requests of a run belong together. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ipw.attribution.outside import outside
from ipw.energy.arrays import Ints
from ipw.workloads.agents.asked import Asked
from ipw.workloads.agents.conversations import Place, places, tasks
from ipw.workloads.agents.gaps import Gap, Interval, ToolCall, pauses, tool_calls


class Pause(NamedTuple):
    """A stretch of a task in which none of its turns and tools was on, and no other task's either."""

    task: str
    start_ns: int
    end_ns: int


class Structure(NamedTuple):
    """Requests in the order in which they were given, and what lies between them."""

    asked: Sequence[Asked]
    places: Sequence[Place]
    tasks: Sequence[str | None]
    """Of each request."""
    calls: Sequence[ToolCall]
    gaps: Sequence[Gap]
    pauses: Sequence[Pause]
    """Those in which another task was busy are left out: what is drawn then is that task's."""

    def retried(self) -> set[int]:
        """List the requests that failed and were tried again."""
        return {place.retries for place in self.places if place.retries is not None}


def structure(asked: Sequence[Asked]) -> Structure:
    """Tell turns, conversations, tasks, calls of tools and pauses of all requests of a run."""
    found = places(asked)
    names = tasks(asked, found)
    calls, gaps = tool_calls(asked, found)
    busy: list[Interval] = [(one.start_ns, one.end_ns) for one in asked]
    busy += [(gap.start_ns, gap.end_ns) for gap in gaps]
    waits = [(name, each) for name, stretches in pauses(names, asked, gaps).items() for each in stretches]
    pieces = outside(*_columns([each for _, each in waits]), *_columns(busy))
    times = np.stack(pieces, axis=1).tolist()
    rest = [Pause(waits[number][0], start, end) for number, start, end in times]
    return Structure(asked, found, names, calls, gaps, rest)


def _columns(intervals: Sequence[Interval]) -> tuple[Ints, Ints]:
    times = np.array(intervals, np.int64).reshape(-1, 2)
    return times[:, 0], times[:, 1]
