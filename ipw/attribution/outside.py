"""What is left of intervals where others are cut out of them: pure, on arrays."""

from __future__ import annotations

import numpy as np

from ipw.energy.arrays import Ints


def outside(start_ns: Ints, end_ns: Ints, busy_start_ns: Ints, busy_end_ns: Ints) -> tuple[Ints, Ints, Ints]:
    """Cut out of intervals what the busy ones cover, in whatever order either stand.

    Returns for each piece, in order of the intervals, which interval it is of, and where it starts and ends. Pieces
    without length are none.
    """
    order = np.argsort(busy_start_ns, kind="stable")
    starts, reached = busy_start_ns[order], np.maximum.accumulate(busy_end_ns[order])
    new = np.concatenate([[True], starts[1:] > reached[:-1]]) if starts.size else np.zeros(0, bool)
    first = starts[new]
    last = reached[np.append(np.flatnonzero(new)[1:] - 1, starts.size - 1)] if starts.size else first
    rows: list[int] = []
    cuts: list[tuple[int, int]] = []
    for row, (start, end) in enumerate(zip(start_ns.tolist(), end_ns.tolist(), strict=True)):
        pieces = _pieces(start, end, first, last)
        rows += [row] * len(pieces)
        cuts += pieces
    times = np.array(cuts, np.int64).reshape(-1, 2)
    return np.array(rows, np.int64), times[:, 0], times[:, 1]


def _pieces(start: int, end: int, first: Ints, last: Ints) -> list[tuple[int, int]]:
    """Cut out of one stretch those, in order and apart, that begin at `first` and end at `last`."""
    near = slice(int(np.searchsorted(last, start, "right")), int(np.searchsorted(first, end, "left")))
    edges = [start, *np.stack([first[near], last[near]], axis=1).ravel().tolist(), end]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
