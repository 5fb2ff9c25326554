"""What a cache of experts hits, for every size at once and each sequence by itself."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.routing.checked import checked, checked_bounds
from ipw.workloads.routing.measures.stacks import (
    counts_ahead,
    counts_so_far,
    next_use,
    stack_depths,
)

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
Policy = Literal["lru", "lfu", "belady", "sch"]
Cold = Literal["free", "charged"]


class Accesses(NamedTuple):
    """What a pass over sequences leaves; a cache of c experts hits the accesses at depths below c."""

    depths: Ints
    """[sequences, E] accesses to an expert used before, by its depth in the stack."""
    distinct: Ints
    """[sequences] distinct experts used, each first use being an access without a depth."""

    def hits(self, cold: Cold) -> Ints:
        """[sequences, E] hits of caches of 1…E experts; `free` counts a first use as a hit while the cache has room."""
        depths = self.depths
        if cold == "free":
            depths = depths + (np.arange(depths.shape[1]) < self.distinct[:, None])
        elif cold != "charged":
            raise UsageError(f"cold is 'free' or 'charged', not {cold!r}")
        return np.cumsum(depths, axis=1)

    def total(self) -> Ints:
        """[sequences] accesses."""
        counts: Ints = self.depths.sum(axis=1) + self.distinct
        return counts


def accesses(
    experts: npt.ArrayLike,
    num_experts: int,
    policy: Policy,
    *,
    segment_length: int = 0,
    pinned: bool = False,
    bounds: npt.ArrayLike | None = None,
) -> Accesses:
    """Run caches of all sizes that evict by `policy` over [tokens, k] experts, each sequence from an empty cache.

    Args:
        experts: [tokens, k] ids in the order of access.
        num_experts: E.
        policy: evict first: `lru` what was used longest ago; `lfu` what was used least often in the sequence so far;
            `belady` what is used again last; `sch` what is used least often in the next `segment_length` tokens, the
            current one counted. Ties of `lfu` and `sch` evict what was used longest ago.
        segment_length: m of `sch`.
        pinned: keep the experts of the current token, and break ties by id, so that their order has no effect.
        bounds: [sequences + 1] token offsets.
    """
    ids = checked(experts, num_experts)
    edges = checked_bounds(bounds, len(ids))
    order = np.arange(len(ids))[:, None] if pinned else np.arange(ids.size).reshape(ids.shape)
    stamps = np.broadcast_to(order, ids.shape)
    id_bits = (num_experts - 1).bit_length()
    if policy == "belady":
        ranks = ids.size - next_use(ids, stamps, edges, num_experts, ids.size)
        unit = 0
    else:
        stamp_bits = ids.size.bit_length()
        ranks = stamps
        unit = 1 << (stamp_bits + id_bits)
        if policy == "lfu":
            ranks = (counts_so_far(ids, edges, num_experts) << stamp_bits) + stamps
        elif policy == "sch":
            if segment_length < 1:
                raise UsageError(f"a segment has at least one token, not {segment_length}")
            ranks = (counts_ahead(ids, edges, num_experts, segment_length) << stamp_bits) + stamps
        elif policy != "lru":
            raise UsageError(f"no cache policy {policy!r}", "use lru, lfu, belady or sch")
    look_ahead = segment_length if policy == "sch" else 0
    entries = (ranks << id_bits) + ids
    return Accesses(*stack_depths(ids, entries, edges, num_experts, id_bits, look_ahead, unit, pinned))


def hit_rates(found: Accesses, cold: Cold) -> Floats:
    """Hits over accesses of all sequences together, for caches of 1…E experts."""
    rates: Floats = found.hits(cold).sum(axis=0) / found.total().sum()
    return rates
