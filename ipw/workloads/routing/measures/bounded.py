"""LRU that takes in at most so many experts a token; the other misses are used and dropped.

A cache of one expert more holds all that the smaller one holds: it misses one expert less at most, so it takes in all
that the smaller one takes in, and at most one more. So one stack serves all sizes here too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.compiled import compiled
from ipw.workloads.routing.measures.stacks import insert

Ints = npt.NDArray[np.integer[Any]]


@compiled
def replay_bounded(  # noqa: C901, PLR0912 (one loop, which a call an access would slow)
    experts: Ints,
    units: Ints,
    first: int,
    inserts: int,
    id_bits: int,
    stack: Ints,
    depth: Ints,
    held: Ints,
    depths: Ints,
) -> None:
    """Add the hits of one chunk to `depths`, and bring the stack to its end.

    Of the misses of a token the first `inserts`, in the order of `experts`, are taken in. What was used longest ago
    goes first, then the lower id.

    Args:
        experts: [n, k] ids.
        units: [n] row of `depths`; below 0 a token is not counted.
        first: number of the chunk's first token.
        inserts: at most so many experts are taken in a token.
        id_bits: how many low bits of an entry are the id.
        stack: [E + 1] entries of the stack so far.
        depth: [E] place in `stack`; -1 for what no cache holds.
        held: [1] how many entries the stack has.
        depths: [units, E] hits by depth.
    """
    n, k = experts.shape
    mask = (1 << id_bits) - 1
    pool = np.empty(inserts + 2, np.int64)
    before = np.empty(k, np.int64)
    for i in range(n):
        stamp = (first + i) << id_bits
        ahead = 0  # experts of this token that the stack holds further down
        for j in range(k):
            before[j] = depth[experts[i, j]]
            if before[j] >= 0:
                ahead += 1
                stack[before[j]] = stamp + experts[i, j]
                if units[i] >= 0:
                    depths[units[i], before[j]] += 1
        # What a cache of `place` experts and its inserts leave over goes down the stack: the next larger one keeps the
        # best of it. Before `taken`, in the order of the router, are those that it holds or takes in.
        size = held[0]
        taken = pooled = place = 0
        while pooled < inserts and taken < k:
            insert(pool, pooled, stamp + experts[i, taken])
            pooled += 1
            taken += 1
        while pooled > 0 or ahead > 0:
            if place < size:
                entry = stack[place]
                if entry >= stamp:
                    ahead -= 1
                    own = 0
                    while experts[i, own] != (entry & mask):
                        own += 1
                    if own < taken:  # taken in by the smaller cache, held by this one, which takes in another
                        while taken < k and 0 <= before[taken] <= place:
                            taken += 1
                        entry = -1
                        if taken < k:
                            entry = stamp + experts[i, taken]
                            taken += 1
                if entry >= 0:
                    insert(pool, pooled, entry)
                    pooled += 1
            if pooled > 0:
                pooled -= 1
                stack[place] = pool[pooled]
                depth[pool[pooled] & mask] = place
                held[0] = max(held[0], place + 1)
            place += 1
