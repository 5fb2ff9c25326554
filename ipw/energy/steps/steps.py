"""Steps of an engine, from the bursts in which results arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.bursts import Bursts


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps in order of their ends, and whose results came at the end of each."""

    start_ns: Ints
    end_ns: Ints
    entry_step: npt.NDArray[np.int32]
    """`[entries]`: a step …"""
    entry_unit: npt.NDArray[np.int32]
    """… and a unit of which results came at its end, each pair once, in order of steps."""
    entry_tokens: Floats
    """How many."""
    first_step: Ints
    """`[units]`: at whose end the first result came; -1 for none."""
    last_step: Ints
    engines: tuple[int, ...] = (0,)
    """At which step those of each engine begin: one engine's come after the other's."""

    @property
    def of_each(self) -> list[slice]:
        """The steps of each engine."""
        ends = (*self.engines[1:], self.end_ns.size)
        return [slice(first, last) for first, last in zip(self.engines, ends, strict=True)]


def steps_of(requests: Requests, arrivals: Arrivals, found: Bursts) -> Steps:
    """Make a step of each burst: it ends when its first result comes, and begins when the one before ended.

    Where nothing was in flight then, it begins when the next unit was asked for.
    """
    units = requests.start_ns.size
    known = np.bincount(arrivals.unit, arrivals.tokens, units)
    scale = np.divide(requests.produced, known, out=np.ones(units), where=(known > 0) & (requests.produced > 0))
    order = np.lexsort((arrivals.unit, found.of))
    step, unit = found.of[order], arrivals.unit[order].astype(np.int32)
    new = np.concatenate([[True], (np.diff(step) != 0) | (np.diff(unit) != 0)])
    tokens = np.add.reduceat(arrivals.tokens[order].astype(np.float64), np.flatnonzero(new))
    step, unit = step[new], unit[new]
    first, last = np.full(units, found.first_ns.size), np.full(units, -1)
    np.minimum.at(first, unit, step)
    np.maximum.at(last, unit, step)
    first[last < 0] = -1
    return Steps(
        start_ns=_starts(requests, found.first_ns, last),
        end_ns=found.first_ns,
        entry_step=step,
        entry_unit=unit,
        entry_tokens=tokens * scale[unit],
        first_step=first,
        last_step=last,
    )


def joined(parts: Sequence[Steps]) -> Steps:
    """Put the steps of several engines, which computed different units, one behind the other."""
    begin = np.cumsum([0, *(part.end_ns.size for part in parts)])
    first, last = np.full(parts[0].first_step.size, -1), np.full(parts[0].first_step.size, -1)
    for part, at in zip(parts, begin.tolist(), strict=False):
        mine = part.first_step >= 0
        first[mine], last[mine] = part.first_step[mine] + at, part.last_step[mine] + at
    shifted = [part.entry_step + np.int32(at) for part, at in zip(parts, begin.tolist(), strict=False)]
    return Steps(
        start_ns=np.concatenate([part.start_ns for part in parts]),
        end_ns=np.concatenate([part.end_ns for part in parts]),
        entry_step=np.concatenate(shifted),
        entry_unit=np.concatenate([part.entry_unit for part in parts]),
        entry_tokens=np.concatenate([part.entry_tokens for part in parts]),
        first_step=first,
        last_step=last,
        engines=tuple(begin[:-1].tolist()),
    )


def _starts(requests: Requests, end_ns: Ints, last: Ints) -> Ints:
    """When each step began."""
    told = last >= 0
    asked = np.sort(requests.start_ns[told])
    over = np.sort(last[told])
    before = np.concatenate([[asked[0]], end_ns[:-1]])
    begun = np.searchsorted(asked, before, "right")
    ended = np.searchsorted(over, np.arange(end_ns.size) - 1, "right")
    idle = (begun <= ended) & (begun < asked.size)
    start = np.where(idle, asked[np.minimum(begun, asked.size - 1)], before)
    earliest: Ints = np.minimum(np.maximum(start, before), end_ns - 1)
    return earliest


def present(steps: Steps) -> Bools:
    """Whether each entry is of a unit that had a result before."""
    later: Bools = steps.entry_step > steps.first_step[steps.entry_unit]
    return later
