"""Caches of every size in one pass, as a stack whose first c entries are what a cache of c experts holds.

Such a stack exists for every rule that ranks all experts by one order which does not depend on the cache's size
(Mattson et al. 1970): last use, frequency, next use, and activations in the next tokens all do. A stack entry is one
integer, the priority with the expert's id in its low bits, so that comparing entries compares priorities and ties
break by id.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.compiled import compiled

Ints = npt.NDArray[np.integer[Any]]
LOADED = -1
"""Marks the place of an expert that the current token uses; entries are 0 or more."""


@compiled
def counts_so_far(experts: Ints, bounds: Ints, num_experts: int) -> Ints:
    """How often each access's expert was used in its sequence, this access included; [tokens, k]."""
    counts = np.empty(experts.shape, np.int64)
    for s in range(len(bounds) - 1):
        used = np.zeros(num_experts, np.int64)
        for t in range(bounds[s], bounds[s + 1]):
            for j in range(experts.shape[1]):
                used[experts[t, j]] += 1
                counts[t, j] = used[experts[t, j]]
    return counts


@compiled
def counts_ahead(experts: Ints, bounds: Ints, num_experts: int, segment_length: int) -> Ints:
    """How often each access's expert is used by the `segment_length` - 1 tokens that follow; [tokens, k]."""
    counts = np.empty(experts.shape, np.int64)
    for s in range(len(bounds) - 1):
        start, end = bounds[s], bounds[s + 1]
        window = np.zeros(num_experts, np.int64)
        entered = start
        for t in range(start, end):
            while entered < min(t + segment_length, end):
                for expert in experts[entered]:
                    window[expert] += 1
                entered += 1
            for j in range(experts.shape[1]):
                window[experts[t, j]] -= 1
                counts[t, j] = window[experts[t, j]]
    return counts


@compiled
def next_use(experts: Ints, stamps: Ints, bounds: Ints, num_experts: int, never: int) -> Ints:
    """The stamp of the next access to each access's expert in its sequence, or `never`; [tokens, k]."""
    following = np.empty(experts.shape, np.int64)
    for s in range(len(bounds) - 1):
        upcoming = np.full(num_experts, never, np.int64)
        for t in range(bounds[s + 1] - 1, bounds[s] - 1, -1):
            for j in range(experts.shape[1] - 1, -1, -1):
                following[t, j] = upcoming[experts[t, j]]
                upcoming[experts[t, j]] = stamps[t, j]
    return following


@compiled
def insert(ascending: Ints, length: int, entry: int) -> None:
    """Put `entry` in its place among the first `length` entries, which are in ascending order."""
    slot = length
    while slot > 0 and ascending[slot - 1] > entry:
        ascending[slot] = ascending[slot - 1]
        slot -= 1
    ascending[slot] = entry


@compiled
def load_in_turn(token: Ints, entries: Ints, stack: Ints, held: int, depth: Ints, mask: int) -> int:
    """Load the experts of a token one after another, so that they may evict one another; return the stack's new size.

    Each cache that lacks the expert evicts its lowest entry: the lowest so far sinks down the stack, to the place that
    the expert leaves.
    """
    for j in range(len(token)):
        expert = token[j]
        if depth[expert] < 0:
            stack[held] = expert
            depth[expert] = held
            held += 1
        sinking = stack[0]
        stack[0] = entries[j]
        if (sinking & mask) != expert:
            place = 1
            here = stack[1]
            while (here & mask) != expert:
                stack[place] = max(here, sinking)
                sinking = min(here, sinking)
                place += 1
                here = stack[place]
            stack[place] = sinking
    return held


@compiled
def load_together(token: Ints, entries: Ints, stack: Ints, held: int, depth: Ints, sinking: Ints) -> int:
    """Load the experts of a token at once, none evicting another; return the stack's new size.

    Their order has no effect. A cache smaller than k keeps those that rank highest. `sinking` is room for what the
    cache of the size in hand evicts, in ascending order.
    """
    k, new, sunk = len(token), 0, 0
    for expert in token:
        if depth[expert] < 0:
            new += 1
        else:
            stack[depth[expert]] = LOADED
    for place in range(min(k, held)):
        if stack[place] != LOADED:
            insert(sinking, sunk, stack[place])
            sunk += 1
    # Down the stack, the cache of one more expert takes back the highest of what the smaller one evicts.
    for place in range(k, held + new):
        if sunk == 0:
            break
        highest = sinking[sunk - 1]
        if place >= held or stack[place] == LOADED:
            sunk -= 1
            stack[place] = highest
        elif stack[place] < highest:
            insert(sinking, sunk - 1, stack[place])
            stack[place] = highest
    for j in range(k):
        insert(sinking, j, entries[j])
    stack[:k] = sinking[:k][::-1]
    return held + new


@compiled
def stack_depths(
    experts: Ints,
    entries: Ints,
    bounds: Ints,
    num_experts: int,
    id_bits: int,
    look_ahead: int,
    unit: int,
    pinned: bool,
) -> tuple[Ints, Ints]:
    """Depths at which accesses found their expert, for sequences that each start with an empty stack.

    All experts of a token are looked up before the first is loaded.

    Args:
        experts: [tokens, k] ids.
        entries: [tokens, k] stack entry of the expert after this access.
        bounds: [sequences + 1] where sequences begin and end.
        num_experts: E.
        id_bits: how many low bits of an entry are the id.
        look_ahead: m, where a use that comes within m tokens adds `unit` to the entry; 0 for rules that do not look.
        unit: what one activation adds to an entry.
        pinned: whether a cache keeps all experts of the current token, as far as they fit.

    Returns:
        [sequences, E] accesses by 0-based depth, and [sequences] distinct experts, whose first use has no depth.
    """
    sequences, mask = len(bounds) - 1, (1 << id_bits) - 1
    depths = np.zeros((sequences, num_experts), np.int64)
    distinct = np.zeros(sequences, np.int64)
    stack = np.empty(num_experts + 1, np.int64)
    spare = np.empty(num_experts + 1, np.int64)
    for s in range(sequences):
        depth = np.full(num_experts, -1, np.int64)
        held = 0
        for t in range(bounds[s], bounds[s + 1]):
            for expert in experts[t]:
                if depth[expert] >= 0:
                    depths[s, depth[expert]] += 1
            if pinned:
                held = load_together(experts[t], entries[t], stack, held, depth, spare)
            else:
                held = load_in_turn(experts[t], entries[t], stack, held, depth, mask)
            for place in range(held):
                depth[stack[place] & mask] = place
            if look_ahead > 0 and t + look_ahead < bounds[s + 1]:
                for expert in experts[t + look_ahead]:
                    if depth[expert] >= 0:
                        stack[depth[expert]] += unit
        distinct[s] = held
    return depths, distinct
