from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads.routing.simulation import relabelled, trace, traces

from ipw.errors import UsageError
from ipw.workloads.routing.measures.segments import Segments, best_router, count_segments
from ipw.workloads.routing.metrics import (
    pool_layers,
    position_routing_best_performance,
    segment_hit_rate,
    segment_routing_best_performance,
)

Ints = npt.NDArray[np.integer[Any]]


def counts_by_hand(experts: Ints, num_experts: int, m: int) -> list[list[int]]:
    """Uses of each expert in each overlapping segment, counted one by one."""
    tokens = experts.tolist()
    return [
        [sum(e in token for token in tokens[p : p + m]) for e in range(num_experts)] for p in range(len(tokens) - m + 1)
    ]


def counted(experts: Ints, num_experts: int, m: int, bounds: Ints | None = None) -> Segments:
    edges = np.array([0, len(experts)]) if bounds is None else bounds
    return Segments(*count_segments(experts, num_experts, m, edges))


def best_f1_of_all_thresholds(uses: list[int], m: int) -> float:
    """F1 from its definition: predictions of all tokens of a segment, against what they use."""
    scores = []
    for threshold in range(m + 1):
        true_positives = sum(f for f in uses if f >= threshold)
        predicted = sum(m for f in uses if f >= threshold)
        scores.append(2 * true_positives / (predicted + sum(uses)))
    return max(scores)


@settings(deadline=None)
@given(case=traces(), m=st.integers(1, 12))
def test_srp_equals_its_definition(case: tuple[Ints, int], m: int) -> None:
    experts, num_experts = case
    if m > len(experts):
        with pytest.raises(UsageError, match="no sequence is as long"):
            segment_routing_best_performance(experts, num_experts, m)
        return
    uses = [f for segment in counts_by_hand(experts, num_experts, m) for f in segment]
    srp, size_ratio = segment_routing_best_performance(experts, num_experts, m)
    assert srp == pytest.approx(best_f1_of_all_thresholds(uses, m), abs=1e-12)
    if num_experts > 1:
        kept = size_ratio * sum(uses) / m
        assert any(kept == pytest.approx(sum(f >= a for f in uses)) for a in range(m + 1))


@settings(max_examples=30, deadline=None)
@given(case=traces(max_tokens=5, max_experts=3), m=st.integers(1, 3))
def test_no_segment_router_at_all_beats_the_threshold(case: tuple[Ints, int], m: int) -> None:
    experts, num_experts = case
    if m > len(experts):
        return
    uses = [f for segment in counts_by_hand(experts, num_experts, m) for f in segment]
    best = max(
        2 * sum(f for f, on in zip(uses, router, strict=True) if on) / (m * sum(router) + sum(uses))
        for router in product((0, 1), repeat=len(uses))
    )
    assert segment_routing_best_performance(experts, num_experts, m)[0] == pytest.approx(best, abs=1e-12)


@settings(deadline=None)
@given(case=traces(), m=st.integers(1, 12))
def test_srp_lies_between_switching_all_experts_on_and_one(case: tuple[Ints, int], m: int) -> None:
    experts, num_experts = case
    if m <= len(experts):
        rate = experts.shape[1] / num_experts
        srp, _ = segment_routing_best_performance(experts, num_experts, m)
        assert 2 * rate / (1 + rate) - 1e-12 <= srp <= 1


@settings(deadline=None)
@given(case=traces())
def test_segments_of_one_token_are_predicted_perfectly(case: tuple[Ints, int]) -> None:
    assert segment_routing_best_performance(*case, 1) == (1.0, 1.0)


@pytest.mark.parametrize("m", [1, 4, 16])
def test_constant_routing_and_full_activation_are_predicted_perfectly(m: int) -> None:
    assert segment_routing_best_performance(np.tile([5, 2], (20, 1)), 8, m) == (1.0, 1.0)
    assert segment_routing_best_performance(np.tile([0, 1, 2], (20, 1)), 3, m) == (1.0, 1.0)


@settings(deadline=None)
@given(case=traces(), m=st.integers(1, 8), data=st.data())
def test_neither_names_nor_order_nor_copies_change_srp(case: tuple[Ints, int], m: int, data: st.DataObject) -> None:
    experts, num_experts = case
    if m > len(experts):
        return
    srp = segment_routing_best_performance(experts, num_experts, m)
    names = data.draw(st.permutations(range(num_experts)))
    assert segment_routing_best_performance(relabelled(experts, names)[:, ::-1], num_experts, m) == srp
    twice = segment_routing_best_performance(
        np.concatenate([experts, experts]), num_experts, m, bounds=[0, len(experts), 2 * len(experts)]
    )
    assert twice == pytest.approx(srp)


@settings(deadline=None)
@given(case=traces(max_tokens=16), m=st.integers(1, 8))
def test_on_circular_sequences_longer_segments_are_never_easier(case: tuple[Ints, int], m: int) -> None:
    experts, num_experts = case

    def circular(length: int) -> float:
        around = np.concatenate([experts] * (length // len(experts) + 2))[: len(experts) + length - 1]
        return segment_routing_best_performance(around, num_experts, length)[0]

    assert circular(2 * m) <= circular(m) + 1e-12


@settings(deadline=None)
@given(case=traces(), m=st.integers(1, 8))
def test_a_threshold_for_each_expert_scores_no_better_than_one_for_all(case: tuple[Ints, int], m: int) -> None:
    experts, num_experts = case
    if m > len(experts):
        return
    histograms = counted(experts, num_experts, m).by_expert
    uses = np.arange(m + 1)
    chosen = list(zip(histograms, best_router(histograms).threshold, strict=True))
    kept = sum(row[a:].sum() for row, a in chosen)
    right = sum((row * uses)[a:].sum() for row, a in chosen)
    apart = 2 * right / (m * kept + (histograms * uses).sum())
    assert apart <= best_router(histograms.sum(axis=0)).srp + 1e-12


@settings(deadline=None)
@given(cases=st.lists(traces(max_tokens=12), min_size=1, max_size=4), m=st.integers(1, 8))
def test_no_segment_crosses_from_one_sequence_into_the_next(cases: list[tuple[Ints, int]], m: int) -> None:
    k = min(experts.shape[1] for experts, _ in cases)
    num_experts = max(n for _, n in cases)
    parts = [experts[:, :k] for experts, _ in cases]
    found = counted(np.concatenate(parts), num_experts, m, np.cumsum([0, *map(len, parts)]))
    expected = [counts_by_hand(part, num_experts, m) for part in parts]
    pairs = [
        (s, p, e, uses)
        for s, segments in enumerate(expected)
        for p, segment in enumerate(segments)
        for e, uses in enumerate(segment)
    ]
    for histogram, column in ((found.by_sequence, 0), (found.by_position, 1), (found.by_expert, 2)):
        by_hand = np.zeros_like(histogram)
        for pair in pairs:
            by_hand[pair[column], pair[3]] += 1
        np.testing.assert_array_equal(histogram, by_hand)


def test_srp_at_each_position_is_srp_of_the_segments_that_begin_there() -> None:
    random = np.random.default_rng(3)
    sequences = [trace(random, 10, 6, 2) for _ in range(40)]
    found = position_routing_best_performance(np.concatenate(sequences), 6, 4, bounds=np.arange(0, 401, 10))
    for p in range(7):
        cut = np.concatenate([s[p : p + 4] for s in sequences])
        assert found[p] == pytest.approx(segment_routing_best_performance(cut, 6, 4, bounds=np.arange(0, 161, 4))[0])
    assert len(found) == 7


def test_an_expert_that_is_never_used_has_no_srp() -> None:
    found = best_router(counted(np.array([[0], [1], [0]]), 3, 2).by_expert)
    assert np.isnan(found.srp).tolist() == [False, False, True]
    assert np.isnan(found.size_ratio).tolist() == [False, False, True]


@settings(deadline=None)
@given(case=traces(), m=st.integers(1, 8))
def test_the_older_hit_rate_counts_each_segments_own_favourites(case: tuple[Ints, int], m: int) -> None:
    experts, num_experts = case
    if m > len(experts):
        return
    ranked = [sorted(row, reverse=True) for row in counts_by_hand(experts, num_experts, m)]
    total = sum(map(sum, ranked))
    expected = [sum(sum(row[:c]) for row in ranked) / total for c in range(1, num_experts + 1)]
    np.testing.assert_allclose(segment_hit_rate(experts, num_experts, m), expected)


def test_layers_share_one_threshold_in_a_pool() -> None:
    random = np.random.default_rng(2)
    layers = np.stack([trace(random, 60, 8, 2, kind) for kind in ("uniform", "sticky")], axis=1)
    pooled, _ = segment_routing_best_performance(pool_layers(layers, 8), 16, 4)
    summed = sum(counted(layers[:, i], 8, 4).by_sequence[0] for i in range(2))
    assert pooled == pytest.approx(float(best_router(summed).srp))


def test_layers_are_counted_together_with_one_threshold() -> None:
    random = np.random.default_rng(5)
    layers = np.stack([trace(random, 50, 12, 3, kind) for kind in ("sticky", "uniform")])
    bounds = [0, 20, 50]
    stacked = segment_routing_best_performance(np.concatenate(layers), 12, 8, bounds=[0, 20, 50, 70, 100])
    assert segment_routing_best_performance(layers, 12, 8, bounds=bounds) == stacked
    assert segment_hit_rate(layers, 12, 8, bounds=bounds).tolist() == pytest.approx(
        np.mean([segment_hit_rate(layer, 12, 8, bounds=bounds) for layer in layers], axis=0).tolist()
    )
