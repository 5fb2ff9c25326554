"""Caches of experts in plain Python, one size at a time: what the fast passes over all sizes are measured against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


def plain_hit_rates(tokens: list[list[int]], num_experts: int, policy: str, segment_length: int) -> list[float]:
    """Hit rates of caches of 1…E experts under `lru`, `lfu` or `sch`, as `ipw.workloads.routing.metrics` defines them.

    An expert's first use is a hit while the cache still has room for all that were used before.
    """
    uses = sum(map(len, tokens))
    return [hits(tokens, policy, size, segment_length) / uses for size in range(1, num_experts + 1)]


def hits(tokens: list[list[int]], policy: str, size: int, segment_length: int) -> int:
    """Hits of one cache."""
    held: set[int] = set()
    seen: set[int] = set()
    last: Counter[int] = Counter()
    used: Counter[int] = Counter()
    ahead = Counter(expert for token in tokens[:segment_length] for expert in token)
    rank: Callable[[int], tuple[int, ...]] = {
        "lru": lambda expert: (last[expert],),
        "lfu": lambda expert: (used[expert], last[expert]),
        "sch": lambda expert: (ahead[expert], last[expert]),
    }[policy]
    found = clock = 0
    for t, token in enumerate(tokens):
        for expert in token:
            found += expert in held if expert in seen else len(seen) < size
            seen.add(expert)
        for expert in token:
            if expert not in held:
                if len(held) == size:
                    held.remove(min(held, key=rank))
                held.add(expert)
            clock += 1
            last[expert] = clock
            used[expert] += 1
            ahead[expert] -= 1
        ahead.update(tokens[t + segment_length] if t + segment_length < len(tokens) else ())
    return found
