"""Caches of every size in one pass over one layer, that carry on from text to text and from chunk to chunk.

What stacks.py does for sequences that each begin with an empty cache, this does for a runtime that serves one text
after another. Each rule here ranks the experts by an order that does not depend on the cache's size, so that the first
c entries of one stack are what a cache of c experts holds (Mattson et al. 1970). The experts of the current token stay.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.routing.compiled import compiled
from ipw.workloads.routing.measures.stacks import counts_ahead, load_together

Ints = npt.NDArray[np.integer[Any]]
RULES = {"lru": 0, "lfu": 1, "lfru": 2, "belady": 3, "sch": 4}
LFRU = RULES["lfru"]
SCALE = 1 << 20
"""LFRU ranks by uses per token since the last use, in so many steps a unit; a float of 53 bits holds every product."""


class Stack(NamedTuple):
    """What a pass hands on to the next chunk."""

    entries: Ints
    """[E + 1] what the cache of c experts holds, for c = 1…E: priority, and the id in the low bits."""
    depth: Ints
    """[E] place of each expert in `entries`; -1 for one never used."""
    held: Ints
    """[1] experts used so far."""
    uses: Ints
    """[E]"""
    last: Ints
    """[E] token of the last use."""


def new_stack(num_experts: int) -> Stack:
    """Caches that are empty."""
    return Stack(
        np.empty(num_experts + 1, np.int64),
        np.full(num_experts, -1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(num_experts, np.int64),
        np.zeros(num_experts, np.int64),
    )


def replay(
    policy: str,
    stack: Stack,
    experts: Ints,
    units: Ints,
    first: int,
    tokens: int,
    depths: Ints,
    *,
    next_uses: Ints | None = None,
    ahead: Ints | None = None,
    segment_length: int = 0,
) -> None:
    """Add the hits of one chunk to `depths`, and bring `stack` to its end.

    Args:
        policy: evict first, among what the current token does not use: `lru` what was used longest ago; `lfu` what was
            used least often so far; `lfru` what has the fewest uses per token since its last use; `belady` what is used
            again last; `sch` what the next `segment_length` tokens use least, the current one counted. Ties of `lfu`
            and `sch` evict what was used longest ago, and all others the lower id.
        stack: of `new_stack`, or as the chunk before left it.
        experts: [n, k] ids.
        units: [n] which row of `depths` a token counts in; below 0 it is not counted.
        first: number of the chunk's first token.
        tokens: of the whole trace.
        depths: [units, E] hits by depth: a cache of c experts hits those at depths below c.
        next_uses: [n, k] for `belady`, of `next_uses_of`.
        ahead: [up to m, k] the tokens that follow the chunk, for `sch`.
        segment_length: m of `sch`.
    """
    num_experts = len(stack.depth)
    id_bits, stamp_bits = (num_experts - 1).bit_length(), tokens.bit_length()
    if 2 * stamp_bits + id_bits > 63:
        raise UsageError(f"{tokens} tokens of {num_experts} experts are too many to rank", "advise on a part of them")
    rule = RULES[policy]
    none: Ints = np.zeros((0, experts.shape[1]), np.int64)
    counts = none
    following = experts
    if policy == "sch":
        following = np.concatenate([experts, none.astype(experts.dtype) if ahead is None else ahead])
        counts = counts_ahead(following, np.array([0, len(following)]), num_experts, segment_length)
    _walk(
        experts, following, none if next_uses is None else next_uses, counts, units, first, tokens, rule, id_bits,
        stamp_bits, segment_length, stack.entries, stack.depth, stack.held, stack.uses, stack.last, depths,
    )  # fmt: skip


@compiled
def next_uses_of(experts: Ints, first: int, upcoming: Ints, found: Ints) -> None:
    """Write into `found` [n, k] the token of each access's next one; chunks come from last to first.

    `upcoming` [E] is the next use of each expert behind the chunk, and after it the first use in it.
    """
    for i in range(len(experts) - 1, -1, -1):
        for j in range(experts.shape[1]):
            expert = experts[i, j]
            found[i, j] = upcoming[expert]
            upcoming[expert] = first + i


@compiled
def _walk(  # noqa: C901, PLR0912 (one loop, which a call an access would slow)
    experts: Ints,
    following: Ints,
    next_uses: Ints,
    counts: Ints,
    units: Ints,
    first: int,
    tokens: int,
    rule: int,
    id_bits: int,
    stamp_bits: int,
    segment_length: int,
    stack: Ints,
    depth: Ints,
    held: Ints,
    uses: Ints,
    last: Ints,
    depths: Ints,
) -> None:
    n, k = experts.shape
    mask = (1 << id_bits) - 1
    entries = np.empty(k, np.int64)
    spare = np.empty(len(depth) + 1, np.int64)
    for i in range(n):
        t = first + i
        if rule == 2:
            for place in range(held[0]):
                expert = stack[place] & mask
                age = t - last[expert] + 1
                stack[place] = (int(uses[expert] * 1048576.0 / age) << id_bits) + expert
        for j in range(k):
            expert = experts[i, j]
            if depth[expert] >= 0 and units[i] >= 0:
                depths[units[i], depth[expert]] += 1
            uses[expert] += 1
            last[expert] = t
            if rule == 0:
                rank = t
            elif rule == 1:
                rank = (uses[expert] << stamp_bits) + t
            elif rule == 2:
                rank = int(uses[expert] * 1048576.0)
            elif rule == 3:
                rank = tokens - next_uses[i, j]
            else:
                rank = (counts[i, j] << stamp_bits) + t
            entries[j] = (rank << id_bits) + expert
        held[0] = load_together(experts[i], entries, stack, held[0], depth, spare)
        for place in range(held[0]):
            depth[stack[place] & mask] = place
        if rule == 4 and i + segment_length < len(following):
            for j in range(k):
                expert = following[i + segment_length, j]
                if depth[expert] >= 0:
                    stack[depth[expert]] += 1 << (stamp_bits + id_bits)
