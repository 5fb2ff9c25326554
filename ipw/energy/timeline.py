"""The stretches of time in which nothing changes: between neighbouring knots and edges of spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints, checked
from ipw.energy.curve import Curve

LEAST_WORK = 1e-12
"""Of the most that any span did: less is none."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Leaf activities as arrays of one length; what lies in no span is idle."""

    start_ns: Ints
    end_ns: Ints
    phase: Ints
    """Index into `phases`."""
    phases: tuple[str, ...]
    owner: Ints
    """0, 1, …: whose energy this is, such as the query of which this is the prefill."""
    work: Floats
    """Work done in the whole span (tokens processed, samples): among spans of a phase that run at once, power is shared
    by work per second. A span without work takes nothing from those beside it."""
    owners: int | None = None
    """How many owners there are, where some have no span."""

    def __post_init__(self) -> None:
        """Check lengths and values once, so that nothing behind has to. Raises ValueError."""
        for name in ("start_ns", "end_ns", "phase", "owner"):
            object.__setattr__(self, name, checked(getattr(self, name), name))
        object.__setattr__(self, "work", np.asarray(self.work, np.float64))
        columns = (self.start_ns, self.end_ns, self.phase, self.owner, self.work)
        if any(column.shape != (self.start_ns.size,) for column in columns):
            raise ValueError("spans come as arrays of one length")
        if np.any(self.end_ns < self.start_ns):
            raise ValueError(f"span {int(np.argmax(self.end_ns < self.start_ns))} ends before it starts")
        if not np.all(np.isfinite(self.work)) or np.any(self.work < 0):
            raise ValueError("work is a finite number, 0 or more")
        if self.phase.size and not 0 <= self.phase.min() <= self.phase.max() < len(self.phases):
            raise ValueError("a span's phase is an index into phases")
        count = int(self.owner.max(initial=-1)) + 1
        if self.owner.min(initial=0) < 0 or (self.owners is not None and self.owners < count):
            raise ValueError("owners are numbered 0, 1, …")
        object.__setattr__(self, "owners", count if self.owners is None else self.owners)

    @property
    def seconds(self) -> Floats:
        """Duration of each."""
        return (self.end_ns - self.start_ns) / 1e9

    def relative_rates(self) -> Floats:
        """Work per second of each span over the usual rate of its phase (total work / total time); 0 without work."""
        seconds, size = self.seconds, len(self.phases)
        most = float(self.work.max(initial=0.0))
        worked = (self.work > LEAST_WORK * most) & (seconds > 0)
        amount = np.where(worked, self.work, 0.0) / (most or 1.0)
        work = np.bincount(self.phase, amount, size)
        time = np.bincount(self.phase[worked], seconds[worked], size)
        usual = np.divide(work, time, out=np.ones(size), where=work > 0)
        return np.divide(amount, seconds * usual[self.phase], out=np.zeros(seconds.size), where=worked)

    def stretches(self) -> tuple[Ints, Bools]:
        """Number of the stretch that each span belongs to, and whether the span ends it.

        Where the same owner's same phase starts at the very moment at which a span ends, the stretch was merely split.
        """
        order = np.lexsort((self.end_ns, self.start_ns, self.phase, self.owner))
        here, behind = order[:-1], order[1:]
        goes_on = (
            (self.owner[here] == self.owner[behind])
            & (self.phase[here] == self.phase[behind])
            & (self.end_ns[here] == self.start_ns[behind])
        )
        number, ends = np.zeros(order.size, np.int64), np.ones(order.size, bool)
        number[behind] = np.cumsum(~goes_on)
        ends[here] = ~goes_on
        return number, ends


@dataclass(frozen=True, slots=True)
class Timeline:
    """Segments between successive events: segment `j` is `[t_ns[j], t_ns[j + 1]]`."""

    t_ns: Ints
    """Events, strictly increasing: every knot, every edge of a span, every further edge."""
    first: Ints
    """Per span, the index of the event at which it starts: it covers the segments `first` to `last - 1`."""
    last: Ints
    counts: Ints
    """`[phases, segments]`: spans in flight."""
    leaving: Ints
    """`[phases, segments]`: spans that ended, and were not merely split, where the segment starts."""

    @property
    def seconds(self) -> Floats:
        """Duration of each segment."""
        return np.diff(self.t_ns) / 1e9

    def in_flight(self, weight: Ints, mask: Bools | None = None) -> Ints:
        """Per segment, the sum over spans in flight (those in `mask`) of a whole number that each has: exact."""
        first, last = (self.first, self.last) if mask is None else (self.first[mask], self.last[mask])
        change = np.zeros(self.t_ns.size, np.int64)
        np.add.at(change, first, weight)
        np.subtract.at(change, last, weight)
        return np.cumsum(change)[:-1]

    def over_spans(self, values: Floats) -> Floats:
        """Per span, the sum over its segments."""
        running = np.concatenate([[0.0], np.cumsum(values)])
        sums: Floats = running[self.last] - running[self.first]
        return sums

    def within(self, intervals_ns: Ints) -> Bools:
        """Per segment, whether it lies in one of the intervals `[n, 2]`, whose edges are among the events."""
        change = np.zeros(self.t_ns.size, np.int64)
        np.add.at(change, np.searchsorted(self.t_ns, intervals_ns[:, 0]), 1)
        np.subtract.at(change, np.searchsorted(self.t_ns, intervals_ns[:, 1]), 1)
        inside: Bools = np.cumsum(change)[:-1] > 0
        return inside


def timeline(curve: Curve, spans: Spans, edges_ns: Sequence[Ints] = ()) -> Timeline:
    """Cut time at every knot, every edge of a span and every further edge."""
    t = np.unique(np.concatenate([curve.t_ns, spans.start_ns, spans.end_ns, *(np.ravel(edges) for edges in edges_ns)]))
    first, last = np.searchsorted(t, spans.start_ns), np.searchsorted(t, spans.end_ns)
    shape = (len(spans.phases), max(t.size - 1, 0))
    line = Timeline(t, first, last, np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    ending = spans.stretches()[1] & (last > first)
    for phase in range(len(spans.phases)):
        mask = spans.phase == phase
        line.counts[phase] = line.in_flight(np.ones(int(mask.sum()), np.int64), mask)
        line.leaving[phase] = np.bincount(last[mask & ending], minlength=t.size)[: shape[1]]
    return line
