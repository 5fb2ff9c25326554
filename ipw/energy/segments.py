"""The part of the timeline that a curve covers, as the numbers that the power model is made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.curve import Curve
from ipw.energy.timeline import Spans, Timeline

MOST = 8.0
"""A span is not taken to be more times shorter or faster than its phase's mean."""
UNIT = 1 << 20
"""Sums over spans in flight are of whole numbers, and exact."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Segments between the first and the last knot, `m` of them, and the ticks that they make up."""

    first: int
    """Index in the timeline of the event at the first knot."""
    t_ns: Ints
    """`[m + 1]`: events."""
    seconds: Floats
    """`[m]`: 0 in a gap of the curve, where nothing can be learnt."""
    present: Floats
    """`[phases + 1, m]`: spans in flight of each phase, and last whether there are none."""
    leaving: Floats
    """`[phases + 1, m]`: how many of those before the segment are over when it starts."""
    shorter: Floats
    """`[phases, m]`: what the mean duration of a phase is more than that of its span in flight, as a fraction of the
    latter: in these seconds, each span has as much of what does not depend on how long it lasts."""
    faster: Floats
    """`[phases, m]`: what its work per second is more than usual, as a fraction of that."""
    kind: Ints
    """`[m]`: what starts where the segment does: a phase, or `phases` where things only end or nothing changes."""
    knots: Ints
    """`[ticks + 1]`: index of the event at each knot."""
    lost: Bools
    """`[m]`: in a gap."""
    tick_j: Floats
    """`[ticks]`: energy between knots, 0 across a gap."""
    usable: Bools
    """`[ticks]`: whether no gap lies in it."""

    @property
    def number(self) -> Floats:
        """Spans in flight."""
        total: Floats = self.present[:-1].sum(0)
        return total

    @property
    def quiet(self) -> Bools:
        """Whether none are."""
        none: Bools = self.present[-1] > 0
        return none

    def ticks(self, values: Floats) -> Floats:
        """Sum over the segments of each tick, along the last axis."""
        sums: Floats = np.add.reduceat(values, self.knots[:-1], axis=-1)
        return sums

    def running(self, values: Floats) -> Floats:
        """Sum from the first knot to each event, along the last axis."""
        sums = np.zeros((*values.shape[:-1], self.t_ns.size))
        np.cumsum(values, axis=-1, out=sums[..., 1:])
        return sums


def segments(curve: Curve, spans: Spans, line: Timeline) -> Segments:
    """Cut out what lies between the curve's knots, of which there are at least two."""
    first, last = np.searchsorted(line.t_ns, curve.t_ns[[0, -1]])
    part = slice(int(first), int(last))
    t = line.t_ns[first : last + 1]
    knots = np.searchsorted(t, curve.t_ns)
    lost = line.within(curve.gaps_ns)[part]
    quiet = line.counts[:, part].sum(0) == 0
    quiet_ends = np.concatenate([[False], quiet[:-1] & ~quiet[1:]])
    kind = np.full(line.t_ns.size, len(spans.phases))
    for phase in range(len(spans.phases)):
        kind[line.first[(spans.phase == phase) & (line.last > line.first)]] = phase
    seconds, size = np.maximum(spans.seconds, 1e-9), len(spans.phases)
    mean = np.bincount(spans.phase, seconds, size) / np.maximum(np.bincount(spans.phase, minlength=size), 1)
    rates = spans.relative_rates()
    usable = ~np.logical_or.reduceat(lost, knots[:-1])
    return Segments(
        first=int(first),
        t_ns=t,
        seconds=np.where(lost, 0.0, np.diff(t) / 1e9),
        present=np.vstack([line.counts[:, part], quiet]).astype(np.float64),
        leaving=np.vstack([line.leaving[:, part], quiet_ends]).astype(np.float64),
        shorter=_in_flight(spans, line, mean[spans.phase] / seconds - 1)[:, part],
        faster=_in_flight(spans, line, np.where(rates > 0, rates - 1, 0.0))[:, part],
        kind=kind[part],
        knots=knots,
        lost=lost,
        tick_j=np.where(usable, np.diff(curve.energy_j), 0.0),
        usable=usable,
    )


def _in_flight(spans: Spans, line: Timeline, each: Floats) -> Floats:
    """`[phases, segments]`: the sum over the spans in flight."""
    units = np.rint(np.minimum(each, MOST) * UNIT).astype(np.int64)
    masks = [spans.phase == phase for phase in range(len(spans.phases))]
    return np.array([line.in_flight(units[mask], mask) / UNIT for mask in masks]).reshape(line.counts.shape)
