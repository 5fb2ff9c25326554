"""Segmented LRU: what was used again while it was held is protected from what was used once (Karedla et al. 1994).

How much is protected depends on the size, so that no stack serves all sizes: each is run by itself, in a few steps an
access.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.measures.compiled import compiled

Ints = npt.NDArray[np.integer[Any]]
PROBATION, PROTECTED = 0, 1
CHUNK = 1 << 14
"""Tokens that all sizes go through before the next ones, so that they stay in the processor's cache."""


class Segments(NamedTuple):
    """Caches of 1…E experts; an expert's own links follow those of the two lists' ends."""

    after: Ints
    """[E, 2 + E] towards the end of its list, from the most recent on; the ends' own are the most recent."""
    before: Ints
    """[E, 2 + E]"""
    where: Ints
    """[E, E] which list an expert is in; -1 for none."""
    held: Ints
    """[E, 2] lengths of the lists."""


def new_segments(num_experts: int) -> Segments:
    """Caches that are empty."""
    links = np.zeros((num_experts, 2 + num_experts), np.int32)
    links[:, PROTECTED] = PROTECTED
    return Segments(
        links, links.copy(), np.full((num_experts, num_experts), -1, np.int8), np.zeros((num_experts, 2), np.int32)
    )


def protected(size: int) -> int:
    """How many of `size` experts are protected at most."""
    return 4 * size // 5


def replay_segmented(caches: Segments, experts: Ints, units: Ints, hits: Ints) -> None:
    """Add the hits of [n, k] experts to `hits` [units, E], for caches of 1…E experts; `units` as in replay.

    A token's hits are protected, and push what was protected longest back among the others. Then its misses come in, in
    the order of `experts`; what is not protected goes first, and of that what came longest ago; the experts of the
    token stay. A miss that finds no room is used and dropped.
    """
    for start in range(0, len(experts), CHUNK):
        part = slice(start, start + CHUNK)
        _walk(experts[part], units[part], caches.after, caches.before, caches.where, caches.held, hits)


@compiled
def _unlink(after: Ints, before: Ints, node: int) -> None:
    after[before[node]] = after[node]
    before[after[node]] = before[node]


@compiled
def _to_front(after: Ints, before: Ints, end: int, node: int) -> None:
    after[node] = after[end]
    before[node] = end
    before[after[end]] = node
    after[end] = node


@compiled
def _walk(  # noqa: C901, PLR0912, PLR0915 (one loop, which a call an access would slow)
    experts: Ints, units: Ints, afters: Ints, befores: Ints, wheres: Ints, helds: Ints, hits: Ints
) -> None:
    n, k = experts.shape
    num_experts = len(wheres)
    for size in range(1, num_experts + 1):
        after, before, where, held = afters[size - 1], befores[size - 1], wheres[size - 1], helds[size - 1]
        most = 4 * size // 5
        own = np.full(num_experts, -1, np.int64)
        for i in range(n):
            found = 0
            for j in range(k):
                node = experts[i, j] + 2
                place = where[node - 2]
                if place < 0:
                    continue
                found += 1
                before_it, after_it = before[node], after[node]
                if before_it == 1:  # the most recent of those that are protected
                    continue
                after[before_it] = after_it
                before[after_it] = before_it
                first = after[1]
                after[node] = first
                before[node] = 1
                before[first] = node
                after[1] = node
                if place == 1:
                    continue
                where[node - 2] = 1
                held[0] -= 1
                held[1] += 1
                if held[1] > most:
                    oldest = before[1]
                    _unlink(after, before, oldest)
                    _to_front(after, before, 0, oldest)
                    where[oldest - 2] = 0
                    held[1] -= 1
                    held[0] += 1
            if units[i] >= 0:
                hits[units[i], size - 1] += found
            if found == k:
                continue
            for j in range(k):
                own[experts[i, j]] = i
            for j in range(k):
                expert = experts[i, j]
                if where[expert] >= 0:
                    continue
                if held[0] + held[1] == size:
                    oldest = before[0]
                    if oldest < 2 or own[oldest - 2] == i:
                        oldest = before[1]
                        if oldest < 2 or own[oldest - 2] == i:
                            continue
                    _unlink(after, before, oldest)
                    held[where[oldest - 2]] -= 1
                    where[oldest - 2] = -1
                _to_front(after, before, 0, expert + 2)
                where[expert] = 0
                held[0] += 1
