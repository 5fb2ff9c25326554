"""Segmented LRU: what was used again while it was held is protected from what was used once (Karedla et al. 1994).

How much is protected depends on the size, so that no stack serves all sizes: each has lists of its own. But a use of
what is protected changes nothing in them: the protected experts are in the order of their last use, which is one for
all sizes. So an access costs a few steps for those sizes only that miss it, or hold it and do not protect it yet.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.compiled import compiled

Ints = npt.NDArray[np.integer[Any]]
OUT, PROBATION, PROTECTED = 0, 1, 2
EIGHT_OUT, EIGHT_PROTECTED = 0, 0x0202020202020202
"""Eight sizes at once."""
BLOCK = 64
"""Sizes that are run together, a multiple of 8; so many stay in the processor's cache."""
CHUNK = 1 << 14
"""Tokens that a block goes through before the next one does."""
ROOM = 8
"""Places in the order of use, for each expert, before it is written anew."""


class SegmentedCaches(NamedTuple):
    """Caches of `first`, `first` + 1, … experts, BLOCK of them; those beyond E stay empty."""

    first: int
    state: Ints
    """[E, BLOCK] OUT, PROBATION or PROTECTED."""
    older: Ints
    """[BLOCK, E + 1] the next expert on probation, which came earlier; E is the end of the list."""
    newer: Ints
    """[BLOCK, E + 1]"""
    held: Ints
    """[BLOCK, 2] experts on probation, and protected ones."""
    oldest: Ints
    """[BLOCK] a place in the order of use before which nothing is protected."""
    place: Ints
    """[E] of the last use of each expert; -1 for none."""
    order: Ints
    """[places] the expert that was used then."""
    later: Ints
    """[places + 1] itself where the use is its expert's last one, else a place further on."""
    used: Ints
    """[1] places that are taken."""


def new_segments(num_experts: int) -> list[SegmentedCaches]:
    """Caches of 1…E experts that are empty."""
    return [_new_block(first, num_experts) for first in range(1, num_experts + 1, BLOCK)]


def _new_block(first: int, num_experts: int) -> SegmentedCaches:
    places = ROOM * num_experts
    links = np.full((BLOCK, num_experts + 1), num_experts, np.int16 if num_experts < 1 << 15 else np.int32)
    return SegmentedCaches(
        first, np.zeros((num_experts, BLOCK), np.int8), links, links.copy(), np.zeros((BLOCK, 2), np.int32),
        np.zeros(BLOCK, np.int32), np.full(num_experts, -1, np.int32), np.zeros(places, np.int32),
        np.arange(places + 1, dtype=np.int32), np.zeros(1, np.int32),
    )  # fmt: skip


def protected(size: int) -> int:
    """How many of `size` experts are protected at most."""
    return 4 * size // 5


def replay_segmented(caches: list[SegmentedCaches], experts: Ints, units: Ints, hits: Ints) -> None:
    """Add the hits of [n, k] experts to `hits` [units, E], for caches of 1…E experts; `units` as in replay.

    A token's hits are protected, and push what was protected longest back among the others. Then its misses come in, in
    the order of `experts`; what is not protected goes first, and of that what came longest ago; the experts of the
    token stay. A miss that finds no room is used and dropped.
    """
    hits += experts.shape[1] * np.bincount(units[units >= 0], minlength=len(hits))[:, None]
    for start in range(0, len(experts), CHUNK):
        part = slice(start, start + CHUNK)
        for c in caches:
            own = hits[:, c.first - 1 : c.first - 1 + BLOCK]
            _walk(
                experts[part], units[part], c.first, c.state, c.state.view(np.int64), c.older, c.newer, c.held,
                c.oldest, c.place, c.order, c.later, c.used, own,
            )  # fmt: skip


@compiled
def _last_use(later: Ints, place: int) -> int:
    """Find the first place from this one on whose expert was not used again, or the first that is not taken."""
    while later[place] != place:
        later[place] = later[later[place]]
        place = later[place]
    return place


@compiled
def _write_anew(place: Ints, order: Ints, later: Ints, used: Ints, oldest: Ints) -> None:
    """Close the gaps in the order of use."""
    taken, kept = used[0], 0
    moved = np.empty(taken + 1, np.int32)
    for old in range(taken):
        moved[old] = kept
        if later[old] == old:
            order[kept] = order[old]
            place[order[kept]] = kept
            kept += 1
    moved[taken] = kept
    for s in range(len(oldest)):
        oldest[s] = moved[oldest[s]]
    for each in range(len(later)):
        later[each] = each
    used[0] = kept


@compiled
def _walk(  # noqa: C901, PLR0912, PLR0915 (one loop, which a call an access would slow)
    experts: Ints,
    units: Ints,
    first: int,
    state: Ints,
    eights: Ints,
    older: Ints,
    newer: Ints,
    held: Ints,
    oldest: Ints,
    place: Ints,
    order: Ints,
    later: Ints,
    used: Ints,
    hits: Ints,
) -> None:
    n, k = experts.shape
    end, sizes, words = len(place), hits.shape[1], eights.shape[1]
    own = np.full(end, -1, np.int64)
    for i in range(n):
        if used[0] + k > len(order):
            _write_anew(place, order, later, used, oldest)
        for j in range(k):
            expert = experts[i, j]
            own[expert] = i
            if place[expert] >= 0:
                later[place[expert]] = place[expert] + 1
            place[expert] = used[0]
            order[used[0]] = expert
            used[0] += 1
            for word in range(words):
                if eights[expert, word] == EIGHT_PROTECTED or eights[expert, word] == EIGHT_OUT:
                    continue
                for s in range(8 * word, 8 * word + 8):
                    if state[expert, s] != PROBATION:
                        continue
                    after, before = older[s, expert], newer[s, expert]
                    older[s, before] = after
                    newer[s, after] = before
                    state[expert, s] = PROTECTED
                    if held[s, 1] < 4 * (first + s) // 5:
                        held[s, 0] -= 1
                        held[s, 1] += 1
                        continue
                    at = _last_use(later, oldest[s])
                    while state[order[at], s] != PROTECTED:
                        at = _last_use(later, at + 1)
                    oldest[s] = at + 1
                    back = order[at]
                    state[back, s] = PROBATION
                    after = older[s, end]
                    older[s, back] = after
                    newer[s, back] = end
                    newer[s, after] = back
                    older[s, end] = back
        for j in range(k):
            expert = experts[i, j]
            for word in range(words):
                if eights[expert, word] == EIGHT_PROTECTED:
                    continue
                for s in range(8 * word, min(8 * word + 8, sizes)):
                    if state[expert, s] != OUT:
                        continue
                    if units[i] >= 0:
                        hits[units[i], s] -= 1
                    if held[s, 0] + held[s, 1] == first + s:
                        gone = newer[s, end]
                        if gone != end and own[gone] != i:
                            before = newer[s, gone]
                            older[s, before] = end
                            newer[s, end] = before
                            held[s, 0] -= 1
                        elif held[s, 1] > 0:
                            at = _last_use(later, oldest[s])
                            while state[order[at], s] != PROTECTED:
                                at = _last_use(later, at + 1)
                            gone = order[at]
                            if own[gone] == i:
                                continue
                            oldest[s] = at + 1
                            held[s, 1] -= 1
                        else:
                            continue
                        state[gone, s] = OUT
                    after = older[s, end]
                    older[s, expert] = after
                    newer[s, expert] = end
                    newer[s, after] = expert
                    older[s, end] = expert
                    state[expert, s] = PROBATION
                    held[s, 0] += 1
