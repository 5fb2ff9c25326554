"""One cache of one size and one policy, told as plainly as can be: what the passes over all sizes must equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
NEVER = 10**9


def ranked_hits(tokens: Sequence[Sequence[int]], policy: str, size: int, m: int = 0) -> list[int]:
    """Hits of each token, under a policy that keeps the token's experts and the best of the others."""
    held: set[int] = set()
    uses: dict[int, int] = {}
    last: dict[int, int] = {}
    hits = []
    for t, token in enumerate(tokens):
        hits.append(len(held & set(token)))
        for expert in token:
            uses[expert] = uses.get(expert, 0) + 1
            last[expert] = t

        def worth(expert: int, t: int = t) -> tuple[float, ...]:
            ahead = [u for u in range(t + 1, len(tokens)) if expert in tokens[u]]
            if policy == "lru":
                return last[expert], expert
            if policy == "lfu":
                return uses[expert], last[expert], expert
            if policy == "lfru":
                return int(uses[expert] * 2**20 / (t - last[expert] + 1)), expert
            if policy == "belady":
                return -(ahead[0] if ahead else NEVER), expert
            return sum(u < t + m for u in ahead), last[expert], expert

        own = sorted(token, key=worth, reverse=True)[:size]
        others = sorted(held - set(token), key=worth, reverse=True)
        held = {*own, *others[: size - len(own)]}
    return hits


def bounded_hits(tokens: Sequence[Sequence[int]], size: int, inserts: int) -> list[int]:
    """LRU that takes in the first `inserts` misses of a token."""
    held: set[int] = set()
    last: dict[int, int] = {}
    hits = []
    for t, token in enumerate(tokens):
        hits.append(len(held & set(token)))
        held |= set([expert for expert in token if expert not in held][:inserts])
        for expert in token:
            last[expert] = t
        held = set(sorted(held, key=lambda expert: (last[expert], expert), reverse=True)[:size])
    return hits


def segmented_hits(tokens: Sequence[Sequence[int]], size: int) -> list[int]:
    """Segmented LRU; lists have the most recent first."""
    protected: list[int] = []
    others: list[int] = []
    hits = []
    for token in tokens:
        there = [expert for expert in token if expert in protected or expert in others]
        hits.append(len(there))
        for expert in there:
            (protected if expert in protected else others).remove(expert)
            protected.insert(0, expert)
            if len(protected) > 4 * size // 5:
                others.insert(0, protected.pop())
        for expert in token:
            if expert in there:
                continue
            if len(protected) + len(others) == size:
                if others and others[-1] not in token:
                    others.pop()
                elif protected and protected[-1] not in token:
                    protected.pop()
                else:
                    continue
            others.insert(0, expert)
    return hits


def pooled_hits(experts: Ints, sizes: Sequence[int], memory: int) -> list[int]:
    """Hits of each token of [tokens, L, k] experts in one memory of so many bytes, by LRU; `sizes` by layer."""
    order: list[tuple[int, int]] = []  # the most recent first
    hits = []
    for token in experts.tolist():
        count = 0
        for layer, chosen in enumerate(token):
            count += sum((layer, expert) in order for expert in chosen)
            for expert in sorted(chosen):
                if (layer, expert) in order:
                    order.remove((layer, expert))
                order.insert(0, (layer, expert))
            while sum(sizes[of] for of, _ in order) > memory:
                order.pop()
        hits.append(count)
    return hits
