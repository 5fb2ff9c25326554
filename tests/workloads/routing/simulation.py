"""One cache of one size, told as plainly as can be: what the fast passes over all sizes must equal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Ints = npt.NDArray[np.integer[Any]]
NEVER = 1 << 40


class Cache:
    """Holds at most `size` experts; `look` counts hits, `load` brings a token's experts in."""

    def __init__(self, experts: Ints, policy: str, size: int, segment_length: int, *, pinned: bool) -> None:
        self.tokens = experts.tolist()
        self.policy, self.size, self.segment_length, self.pinned = policy, size, segment_length, pinned
        self.held: set[int] = set()
        self.last_use: dict[int, int] = {}
        self.uses: dict[int, int] = {}
        self.clock = 0

    def priority(self, expert: int, t: int, served: set[int]) -> tuple[int, ...]:
        """What the policy ranks by, the lowest evicted first; `served` are experts done with at token t."""
        first = t + 1 if expert in served else t
        ahead = [u for u in range(first, len(self.tokens)) if expert in self.tokens[u]]
        if self.policy == "lru":
            return self.last_use.get(expert, -1), expert
        if self.policy == "lfu":
            return self.uses.get(expert, 0), self.last_use.get(expert, -1), expert
        if self.policy == "sch":
            return sum(u < t + self.segment_length for u in ahead), self.last_use.get(expert, -1), expert
        if not ahead:
            return -NEVER, expert
        place = 0 if self.pinned else self.tokens[ahead[0]].index(expert)
        return -(ahead[0] * 1000 + place), expert

    def load(self, t: int) -> None:
        """Serve token t."""
        token = self.tokens[t]
        if self.pinned:
            for expert in token:
                self.use(expert)
            self.clock += 1
            others = sorted(self.held - set(token), key=lambda e: self.priority(e, t, set(token)), reverse=True)
            own = sorted(token, key=lambda e: self.priority(e, t, set(token)), reverse=True)
            room = max(0, self.size - len(own))
            self.held = {*own[: self.size], *others[:room]}
            return
        served: set[int] = set()
        for expert in token:
            if expert not in self.held:
                if len(self.held) == self.size:
                    self.held.remove(min(self.held, key=lambda e: self.priority(e, t, served)))
                self.held.add(expert)
            self.use(expert)
            self.clock += 1
            served.add(expert)

    def use(self, expert: int) -> None:
        self.last_use[expert] = self.clock
        self.uses[expert] = self.uses.get(expert, 0) + 1


def simulate(
    experts: Ints, policy: str, size: int, segment_length: int = 0, *, pinned: bool = False, cold: str = "free"
) -> int:
    """Hits of one cache over one sequence."""
    cache = Cache(experts, policy, size, segment_length, pinned=pinned)
    hits = 0
    seen: set[int] = set()
    for t, token in enumerate(cache.tokens):
        for expert in token:
            if expert in seen:
                hits += expert in cache.held
            else:
                hits += cold == "free" and len(seen) < size
                seen.add(expert)
        cache.load(t)
    return hits


def best_possible(experts: Ints, size: int) -> int:
    """Most hits that any cache of `size` ≥ k can have that holds each token's experts, by trying all contents."""
    contents: dict[frozenset[int], int] = {frozenset(): 0}
    for token in experts.tolist():
        following: dict[frozenset[int], int] = {}
        for held, hits in contents.items():
            now = hits + len(held & set(token))
            others = sorted(held - set(token))
            for kept in combinations(others, min(len(others), size - len(token))):
                content = frozenset({*token, *kept})
                following[content] = max(following.get(content, 0), now)
        contents = following
    return max(contents.values())


def trace(
    random: np.random.Generator, tokens: int, num_experts: int, k: int, kind: str = "uniform"
) -> npt.NDArray[np.int32]:
    """Routing of `kind` uniform (all alike), zipf (some are favourites) or sticky (favourites that drift)."""
    favour = np.zeros(num_experts) if kind == "uniform" else -np.log(np.arange(1, num_experts + 1))
    noise = random.gumbel(size=(tokens, num_experts))
    if kind == "sticky":
        favour = np.cumsum(random.normal(size=(tokens, num_experts)), axis=0)
        noise *= 0.5
    return np.argsort(-(favour + noise), axis=1)[:, :k].astype(np.int32)


@st.composite
def traces(draw: st.DrawFn, max_tokens: int = 30, max_experts: int = 8) -> tuple[Ints, int]:
    """A short trace and its number of experts."""
    num_experts = draw(st.integers(1, max_experts))
    k = draw(st.integers(1, num_experts))
    kind = draw(st.sampled_from(["uniform", "zipf", "sticky"]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return trace(random, draw(st.integers(1, max_tokens)), num_experts, k, kind), num_experts


def relabelled(experts: Ints, names: Sequence[int]) -> Ints:
    """The same routing with other names for the experts."""
    return np.asarray(names)[experts]
