from __future__ import annotations

from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads.routing.simulation import best_possible, relabelled, simulate, trace, traces

from ipw.errors import UsageError
from ipw.workloads.routing.measures import stacks
from ipw.workloads.routing.measures.caches import Cold, Policy, accesses
from ipw.workloads.routing.metrics import cache_hit_rate, pool_layers, segment_cache_best_hit_rate

Ints = npt.NDArray[np.integer[Any]]
POLICIES: tuple[Policy, ...] = get_args(Policy)
policies = st.sampled_from(POLICIES)
colds = st.sampled_from(get_args(Cold))


def hits(experts: Ints, num_experts: int, policy: Policy, m: int, *, pinned: bool, cold: Cold) -> list[int]:
    found = accesses(experts, num_experts, policy, segment_length=m, pinned=pinned)
    counted: list[int] = found.hits(cold)[0].tolist()
    return counted


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=40, deadline=None)
@given(case=traces(), m=st.integers(1, 32), cold=colds)
def test_every_size_equals_a_cache_simulated_by_itself(
    policy: Policy, pinned: bool, case: tuple[Ints, int], m: int, cold: Cold
) -> None:
    experts, num_experts = case
    expected = [simulate(experts, policy, c, m, pinned=pinned, cold=cold) for c in range(1, num_experts + 1)]
    assert hits(experts, num_experts, policy, m, pinned=pinned, cold=cold) == expected


@pytest.mark.parametrize("kind", ["uniform", "zipf", "sticky"])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_long_trace_of_many_experts_equals_its_simulation(policy: Policy, pinned: bool, kind: str) -> None:
    experts = trace(np.random.default_rng(7), 80, 40, 6, kind)
    fast = hits(experts, 40, policy, 16, pinned=pinned, cold="charged")
    for c in (1, 5, 6, 7, 12, 39, 40):
        assert fast[c - 1] == simulate(experts, policy, c, 16, pinned=pinned, cold="charged")


@settings(max_examples=60, deadline=None)
@given(case=traces(max_tokens=12, max_experts=6))
def test_pinned_belady_is_the_best_that_any_cache_can_do(case: tuple[Ints, int]) -> None:
    experts, num_experts = case
    found = hits(experts, num_experts, "belady", 0, pinned=True, cold="charged")
    for size in range(experts.shape[1], num_experts + 1):
        assert found[size - 1] == best_possible(experts, size)


@settings(deadline=None)
@given(case=traces(), policy=policies, m=st.integers(1, 40))
def test_no_pinned_policy_beats_pinned_belady(case: tuple[Ints, int], policy: Policy, m: int) -> None:
    experts, num_experts = case
    k = experts.shape[1]
    best = hits(experts, num_experts, "belady", 0, pinned=True, cold="charged")[k - 1 :]
    other = hits(experts, num_experts, policy, m, pinned=True, cold="charged")[k - 1 :]
    assert all(b >= o for b, o in zip(best, other, strict=True))


@settings(deadline=None)
@given(case=traces(), pinned=st.booleans())
def test_sch_that_looks_at_the_current_token_alone_is_lru(case: tuple[Ints, int], pinned: bool) -> None:
    experts, num_experts = case
    np.testing.assert_array_equal(
        segment_cache_best_hit_rate(experts, num_experts, 1, pinned=pinned),
        cache_hit_rate(experts, num_experts, "lru", pinned=pinned),
    )


@settings(deadline=None)
@given(case=traces(), policy=policies, m=st.integers(1, 40), pinned=st.booleans())
def test_rates_rise_with_size_up_to_all_accesses_but_the_cold_ones(
    case: tuple[Ints, int], policy: Policy, m: int, pinned: bool
) -> None:
    experts, num_experts = case
    found = accesses(experts, num_experts, policy, segment_length=m, pinned=pinned)
    for cold, at_last in (("free", experts.size), ("charged", experts.size - len(np.unique(experts)))):
        rising = found.hits(cold)[0]  # type: ignore[arg-type]
        assert (np.diff(rising) >= 0).all()
        assert rising[-1] == at_last


@settings(deadline=None)
@given(case=traces(), policy=policies, m=st.integers(1, 40), data=st.data())
def test_names_of_experts_do_not_matter(case: tuple[Ints, int], policy: Policy, m: int, data: st.DataObject) -> None:
    experts, num_experts = case
    names = data.draw(st.permutations(range(num_experts)))
    before = hits(experts, num_experts, policy, m, pinned=False, cold="free")
    assert hits(relabelled(experts, names), num_experts, policy, m, pinned=False, cold="free") == before


@settings(deadline=None)
@given(case=traces(), policy=policies, m=st.integers(1, 40), seed=st.integers(0, 99))
def test_pinned_caches_do_not_mind_the_order_within_a_token(
    case: tuple[Ints, int], policy: Policy, m: int, seed: int
) -> None:
    experts, num_experts = case
    shuffled = np.random.default_rng(seed).permuted(experts, axis=1)
    before = hits(experts, num_experts, policy, m, pinned=True, cold="free")
    assert hits(shuffled, num_experts, policy, m, pinned=True, cold="free") == before


@settings(deadline=None)
@given(cases=st.lists(traces(max_tokens=12), min_size=1, max_size=4), policy=policies, pinned=st.booleans())
def test_sequences_do_not_see_one_another(cases: list[tuple[Ints, int]], policy: Policy, pinned: bool) -> None:
    k = min(experts.shape[1] for experts, _ in cases)
    num_experts = max(n for _, n in cases)
    parts = [experts[:, :k] for experts, _ in cases]
    bounds = np.cumsum([0, *map(len, parts)])
    together = accesses(np.concatenate(parts), num_experts, policy, segment_length=4, pinned=pinned, bounds=bounds)
    for part, row in zip(parts, together.hits("free"), strict=True):
        alone = accesses(part, num_experts, policy, segment_length=4, pinned=pinned)
        np.testing.assert_array_equal(alone.hits("free")[0], row)


def test_constant_routing_always_hits_once_all_its_experts_fit() -> None:
    experts = np.tile([3, 1], (50, 1))
    for policy in POLICIES:
        charged = hits(experts, 8, policy, 4, pinned=True, cold="charged")
        assert charged[1:] == [98] * 7


def test_two_alternating_experts_never_hit_a_cache_of_one() -> None:
    experts = np.array([[0], [1]] * 20)
    assert cache_hit_rate(experts, 2, "lru", cold="charged")[0] == 0
    assert cache_hit_rate(experts, 2, "belady", cold="charged")[0] == 0


def test_even_random_routing_hits_in_proportion_to_the_size() -> None:
    experts = trace(np.random.default_rng(1), 20_000, 16, 1)
    for policy in ("lru", "lfu"):
        np.testing.assert_allclose(cache_hit_rate(experts, 16, policy), np.arange(1, 17) / 16, atol=0.02)


def test_unpinned_experts_of_one_token_can_evict_one_another_so_that_sch_beats_belady() -> None:
    """The reference's Belady is no upper bound; the pinned one is. Found by search over random traces."""
    random = np.random.default_rng(0)
    found = [trace(random, 30, 8, 3) for _ in range(300)]
    beaten = [
        (segment_cache_best_hit_rate(x, 8, 4)[2:] > cache_hit_rate(x, 8, "belady")[2:] + 1e-12).any() for x in found
    ]
    assert any(beaten)


def test_a_whole_model_is_one_pool_with_offset_ids() -> None:
    experts = np.array([[[0, 1], [1, 0]], [[2, 0], [2, 1]]])
    assert pool_layers(experts, 3).tolist() == [[0, 1, 4, 3], [2, 0, 5, 4]]


def test_machine_code_and_plain_python_agree() -> None:
    experts = trace(np.random.default_rng(5), 40, 12, 3)
    entries = experts.astype(np.int64) + (np.arange(120).reshape(40, 3) << 4)
    bounds = np.array([0, 25, 40])
    plain = getattr(stacks.stack_depths, "py_func", stacks.stack_depths)
    for pinned in (False, True):
        fast = stacks.stack_depths(experts, entries, bounds, 12, 4, 3, 1 << 12, pinned)
        slow = plain(experts, entries, bounds, 12, 4, 3, 1 << 12, pinned)
        np.testing.assert_array_equal(fast[0], slow[0])
        np.testing.assert_array_equal(fast[1], slow[1])


@pytest.mark.parametrize(
    ("experts", "num_experts", "said"),
    [
        ([[0, 8]], 8, "token 0 names experts"),
        ([[0, 1], [-1, 2]], 8, "token 1 names experts"),
        ([[0, 1], [2, 2]], 8, "each once a token"),
        ([[0, 1, 2]], 2, "more than the 2"),
        ([[0, 1], [2]], 8, "same number of experts"),
        ([0, 1, 2], 8, "tokens, k"),
        ([[0.5]], 8, "integers"),
        ([], 8, "tokens, k"),
        (np.zeros((0, 2), int), 8, "no token"),
    ],
)
def test_what_is_no_routing_is_told(experts: Any, num_experts: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cache_hit_rate(experts, num_experts, "lru")


@pytest.mark.parametrize("bounds", [[0, 1], [1, 3], [0, 2, 2, 3], [0], [[0, 3]]])
def test_bounds_must_cover_all_tokens(bounds: Any) -> None:
    with pytest.raises(UsageError, match="bounds"):
        cache_hit_rate([[0], [1], [0]], 2, "lru", bounds=bounds)


def test_options_that_do_not_exist_are_told() -> None:
    with pytest.raises(UsageError, match="policy"):
        cache_hit_rate([[0]], 2, "fifo")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cold"):
        cache_hit_rate([[0]], 2, "lru", cold="warm")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least one token"):
        segment_cache_best_hit_rate([[0]], 2, 0)


# --- several layers -------------------------------------------------------------------------------------------------


def of_layers(case: tuple[Ints, int], layers: int, seed: int) -> Ints:
    """[layers, tokens, k] of layers that differ in the names of their experts."""
    experts, num_experts = case
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(num_experts)[experts] for _ in range(layers)])


@settings(max_examples=30, deadline=None)
@given(case=traces(max_tokens=20), layers=st.integers(1, 3), seed=st.integers(0, 9), policy=policies)
def test_one_pool_of_all_layers_equals_a_cache_that_sees_each_token_layer_by_layer(
    case: tuple[Ints, int], layers: int, seed: int, policy: Policy
) -> None:
    experts = of_layers(case, layers, seed)
    count = case[1]
    by_token = np.concatenate([experts[layer] + layer * count for layer in range(layers)], axis=1)
    if policy == "sch":
        found = segment_cache_best_hit_rate(experts, count, 4, pooled=True)
    else:
        found = cache_hit_rate(experts, count, policy, pooled=True)
    expected = [simulate(by_token, policy, size, 4) / by_token.size for size in range(1, count * layers + 1)]
    assert found.tolist() == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(case=traces(), seed=st.integers(0, 9), policy=policies)
def test_layers_with_caches_of_their_own_are_counted_together(
    case: tuple[Ints, int], seed: int, policy: Policy
) -> None:
    experts, count = of_layers(case, 3, seed), case[1]
    tokens = experts.shape[1]
    bounds = None if tokens < 3 else [0, 2, tokens]
    if policy == "sch":
        found = segment_cache_best_hit_rate(experts, count, 4, bounds=bounds)
        each = [segment_cache_best_hit_rate(layer, count, 4, bounds=bounds) for layer in experts]
    else:
        found = cache_hit_rate(experts, count, policy, bounds=bounds)
        each = [cache_hit_rate(layer, count, policy, bounds=bounds) for layer in experts]
    np.testing.assert_allclose(found, np.mean(each, axis=0))


def test_an_id_of_the_next_layer_is_not_taken_for_one_of_this_layer() -> None:
    with pytest.raises(UsageError, match="must lie in 0…3"):
        segment_cache_best_hit_rate([[[0, 4]], [[0, 1]]], 4, 2, pooled=True)


def test_one_layer_makes_no_pool() -> None:
    with pytest.raises(UsageError, match=r"needs experts \[layers, tokens, k\]"):
        cache_hit_rate([[0, 1]], 4, "lru", pooled=True)
