"""How uncertain the energy of a span or of an owner is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipw.energy.arrays import Floats, Ints
from ipw.energy.chain import Smoothed


@dataclass(frozen=True, slots=True)
class Pieces:
    """Spans as shares of what the devices drew: a span's energy is its weight times the energy per weight in flight."""

    first: Ints
    """First and last event of each span, counted from the first knot."""
    last: Ints
    weight: Floats


def timing_variance(pieces: Pieces, owner: Ints, owners: int, per_weight: Floats, smoothed: Smoothed) -> Floats:
    """Variance, J², from not knowing the cumulative energy at the moments at which an owner's share of power changes.

    `per_weight` is 1 / (sum of weights in flight) per segment. An owner's energy is a sum, over moments, of the change
    of its share times the cumulative energy. Spans that follow one another without a gap are one stretch; errors at the
    two ends of a stretch are correlated, those at different other moments are taken not to be.
    """
    order = np.lexsort((pieces.last, pieces.first, owner))
    order = order[pieces.last[order] > pieces.first[order]]
    first, last, owner = pieces.first[order], pieces.last[order], owner[order]
    weight = pieces.weight[order]
    if not order.size:
        return np.zeros(owners)
    at_start = weight * per_weight[np.minimum(first, per_weight.size - 1)]
    at_end = weight * per_weight[np.maximum(last - 1, 0)]
    changes = np.concatenate([[0.0, 0.0], np.cumsum(np.diff(per_weight) ** 2 * smoothed.variance[1:-1])])
    inside = weight**2 * np.maximum(changes[np.maximum(last, first + 1)] - changes[first + 1], 0.0)
    joins = (owner[1:] == owner[:-1]) & (first[1:] <= last[:-1])
    total: Floats = np.bincount(owner, inside, owners).astype(np.float64)
    seam = (at_start[1:] - at_end[:-1])[joins] ** 2 * smoothed.variance[first[1:][joins]]
    total += np.bincount(owner[1:][joins], seam, owners)
    head = np.flatnonzero(np.concatenate([[True], ~joins]))
    tail = np.append(head[1:], owner.size) - 1
    ends = (
        at_start[head] ** 2 * smoothed.variance[first[head]]
        + at_end[tail] ** 2 * smoothed.variance[last[tail]]
        - 2 * at_start[head] * at_end[tail] * smoothed.covariance(first[head], last[tail])
    )
    total += np.bincount(owner[head], np.maximum(ends, 0.0), owners)
    return total


def quadratic(rows: Floats, cov: Floats) -> Floats:
    """`rowsᵀ·cov·rows` for each column of `rows` `[d, n]`: variance from coefficients that all share."""
    variance: Floats = np.maximum(np.einsum("dn,de,en->n", rows, cov, rows), 0.0)
    return variance
