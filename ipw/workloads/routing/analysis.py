"""One pass over the parts of a routing trace: every count that tables, metrics and intervals are made from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.measures.bootstrap import multiplicities
from ipw.workloads.routing.measures.caches import Policy, accesses
from ipw.workloads.routing.measures.segments import Segments, count_segments
from ipw.workloads.routing.measures.specialisation import FREQUENT_TOKEN, vocabulary_uses
from ipw.workloads.routing.measures.tally import Tally
from ipw.workloads.routing.metrics import pool_layers
from ipw.workloads.routing.trace import Index, Trace, read_index, read_parts

Ints = npt.NDArray[np.integer[Any]]
MAIN_LENGTH = 16
"""m of what is looked at more closely: layers, domains, experts, positions."""
POOLED_SEQUENCES = 256
"""One pool for all layers is slow to simulate; so many sequences, evenly chosen, are enough for its curve."""
COMMON_WORDS = 4096
"""Specialisation looks at so many of the most frequent token ids."""


class Cache(NamedTuple):
    """One way to run a cache."""

    policy: Policy
    segment_length: int
    """m of `sch`, else 0."""
    corrected: bool
    """Cold misses charged and the experts of a token pinned; otherwise as the reference implementation does it."""

    def counts(self, experts: Ints, num_experts: int, bounds: Ints) -> Ints:
        """Run it over [tokens, k] experts: hits by cache size and then accesses, [sequences, E + 1]."""
        found = accesses(
            experts,
            num_experts,
            self.policy,
            segment_length=self.segment_length,
            pinned=self.corrected,
            bounds=bounds,
        )
        hits = found.hits("charged" if self.corrected else "free")
        return np.concatenate([hits, found.total()[:, None]], axis=1)


class Key(NamedTuple):
    """What a tally is of."""

    level: str
    """`model` (every layer by itself, all summed), `layer`, `domain`, or `pool` (one cache for all layers)."""
    number: int
    """Which layer or domain; 0 otherwise."""
    what: int | Cache
    """A segment length, or a cache."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the pass found."""

    index: Index
    layers: tuple[str, ...]
    num_experts: int
    k: int
    lengths: tuple[int, ...]
    tally: Tally
    """Histograms [m + 1] of uses in segments, and [E + 1] hits and accesses of caches, by `Key`."""
    uses: Ints
    """[domains, layers, E]"""
    expert_segments: Ints
    """[layers, E, m + 1] histograms at the main length."""
    position_segments: Ints
    """[positions, m + 1] likewise, all layers together."""
    words: Ints
    """[2, layers, ids, E] uses of each expert by common words: where they stand, and before they come."""


class LayerCounts(NamedTuple):
    """What one layer has in one part."""

    tallies: dict[int | Cache, Ints]
    uses: Ints
    expert_segments: Ints
    position_segments: Ints
    words: Ints


def caches(lengths: Iterable[int]) -> list[Cache]:
    """All that are run: SCH for every segment length and the plain policies, and corrected ones for the main length."""
    plain: tuple[Policy, ...] = ("lru", "lfu", "belady")
    return [
        *(Cache("sch", m, corrected=False) for m in lengths),
        *(Cache(policy, 0, corrected=False) for policy in plain),
        Cache("sch", MAIN_LENGTH, corrected=True),
        *(Cache(policy, 0, corrected=True) for policy in plain),
    ]


def analyse(
    folder: Path,
    lengths: Sequence[int],
    seed: int = 0,
    *,
    pooled_sequences: int = POOLED_SEQUENCES,
    workers: int | None = None,
) -> Analysis:
    """Read the routing in `folder` part by part and count all there is to count, layers side by side on all cores.

    `lengths` are the segment lengths; the main one is always among them. Raises UsageError for a trace that is none.
    """
    lengths = tuple(sorted({*lengths, MAIN_LENGTH}))
    index = read_index(folder)
    common = _common_words(index.token_counts)
    tally = Tally(multiplicities(index.domains, seed))
    pooled = np.linspace(0, len(index.domains) - 1, min(pooled_sequences, len(index.domains))).astype(np.intp)
    found: Analysis | None = None
    first = 0
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for part in read_parts(folder):
            sequences = np.arange(first, first + part.sequences)
            domains = index.domains[sequences]
            count = partial(_count_layer, part, domains, len(index.domain_names), lengths, common)
            layers = list(pool.map(count, range(len(part.layers))))
            _add(tally, sequences, domains, layers)
            _add_pooled(tally, part, sequences, pooled, lengths)
            found = _gathered(found, Analysis(
                index, part.layers, part.num_experts, part.experts.shape[2], lengths, tally,
                np.stack([layer.uses for layer in layers], axis=1),
                np.stack([layer.expert_segments for layer in layers]),
                sum((layer.position_segments for layer in layers[1:]), layers[0].position_segments),
                np.stack([layer.words for layer in layers], axis=1),
            ))  # fmt: skip
            first += part.sequences
    assert found is not None
    return found


def _common_words(token_counts: Ints) -> Ints:
    frequent = np.flatnonzero(token_counts >= FREQUENT_TOKEN)
    return np.sort(frequent[np.argsort(-token_counts[frequent], kind="stable")[:COMMON_WORDS]])


def _count_layer(
    part: Trace, domains: Ints, domain_count: int, lengths: Sequence[int], common: Ints, layer: int
) -> LayerCounts:
    experts = np.ascontiguousarray(part.experts[:, layer], np.int32)
    tallies: dict[int | Cache, Ints] = {
        cache: cache.counts(experts, part.num_experts, part.bounds) for cache in caches(lengths)
    }
    cut = {m: Segments(*count_segments(experts, part.num_experts, m, part.bounds)) for m in lengths}
    tallies |= {m: found.by_sequence for m, found in cut.items()}
    domain = np.repeat(domains, np.diff(part.bounds))
    bins = domain[:, None] * part.num_experts + experts
    uses = np.bincount(bins.ravel(), minlength=domain_count * part.num_experts).reshape(domain_count, -1)
    following = np.append(part.token_ids[1:], -1)
    following[part.bounds[1:] - 1] = -1
    words = [vocabulary_uses(experts[:, 0], ids, common, part.num_experts) for ids in (part.token_ids, following)]
    main = cut[MAIN_LENGTH]
    return LayerCounts(tallies, uses, main.by_expert, main.by_position, np.stack(words))


def _add(tally: Tally, sequences: Ints, domains: Ints, layers: Sequence[LayerCounts]) -> None:
    closer = {MAIN_LENGTH, Cache("sch", MAIN_LENGTH, corrected=False), Cache("lru", 0, corrected=True)}
    for what, of_first in layers[0].tallies.items():
        total = sum((layer.tallies[what] for layer in layers[1:]), of_first)
        tally.add(Key("model", 0, what), sequences, total)
        if what in closer:
            for number, layer in enumerate(layers):
                tally.add(Key("layer", number, what), sequences, layer.tallies[what])
            for domain in np.unique(domains).tolist():
                tally.add(Key("domain", domain, what), sequences[domains == domain], total[domains == domain])


def _add_pooled(tally: Tally, part: Trace, sequences: Ints, pooled: Ints, segment_lengths: Sequence[int]) -> None:
    chosen = np.flatnonzero(np.isin(sequences, pooled))
    if not chosen.size:
        return
    lengths = np.diff(part.bounds)
    mask = np.repeat(np.isin(np.arange(part.sequences), chosen), lengths)
    experts = pool_layers(part.experts[mask].astype(np.int32), part.num_experts)
    bounds = np.cumsum([0, *lengths[chosen]])
    for cache in (*(Cache("sch", m, corrected=False) for m in segment_lengths), Cache("lru", 0, corrected=False)):
        counts = cache.counts(experts, part.num_experts * len(part.layers), bounds)
        tally.add(Key("pool", 0, cache), sequences[chosen], counts)


def _gathered(before: Analysis | None, part: Analysis) -> Analysis:
    if before is None:
        return part
    before.uses[:] += part.uses
    before.expert_segments[:] += part.expert_segments
    before.words[:] += part.words
    longer, shorter = sorted((before.position_segments, part.position_segments), key=len, reverse=True)
    longer[: len(shorter)] += shorter
    return replace(before, position_segments=longer)
