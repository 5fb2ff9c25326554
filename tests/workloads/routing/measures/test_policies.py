"""Every policy, at every size, equals a cache of that policy and size that is simulated by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads.routing.measures.plain import bounded_hits, pooled_hits, ranked_hits, segmented_hits
from workloads.routing.simulation import trace

from ipw.workloads.routing.measures.bounded import replay_bounded
from ipw.workloads.routing.measures.caches import accesses
from ipw.workloads.routing.measures.pooled import new_pool, replay_pooled
from ipw.workloads.routing.measures.prediction import chances, count_pairs, guess, replay_guessed
from ipw.workloads.routing.measures.replay import RULES, new_stack, next_uses_of, replay
from ipw.workloads.routing.measures.segmented import new_segments, replay_segmented

Ints = npt.NDArray[np.integer[Any]]
KINDS = ("uniform", "zipf", "sticky", "cyclic")


def routing(kind: str, seed: int, tokens: int, num_experts: int, k: int) -> Ints:
    if kind == "cyclic":
        return (np.arange(tokens * k).reshape(tokens, k) % num_experts).astype(np.int32)
    return trace(np.random.default_rng(seed), tokens, num_experts, k, kind)


@st.composite
def traces(draw: st.DrawFn) -> Ints:
    num_experts = draw(st.integers(1, 9))
    k = draw(st.integers(1, num_experts))
    return routing(draw(st.sampled_from(KINDS)), draw(st.integers(0, 2**32)), draw(st.integers(1, 60)), num_experts, k)


def experts_of(experts: Ints) -> int:
    return int(experts.max()) + 1


def pieces(experts: Ints, cut: int) -> list[tuple[int, Ints]]:
    return [(0, experts[:cut]), (cut, experts[cut:])] if 0 < cut < len(experts) else [(0, experts)]


def by_token(experts: Ints) -> Ints:
    return np.arange(len(experts))


def ranked(policy: str, experts: Ints, m: int, cut: int) -> Ints:
    """Hits [tokens, E], in two chunks."""
    count, tokens = experts_of(experts), len(experts)
    depths, stack = np.zeros((tokens, count), np.int64), new_stack(count)
    upcoming, following = np.full(count, tokens), np.zeros(experts.shape, np.int64)
    for first, part in reversed(pieces(experts, cut)):
        next_uses_of(part, first, upcoming, following[first : first + len(part)])
    for first, part in pieces(experts, cut):
        end = first + len(part)
        replay(
            policy, stack, part, by_token(experts)[first:end], first, tokens, depths,
            next_uses=following[first:end], ahead=experts[end : end + m], segment_length=m,
        )  # fmt: skip
    return np.cumsum(depths, axis=1)


def bounded(experts: Ints, inserts: int, cut: int) -> Ints:
    count = experts_of(experts)
    depths, stack = np.zeros((len(experts), count), np.int64), new_stack(count)
    bits = (count - 1).bit_length()
    for first, part in pieces(experts, cut):
        units = by_token(experts)[first : first + len(part)]
        replay_bounded(part, units, first, inserts, bits, stack.entries, stack.depth, stack.held, depths)
    return np.cumsum(depths, axis=1)


@pytest.mark.parametrize("policy", RULES)
@settings(max_examples=60, deadline=None)
@given(experts=traces(), m=st.integers(1, 20), cut=st.integers(0, 60))
def test_a_policy_that_ranks_equals_its_simulation_at_every_size(policy: str, experts: Ints, m: int, cut: int) -> None:
    found = ranked(policy, experts, m, cut)
    for size in range(1, found.shape[1] + 1):
        assert found[:, size - 1].tolist() == ranked_hits(experts.tolist(), policy, size, m)


@settings(max_examples=150, deadline=None)
@given(experts=traces(), inserts=st.integers(1, 4), cut=st.integers(0, 60))
def test_lru_with_bounded_inserts_equals_its_simulation_at_every_size(experts: Ints, inserts: int, cut: int) -> None:
    found = bounded(experts, inserts, cut)
    for size in range(1, found.shape[1] + 1):
        assert found[:, size - 1].tolist() == bounded_hits(experts.tolist(), size, inserts)


@settings(max_examples=60, deadline=None)
@given(experts=traces(), cut=st.integers(0, 60))
def test_lru_that_may_take_in_a_whole_token_is_lru(experts: Ints, cut: int) -> None:
    found, plain = bounded(experts, experts.shape[1], cut), ranked("lru", experts, 0, 0)
    np.testing.assert_array_equal(found, plain)


@settings(max_examples=100, deadline=None)
@given(experts=traces(), cut=st.integers(0, 60))
def test_segmented_lru_equals_its_simulation_at_every_size(experts: Ints, cut: int) -> None:
    count = experts_of(experts)
    hits, caches = np.zeros((len(experts), count), np.int64), new_segments(count)
    for first, part in pieces(experts, cut):
        replay_segmented(caches, part, by_token(experts)[first : first + len(part)], hits)
    for size in range(1, count + 1):
        assert hits[:, size - 1].tolist() == segmented_hits(experts.tolist(), size)


@settings(max_examples=60, deadline=None)
@given(
    one=traces(), seed=st.integers(0, 99), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    cut=st.integers(0, 60),
)  # fmt: skip
def test_one_pool_of_unlike_experts_equals_its_simulation_at_every_memory(
    one: Ints, seed: int, sizes: list[int], cut: int
) -> None:
    count = experts_of(one)
    random = np.random.default_rng(seed)
    experts = np.stack([random.permutation(count)[one] for _ in sizes], axis=1).astype(np.int32)
    hits, hit_bytes = np.zeros((2, len(experts), count), np.int64)
    pool = new_pool(np.array(sizes), count)
    for start, part in pieces(experts, cut):
        replay_pooled(pool, part, by_token(experts)[start : start + len(part)], hits, hit_bytes)
    for size in range(1, count + 1):
        memory = size * sum(sizes)
        if memory >= experts.shape[2] * max(sizes):  # the experts in use must fit at all
            assert hits[:, :size].sum(axis=1).tolist() == pooled_hits(experts, sizes, memory)
    assert hit_bytes.sum() <= hits.sum() * max(sizes)


def test_a_pool_whose_order_is_written_anew_many_times_stays_right() -> None:
    experts = np.stack([routing("zipf", 1, 400, 6, 2), routing("sticky", 2, 400, 6, 2)], axis=1)
    hits, hit_bytes = np.zeros((2, 400, 6), np.int64)
    replay_pooled(new_pool(np.array([3, 5]), 6), experts, np.arange(400), hits, hit_bytes)
    for size in range(2, 7):
        assert hits[:, :size].sum(axis=1).tolist() == pooled_hits(experts, [3, 5], 8 * size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", [*RULES, "bounded", "slru"])
def test_a_long_trace_of_many_experts_equals_its_simulation(policy: str, kind: str) -> None:
    experts = routing(kind, 7, 150, 40, 6)
    count = experts_of(experts)
    tokens = experts.tolist()
    hits: Ints = np.zeros((150, count), np.int64)
    if policy == "slru":
        replay_segmented(new_segments(count), experts, np.arange(150), hits)
    else:
        hits = bounded(experts, 2, 70) if policy == "bounded" else ranked(policy, experts, 16, 70)
    for size in (1, 5, 6, 7, 12, 25, count):
        plain = {"slru": lambda: segmented_hits(tokens, size), "bounded": lambda: bounded_hits(tokens, size, 2)}  # noqa: B023
        expected = plain.get(policy, lambda: ranked_hits(tokens, policy, size, 16))()  # noqa: B023
        assert hits[:, size - 1].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(experts=traces(), policy=st.sampled_from(["lru", "lfu", "lfru", "sch", "slru", "bounded"]), m=st.integers(1, 20))
def test_no_policy_that_loads_what_it_needs_beats_belady(experts: Ints, policy: str, m: int) -> None:
    best = ranked("belady", experts, 0, 0).sum(axis=0)
    count = experts_of(experts)
    if policy == "slru":
        hits: Ints = np.zeros((len(experts), count), np.int64)
        replay_segmented(new_segments(count), experts, by_token(experts), hits)
    else:
        hits = bounded(experts, 1, 0) if policy == "bounded" else ranked(policy, experts, m, 0)
    k = experts.shape[1]
    if policy != "bounded":  # which need not hold a whole token, so that it is no cache of the kind that Belady bounds
        assert (hits.sum(axis=0) <= best)[k - 1 :].all()
    assert hits.sum(axis=0)[-1] <= best[-1]


@settings(max_examples=40, deadline=None)
@given(experts=traces(), policy=st.sampled_from(["lru", "lfu", "belady", "sch"]), m=st.integers(1, 20))
def test_one_text_is_what_the_metrics_say(experts: Ints, policy: Any, m: int) -> None:
    found = ranked(policy, experts, m, 0).sum(axis=0)
    told = accesses(experts, experts_of(experts), policy, segment_length=m, pinned=True).hits("charged")[0]
    np.testing.assert_array_equal(found, told)


@settings(max_examples=60, deadline=None)
@given(experts=traces(), width=st.integers(1, 4), cut=st.integers(0, 60))
def test_guesses_and_what_they_hide_equal_their_simulation(experts: Ints, width: int, cut: int) -> None:
    count, k = experts_of(experts), experts.shape[1]
    width = min(width, count)
    causes, after = experts[:-1], experts[1:]
    if not len(after):
        return
    parts = np.arange(len(after)) % 2
    pairs = np.zeros((2, count, count), np.int64)
    count_pairs(causes, after, parts, pairs)
    for half in (0, 1):
        for a in range(count):
            for b in range(count):
                both = sum(a in x and b in y for x, y, p in zip(causes, after, parts, strict=True) if p == half)
                assert pairs[half, a, b] == both
    chance = chances(pairs)
    guesses: Ints = np.zeros((len(after), width), np.int32)
    guess(causes, 1 - parts, chance, guesses)
    for i, token in enumerate(causes.tolist()):
        likely = sum((chance[1 - parts[i], cause] for cause in token), np.zeros(count))
        assert guesses[i].tolist() == sorted(range(count), key=lambda e: (-likely[e], e))[:width]
    depths = np.zeros((len(after), count), np.int64)
    hidden, fetched = np.zeros((2, len(after), count + 1), np.int64)
    stack = new_stack(count)
    bits = (count - 1).bit_length()
    for first, part in pieces(after, cut):
        at = slice(first, first + len(part))
        units = np.arange(len(after))[at]
        replay_guessed(
            part, guesses[at], units, first, bits, stack.entries, stack.depth, stack.held, depths, hidden, fetched
        )
    lru = ranked("lru", after, 0, 0)
    np.testing.assert_array_equal(np.cumsum(depths, axis=1)[:, : lru.shape[1]], lru)
    for size in range(k, count + 1):
        held: set[int] = set()
        last: dict[int, int] = {}
        for t, token in enumerate(after.tolist()):
            asked = set(guesses[t].tolist()) - held
            assert fetched[t, size:].sum() == len(asked)
            assert hidden[t, size:].sum() == len(asked & set(token))
            last |= dict.fromkeys(token, t)
            held = set(sorted(held | set(token), key=lambda e: (last[e], e), reverse=True)[:size])
