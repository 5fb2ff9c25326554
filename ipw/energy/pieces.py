"""A long window in pieces that are attributed one after the other, so that memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import compress, pairwise
from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import Bools, Ints
from ipw.energy.curve import Curve
from ipw.energy.division import Share
from ipw.energy.timeline import Spans

EVENTS = 1 << 19
"""Knots and edges of spans in one piece, about."""
MARGIN = 100
"""Knots on each side of a piece that its model may look at too."""


class Piece(NamedTuple):
    """A part of the window, with all that was going on in it."""

    window_ns: tuple[int, int]
    curve: Curve
    spans: Spans
    span: Ints
    """Which of all spans they are."""
    owner: Ints
    """Which of all owners they have, in the order of the piece's own numbers."""
    inside: Bools
    """Of each of its spans, whether it touches the piece, or only a margin."""

    @property
    def owner_inside(self) -> Bools:
        """Of each of its owners, whether a span of it touches the piece."""
        inside: Bools = np.bincount(self.spans.owner, self.inside, self.owner.size) > 0
        return inside


def pieces(curve: Curve, spans: Spans, window_ns: tuple[int, int], events: int | None = None) -> Iterator[Piece]:
    """Cut time at knots; each piece of the window has the spans that touch it or its margins, whole."""
    cuts = _cuts(curve, spans, window_ns, EVENTS if events is None else events)
    if not cuts.size:
        inside = np.ones(spans.owner.size, bool)
        yield Piece(window_ns, curve, spans, np.arange(inside.size), np.arange(spans.owners or 0), inside)
    bounds = [0, *cuts.tolist(), curve.t_ns.size - 1] if cuts.size else []
    for a, b in pairwise(bounds):
        begin = window_ns[0] if a == 0 else max(int(curve.t_ns[a]), window_ns[0])
        end = window_ns[1] if b == bounds[-1] else min(int(curve.t_ns[b]), window_ns[1])
        if begin >= end:
            continue
        part = _part(curve, max(a - MARGIN, 0), min(b + MARGIN, bounds[-1]))
        after = (spans.end_ns > part.t_ns[0]) | (a == 0)
        mine = np.flatnonzero(after & ((spans.start_ns < part.t_ns[-1]) | (b == bounds[-1])))
        present = np.zeros(spans.owners or 0, bool)
        present[spans.owner[mine]] = True
        chosen = Spans(
            start_ns=spans.start_ns[mine],
            end_ns=spans.end_ns[mine],
            phase=spans.phase[mine],
            phases=spans.phases,
            owner=np.cumsum(present)[spans.owner[mine]] - 1,
            work=spans.work[mine],
            owners=int(present.sum()),
        )
        inside = ((chosen.end_ns > begin) | (a == 0)) & ((chosen.start_ns < end) | (b == bounds[-1]))
        yield Piece((begin, end), part, chosen, mine, np.flatnonzero(present), inside)


class Collected:
    """Shares of all pieces, added up. Where a cut goes through a span, the margins of both sides add up too."""

    def __init__(self, size: int) -> None:
        self._value, self._below, self._above, self._net = (np.zeros(size) for _ in range(4))
        self._net_known = True

    def add(self, share: Share, at: Ints, inside: Bools) -> None:
        """Add a piece's share of the things numbered `at`; margins, of those `inside` its window."""
        self._value[at] += share.energy_j
        self._below[at] += np.where(inside, share.energy_j - share.low_j, 0.0)
        self._above[at] += np.where(inside, share.high_j - share.energy_j, 0.0)
        if share.net_energy_j is None:
            self._net_known = False
        else:
            self._net[at] += share.net_energy_j

    def share(self) -> Share:
        """Sums over the pieces so far."""
        net = self._net if self._net_known else None
        return Share(self._value, self._value - self._below, self._value + self._above, net)


def _cuts(curve: Curve, spans: Spans, window_ns: tuple[int, int], most: int) -> Ints:
    """Indices of the knots at which to cut, so that pieces have about as many events each."""
    count = -(-(curve.t_ns.size + 2 * spans.owner.size) // most)
    if count < 2 or window_ns[0] >= window_ns[1]:
        return np.zeros(0, np.int64)
    events = np.arange(curve.t_ns.size) + 2 * np.searchsorted(np.sort(spans.start_ns), curve.t_ns)
    cuts = np.unique(np.searchsorted(events, np.linspace(0, events[-1], count + 1)[1:-1]))
    found: Ints = cuts[(cuts > 0) & (cuts < curve.t_ns.size - 1)]
    return found


def _part(curve: Curve, a: int, b: int) -> Curve:
    """The curve from knot `a` to knot `b`."""
    rows = slice(a, b + 1)
    inside = (curve.gaps_ns[:, 0] >= curve.t_ns[a]) & (curve.gaps_ns[:, 1] <= curve.t_ns[b])
    return replace(
        curve,
        t_ns=curve.t_ns[rows],
        energy_j=curve.energy_j[rows] - curve.energy_j[a],
        t_err_ns=curve.t_err_ns[rows],
        gaps_ns=curve.gaps_ns[inside],
        gap_reasons=tuple(compress(curve.gap_reasons, inside)),
        gap_lost=curve.gap_lost[inside],
    )
