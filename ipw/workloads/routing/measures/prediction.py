"""Which experts come next, guessed from those of the layer before or of the token before; and what that would hide.

Experts that were used together are counted on one part of a trace; the guesses are judged on another part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.compiled import compiled
from ipw.workloads.routing.measures.stacks import load_together

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


@compiled
def count_pairs(causes: Ints, experts: Ints, parts: Ints, pairs: Ints) -> None:
    """Add to `pairs` [parts, E, E] how often each expert of `experts` [n, k] came with each of `causes` [n, k].

    `parts` [n] is the part of each token; below 0 it is not counted.
    """
    for i in range(len(experts)):
        if parts[i] >= 0:
            for cause in causes[i]:
                for expert in experts[i]:
                    pairs[parts[i], cause, expert] += 1


def chances(pairs: Ints) -> Floats:
    """Share of the uses of each expert [..., E, .] that came with each other, [..., ., E]; 0 where it has none."""
    k_times_uses = pairs.sum(axis=-1, keepdims=True)
    shares: Floats = np.divide(pairs, k_times_uses, out=np.zeros(pairs.shape), where=k_times_uses > 0)
    return shares


@compiled
def guess(causes: Ints, parts: Ints, chance: Floats, guesses: Ints) -> None:
    """Write into `guesses` [n, g] the likeliest experts by the sum of `chance` [parts, E, E] over `causes` [n, k].

    The likeliest come first; ties have the lower id first. A token of a part below 0 is guessed with part 0.
    """
    width = guesses.shape[1]
    num_experts = chance.shape[2]
    sums = np.empty(num_experts)
    for i in range(len(causes)):
        rows = chance[max(parts[i], 0)]
        sums[:] = 0.0
        for cause in causes[i]:
            sums += rows[cause]
        kept = 0
        for expert in range(num_experts):
            if kept == width and sums[expert] <= sums[guesses[i, width - 1]]:
                continue
            slot = kept if kept < width else width - 1
            while slot > 0 and sums[guesses[i, slot - 1]] < sums[expert]:
                guesses[i, slot] = guesses[i, slot - 1]
                slot -= 1
            guesses[i, slot] = expert
            kept = min(kept + 1, width)


@compiled
def replay_guessed(
    experts: Ints,
    guesses: Ints,
    units: Ints,
    first: int,
    id_bits: int,
    stack: Ints,
    depth: Ints,
    held: Ints,
    depths: Ints,
    hidden: Ints,
    fetched: Ints,
) -> None:
    """LRU of every size over one chunk, whose guesses are fetched before each token while they are not held.

    They lie beside the cache until the token is over, so the hits are those of LRU.

    Args:
        experts: [n, k] ids.
        guesses: [n, g] ids.
        units: [n] row of the counts; below 0 a token is not counted.
        first: number of the chunk's first token.
        id_bits: how many low bits of an entry are the id.
        stack: [E + 1] entries.
        depth: [E] place in `stack`, or -1.
        held: [1] how many entries the stack has.
        depths: [units, E] hits by depth.
        hidden: [units, E + 1] uses that were guessed, by depth; E for experts never used before. A cache of c experts
            is spared the wait for those at depths of c or more.
        fetched: [units, E + 1] guesses by depth; a cache of c experts fetches those at depths of c or more.
    """
    n, k = experts.shape
    num_experts = len(depth)
    mask = (1 << id_bits) - 1
    entries = np.empty(k, np.int64)
    spare = np.empty(num_experts + 1, np.int64)
    for i in range(n):
        unit = units[i]
        if unit >= 0:
            for expert in guesses[i]:
                place = depth[expert] if depth[expert] >= 0 else num_experts
                fetched[unit, place] += 1
                for j in range(k):
                    if experts[i, j] == expert:
                        hidden[unit, place] += 1
        for j in range(k):
            expert = experts[i, j]
            if unit >= 0 and depth[expert] >= 0:
                depths[unit, depth[expert]] += 1
            entries[j] = ((first + i) << id_bits) + expert
        held[0] = load_together(experts[i], entries, stack, held[0], depth, spare)
        for place in range(held[0]):
            depth[stack[place] & mask] = place
