"""The routing metrics, as plain functions on arrays of chosen experts.

Everywhere `experts` is [tokens, k] ids in 0…E-1 of one layer, in the order in which the router ranks them; `bounds` are
the [sequences + 1] token offsets at which sequences begin and end, one sequence where they are left out. Every sequence
starts anew: with an empty cache, and with segments of its own.

SRP and the caches also take [layers, tokens, k] ids of a whole model. Each layer then has segments and a cache of its
own, and all are counted together. With `pooled=True` one cache serves all layers, whose experts are told apart: that is
what the paper's tables of SCH print.

The defaults of the caches give the numbers of the reference implementation of arXiv 2505.16056. `cold="charged"` counts
the first use of an expert as the miss that it is, and `pinned=True` keeps the experts of one token from evicting one
another; docs/routing.md says how much that changes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.routing.checked import checked, checked_bounds
from ipw.workloads.routing.measures.caches import Cold, Policy, accesses, hit_rates
from ipw.workloads.routing.measures.segments import Segments, best_router, best_segment_hit_rates, count_segments
from ipw.workloads.routing.measures.specialisation import (
    FREQUENT_TOKEN,
    coefficient_of_variation,
    use_rates,
    vocabulary_shares,
    vocabulary_uses,
)

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


def segment_routing_best_performance(
    experts: npt.ArrayLike, num_experts: int, segment_length: int, *, bounds: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """SRP and its size ratio: how well one decision a segment predicts the experts of each of its m tokens.

    All experts share one threshold. Raises UsageError where no sequence has a segment's length.
    """
    best = best_router(_segments(experts, num_experts, segment_length, bounds).by_sequence.sum(axis=0))
    return float(best.srp), float(best.size_ratio)


def position_routing_best_performance(
    experts: npt.ArrayLike, num_experts: int, segment_length: int, *, bounds: npt.ArrayLike | None = None
) -> Floats:
    """SRP of the segments that begin at each position of their sequence, [positions]."""
    return best_router(_segments(experts, num_experts, segment_length, bounds).by_position).srp


def segment_cache_best_hit_rate(
    experts: npt.ArrayLike,
    num_experts: int,
    segment_length: int,
    *,
    cold: Cold = "free",
    pinned: bool = False,
    pooled: bool = False,
    bounds: npt.ArrayLike | None = None,
) -> Floats:
    """SCH: hit rates of caches of 1…E experts that evict what the next m tokens, this one counted, use least; [E].

    With `pooled`, of caches of 1…layers · E experts. Raises UsageError where `experts` has no layers then.
    """
    ids, count, edges = _as_tokens(experts, num_experts, bounds, pooled=pooled)
    return hit_rates(accesses(ids, count, "sch", segment_length=segment_length, pinned=pinned, bounds=edges), cold)


def cache_hit_rate(
    experts: npt.ArrayLike,
    num_experts: int,
    policy: Policy,
    *,
    cold: Cold = "free",
    pinned: bool = False,
    pooled: bool = False,
    bounds: npt.ArrayLike | None = None,
) -> Floats:
    """Hit rates of caches of 1…E experts under `lru`, `lfu` (counts outlive eviction) or `belady`; [E].

    With `pinned`, `belady` is the best that any cache of k experts or more can do; without, it is not.
    With `pooled`, of caches of 1…layers · E experts.
    """
    ids, count, edges = _as_tokens(experts, num_experts, bounds, pooled=pooled)
    return hit_rates(accesses(ids, count, policy, pinned=pinned, bounds=edges), cold)


def segment_hit_rate(
    experts: npt.ArrayLike, num_experts: int, segment_length: int, *, bounds: npt.ArrayLike | None = None
) -> Floats:
    """The older, closed form of SCH: share of uses covered by each segment's own c most used experts, c = 1…E."""
    return best_segment_hit_rates(_segments(experts, num_experts, segment_length, bounds).by_reach)


def load_balance(experts: npt.ArrayLike, num_experts: int) -> float:
    """Standard deviation over experts of the share of tokens that use each; 0 is a perfectly even load."""
    return float(use_rates(checked(experts, num_experts), num_experts).std(ddof=1)) if num_experts > 1 else 0.0


def domain_specialisation(experts: npt.ArrayLike, num_experts: int, domains: npt.ArrayLike) -> Floats:
    """Coefficient of variation of each expert's use rate over the domains of its tokens, [E]; `domains` is [tokens]."""
    ids, labels = checked(experts, num_experts), np.asarray(domains)
    return coefficient_of_variation(np.stack([use_rates(ids[labels == d], num_experts) for d in np.unique(labels)]))


def vocabulary_specialisation(experts: npt.ArrayLike, num_experts: int, token_ids: npt.ArrayLike) -> Floats:
    """Mean share that each expert has of the token ids that are its own, [E]; NaN for one that owns none.

    Only ids that occur at least 20 times count. `token_ids` is [tokens]: each position's own token for input
    specialisation, or the token that follows it for output specialisation.
    """
    ids, tokens = checked(experts, num_experts), np.asarray(token_ids)
    known, occurrences = np.unique(tokens, return_counts=True)
    return vocabulary_shares(vocabulary_uses(ids[:, 0], tokens, known[occurrences >= FREQUENT_TOKEN], num_experts))


def pool_layers(experts: Ints, num_experts: int) -> Ints:
    """Make one pool of the experts of all layers: [tokens, layers, k] to [tokens, layers * k], ids offset by layer."""
    layers = experts.shape[1]
    pooled: Ints = (experts + (np.arange(layers, dtype=np.int32) * num_experts)[:, None]).reshape(len(experts), -1)
    return pooled


def _as_tokens(
    experts: npt.ArrayLike, num_experts: int, bounds: npt.ArrayLike | None, *, pooled: bool = False
) -> tuple[npt.ArrayLike, int, npt.ArrayLike | None]:
    """Lay [layers, tokens, k] out as [tokens, k] with its number of experts and bounds; leave [tokens, k] as it is."""
    with suppress(ValueError):  # ragged: `checked` tells
        experts = np.asarray(experts)
    if not isinstance(experts, np.ndarray) or experts.ndim != 3:
        if pooled:
            raise UsageError("one pool of all layers needs experts [layers, tokens, k]")
        return experts, num_experts, bounds
    layers, tokens, k = experts.shape
    ids = checked(experts.reshape(-1, k), num_experts)
    edges = checked_bounds(bounds, tokens)
    if pooled:
        by_token = ids.reshape(layers, tokens, k).transpose(1, 0, 2)
        return pool_layers(by_token, num_experts), num_experts * layers, edges
    starts = np.arange(layers)[:, None] * tokens + edges[:-1]
    return ids, num_experts, np.append(starts.ravel(), layers * tokens)


def _segments(experts: npt.ArrayLike, num_experts: int, length: int, bounds: npt.ArrayLike | None) -> Segments:
    if length < 1:
        raise UsageError(f"a segment has at least one token, not {length}")
    experts, num_experts, bounds = _as_tokens(experts, num_experts, bounds)
    ids = checked(experts, num_experts)
    found = Segments(*count_segments(ids, num_experts, length, checked_bounds(bounds, len(ids))))
    if not len(found.by_position):
        raise UsageError(f"no sequence is as long as a segment of {length} tokens", "use shorter segments")
    return found
