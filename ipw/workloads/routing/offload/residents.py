"""What a cache of experts holds while a model runs, by policy: the rules of the passes over traces, token by token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from ipw.errors import UsageError
from ipw.workloads.routing.measures.replay import SCALE
from ipw.workloads.routing.measures.segmented import protected


class Residents(Protocol):
    """The experts of one layer that stay in fast memory between tokens."""

    @property
    def held(self) -> Collection[int]:
        """Those that are there now."""

    def use(self, token: Sequence[int]) -> None:
        """Let one token use its experts."""


class Ranked:
    """The current token's experts, and of the others those that rank highest: `lru`, `lfu` or `lfru`."""

    def __init__(self, policy: str, size: int) -> None:
        self._policy, self._size = policy, size
        self.held: frozenset[int] = frozenset()
        self._last: dict[int, int] = {}
        self._uses: dict[int, int] = {}
        self._token = 0

    def use(self, token: Sequence[int]) -> None:
        """Let one token use its experts."""
        self._token += 1
        for expert in token:
            self._last[expert] = self._token
            self._uses[expert] = self._uses.get(expert, 0) + 1
        ranked = sorted(self.held | set(token), key=lambda expert: (expert in token, *self._rank(expert)), reverse=True)
        self.held = frozenset(ranked[: self._size])

    def _rank(self, expert: int) -> tuple[int, ...]:
        uses, last = self._uses[expert], self._last[expert]
        if self._policy == "lfru":
            return int(uses * float(SCALE) / (self._token - last + 1)), expert
        return (uses if self._policy == "lfu" else 0), last, expert


class Bounded:
    """LRU that takes in the first `inserts` misses of a token."""

    def __init__(self, size: int, inserts: int) -> None:
        self._size, self._inserts = size, inserts
        self.held: frozenset[int] = frozenset()
        self._last: dict[int, int] = {}
        self._token = 0

    def use(self, token: Sequence[int]) -> None:
        """Let one token use its experts."""
        self._token += 1
        new = [expert for expert in token if expert not in self.held][: self._inserts]
        self._last |= dict.fromkeys(token, self._token)
        kept = sorted(self.held | set(new), key=lambda expert: (self._last[expert], expert), reverse=True)
        self.held = frozenset(kept[: self._size])


class Segmented:
    """What was used again while it was held is protected from what was used once; the most recent come first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._protected: list[int] = []
        self._others: list[int] = []

    @property
    def held(self) -> frozenset[int]:
        """Those that are there now."""
        return frozenset(self._protected) | frozenset(self._others)

    def use(self, token: Sequence[int]) -> None:
        """Let one token use its experts: its hits first, then its misses."""
        there = self.held
        for expert in token:
            if expert in there:
                (self._protected if expert in self._protected else self._others).remove(expert)
                self._protected.insert(0, expert)
                if len(self._protected) > protected(self._size):
                    self._others.insert(0, self._protected.pop())
        for expert in token:
            if expert not in there and self._room(token):
                self._others.insert(0, expert)

    def _room(self, token: Sequence[int]) -> bool:
        if len(self._protected) + len(self._others) < self._size:
            return True
        for held in (self._others, self._protected):
            if held and held[-1] not in token:
                held.pop()
                return True
        return False


class Pinned:
    """A set that never changes."""

    def __init__(self, pins: Collection[int]) -> None:
        self.held = frozenset(pins)

    def use(self, token: Sequence[int]) -> None:
        """Let one token use its experts: nothing moves."""


class Pool:
    """One LRU over the experts of all layers, in bytes; `layer` gives the part of it that is one layer's.

    `dropped` is told the layer and the expert that goes.
    """

    def __init__(
        self, memory_bytes: int, layer_bytes: Sequence[int], dropped: Callable[[int, int], None] = lambda _l, _e: None
    ) -> None:
        self._memory, self._sizes = memory_bytes, layer_bytes
        self._order: dict[tuple[int, int], None] = {}  # the most recent last
        self._bytes = 0
        self._dropped = dropped
        self.by_layer: list[set[int]] = [set() for _ in layer_bytes]

    def layer(self, number: int) -> PoolPart:
        """Give the residents of one layer."""
        return PoolPart(self, number)

    def use(self, layer: int, token: Sequence[int]) -> None:
        """Let a token use the experts of one layer; what was used longest ago goes, from whatever layer."""
        for expert in sorted(token):
            if (layer, expert) in self._order:
                del self._order[layer, expert]
            else:
                self.by_layer[layer].add(expert)
                self._bytes += self._sizes[layer]
            self._order[layer, expert] = None
        while self._bytes > self._memory:
            of, oldest = next(iter(self._order))
            del self._order[of, oldest]
            self.by_layer[of].remove(oldest)
            self._bytes -= self._sizes[of]
            self._dropped(of, oldest)


class PoolPart:
    """One layer's experts in a pool."""

    def __init__(self, pool: Pool, number: int) -> None:
        self._pool, self._number = pool, number

    @property
    def held(self) -> set[int]:
        """Those that are there now."""
        return self._pool.by_layer[self._number]

    def use(self, token: Sequence[int]) -> None:
        """Let one token use its experts."""
        self._pool.use(self._number, token)


def residents_of(policy: str, size: int, inserts: int, pins: Collection[int] | None) -> Residents:
    """Make an empty cache of `size` experts, or the set that is pinned."""
    if policy == "static":
        if pins is None:
            raise UsageError("which experts to pin is not told", "profile them on other texts")
        return Pinned(pins)
    if policy == "lru-bounded":
        return Bounded(size, inserts)
    return Segmented(size) if policy == "slru" else Ranked(policy, size)
