"""LRU over the experts of all layers in one memory, which may be of unlike size: for every size of memory at once.

A cache that evicts what was used longest ago until the new expert fits holds an expert as long as what was used since
then, with the expert itself, fits into its memory. So one number an access says which memories hit: the bytes of what
was used since its last use. A tree of partial sums over the order of use gives it in a few steps (Bennett and Kruskal
1975, with bytes for counts).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.compiled import compiled

Ints = npt.NDArray[np.integer[Any]]
ROOM = 4
"""Places in the order of use, for each expert, before it is written anew."""


class Pool(NamedTuple):
    """What a pass hands on to the next chunk."""

    sizes: Ints
    """[L * E] bytes of each expert, layer by layer."""
    place: Ints
    """[L * E] in the order of use, from 1 on; 0 for one never used."""
    sums: Ints
    """[places + 1] the tree."""
    used: Ints
    """[2] the last place that is taken, and the bytes of all experts used."""


def new_pool(layer_bytes: Ints, num_experts: int) -> Pool:
    """One empty memory for layers whose experts are of `layer_bytes` [L]."""
    sizes = np.repeat(np.asarray(layer_bytes, np.int64), num_experts)
    places = ROOM * len(sizes)
    return Pool(sizes, np.zeros(len(sizes), np.int64), np.zeros(places + 1, np.int64), np.zeros(2, np.int64))


def replay_pooled(pool: Pool, experts: Ints, units: Ints, hits: Ints, hit_bytes: Ints) -> None:
    """Add the hits of [n, L, k] experts, and their bytes, to [units, E] of memories of 1…E experts of every layer.

    The k experts of a layer are looked up before the first is loaded. Ties, the experts of one layer and token, evict
    the lower id first. `units` as in replay.
    """
    ordered = np.sort(experts, axis=2)
    _walk(ordered, units, hits.shape[1], pool.sizes, pool.place, pool.sums, pool.used, hits, hit_bytes)


@compiled
def _add(sums: Ints, place: int, size: int) -> None:
    while place < len(sums):
        sums[place] += size
        place += place & -place


@compiled
def _up_to(sums: Ints, place: int) -> int:
    total = 0
    while place > 0:
        total += sums[place]
        place -= place & -place
    return total


@compiled
def _write_anew(sizes: Ints, place: Ints, sums: Ints, used: Ints) -> None:
    order = np.argsort(place)
    sums[:] = 0
    used[0] = 0
    for expert in order:
        if place[expert] > 0:
            used[0] += 1
            place[expert] = used[0]
            _add(sums, used[0], sizes[expert])


@compiled
def _walk(
    experts: Ints,
    units: Ints,
    num_experts: int,
    sizes: Ints,
    place: Ints,
    sums: Ints,
    used: Ints,
    hits: Ints,
    hit_bytes: Ints,
) -> None:
    n, layers, k = experts.shape
    unit_bytes = 0
    for layer in range(layers):
        unit_bytes += sizes[layer * num_experts]
    for i in range(n):
        for layer in range(layers):
            if units[i] >= 0:
                for j in range(k):
                    expert = layer * num_experts + experts[i, layer, j]
                    if place[expert] > 0:
                        since = used[1] - _up_to(sums, place[expert] - 1)
                        slot = (since + unit_bytes - 1) // unit_bytes - 1
                        hits[units[i], slot] += 1
                        hit_bytes[units[i], slot] += sizes[expert]
            if used[0] + k >= len(sums):
                _write_anew(sizes, place, sums, used)
            for j in range(k):
                expert = layer * num_experts + experts[i, layer, j]
                if place[expert] > 0:
                    _add(sums, place[expert], -sizes[expert])
                else:
                    used[1] += sizes[expert]
                used[0] += 1
                place[expert] = used[0]
                _add(sums, used[0], sizes[expert])
