from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads.routing.architectures import VOCABULARY, tiny
from workloads.routing.simulation import traces

from ipw.errors import UsageError
from ipw.workloads.routing.capture import Capture
from ipw.workloads.routing.measures.pooled import new_pool, replay_pooled
from ipw.workloads.routing.measures.prediction import guess
from ipw.workloads.routing.offload.loader import Offload, Plan, Slots, WhereItLies, one_by_one
from ipw.workloads.routing.offload.profile import profile_behind, profile_of
from ipw.workloads.routing.offload.residents import Pool, Ranked, residents_of
from ipw.workloads.routing.offload.table import decode_hit_rates, hits_of
from ipw.workloads.routing.trace import Writer

torch = pytest.importorskip("torch", reason="offloading runs models of the extra 'torch'")
pytest.importorskip("transformers", reason="offloading runs models of the extra 'torch'")

policies = pytest.mark.parametrize("policy", ["lru", "lfu", "lfru", "slru", "lru-bounded"])


def logits(model: Any, chunks: list[Any]) -> list[Any]:
    """Logits of one sequence given in chunks, with a key-value cache."""
    found, past = [], None
    with torch.no_grad():
        for ids in chunks:
            output = model(ids, past_key_values=past, use_cache=True)
            past = output.past_key_values
            found.append(output.logits)
    return found


def chunks_of(lengths: list[int]) -> list[Any]:
    random = torch.Generator().manual_seed(2)
    return [torch.randint(3, VOCABULARY, (1, length), generator=random) for length in lengths]


@policies
@settings(deadline=None, max_examples=50)
@given(case=traces(), size=st.integers(1, 8))
def test_residents_hit_what_the_metrics_foretell(policy: str, case: tuple[Any, int], size: int) -> None:
    experts, num_experts = case
    residents, hits = residents_of(policy, size, 1, None), 0
    for token in experts.tolist():
        hits += len(set(residents.held).intersection(token))
        residents.use(token)
        assert len(residents.held) <= size
    assert hits == hits_of(policy, experts, np.zeros(len(experts), np.int64), num_experts)[min(size, num_experts) - 1]


@settings(deadline=None, max_examples=50)
@given(case=traces(), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3), size=st.integers(1, 8))
def test_a_pool_holds_what_the_pass_over_the_trace_says(case: tuple[Any, int], sizes: list[int], size: int) -> None:
    one, num_experts = case
    experts = np.stack([np.roll(one, shift, axis=0) for shift in range(len(sizes))], axis=1)
    size = min(size, num_experts)
    hits, hit_bytes = np.zeros((2, 1, num_experts), np.int64)
    replay_pooled(new_pool(np.array(sizes), num_experts), experts, np.zeros(len(one), np.int64), hits, hit_bytes)
    gone: list[tuple[int, int]] = []
    pool, found = Pool(size * sum(sizes), sizes, lambda layer, expert: gone.append((layer, expert))), 0
    for token in experts.tolist():
        for layer, own in enumerate(token):
            part = pool.layer(layer)
            found += len(set(part.held).intersection(own))
            part.use(own)
            assert sum(len(held) * each for held, each in zip(pool.by_layer, sizes, strict=True)) <= size * sum(sizes)
    if size * sum(sizes) >= one.shape[1] * max(sizes):
        assert found == hits[0, :size].sum()


@pytest.mark.parametrize(
    "plan",
    [
        Plan("lru", 2),
        Plan("lru", 1),
        Plan("lfu", 3),
        Plan("lfru", 2),
        Plan("slru", 2),
        Plan("lru-bounded", 2, miss="cpu"),
        Plan("static", 2, pins=[[0, 1], [2, 3]]),
        Plan("static", 2, miss="cpu", pins=[[0, 1], [3]]),
        Plan("lru", 2, per="pool"),
        Plan("lru", 2, prefetch="layer", chances=[np.eye(4), np.ones((4, 4))]),
        Plan("lru", 2, prefetch="token", chances=[np.eye(4), np.ones((4, 4))]),
    ],
    ids=lambda plan: f"{plan.policy} {plan.size} {plan.per} {plan.miss} {plan.prefetch}",
)
@pytest.mark.parametrize("name", ["Qwen3Moe", "GptOss", "Mixtral"])
def test_outputs_are_the_same_bits_as_those_of_the_plain_model(tmp_path: Path, name: str, plan: Plan) -> None:
    model = tiny(name)
    chunks = chunks_of([7, 1, 1, 1, 3, 1])
    with one_by_one(model):
        plain = logits(model, chunks)
        offload = Offload(model, tmp_path)
        offload.start(plan)
        offloaded = logits(model, chunks)
        offload.close()
        restored = logits(model, chunks)
    for expected, while_offloaded, afterwards in zip(plain, offloaded, restored, strict=True):
        assert torch.equal(expected, while_offloaded)
        assert torch.equal(expected, afterwards)


def decoded(tmp_path: Path, tokens: int = 30) -> tuple[Any, list[Any], Any]:
    """A model, single tokens, and the experts [tokens, L, k] that it chooses for them."""
    model = tiny("Qwen3Moe")
    model.set_experts_implementation("eager")
    capture = Capture(model)
    single = chunks_of([1] * tokens)
    logits(model, single)
    experts = capture.take()
    capture.close()
    return model, single, experts.astype(np.int32)


@pytest.mark.parametrize("policy", ["lru", "lfu", "lfru", "slru", "lru-bounded", "static"])
def test_decoding_loads_exactly_the_misses_that_the_metrics_foretell(tmp_path: Path, policy: str) -> None:
    model, single, experts = decoded(tmp_path)
    offload = Offload(model, tmp_path)
    profile = profile_of(experts[:15], 4)
    everywhere = np.zeros(len(experts), np.int64)
    for size in (2, 3, 4):
        miss = "cpu" if policy == "lru-bounded" else "load"
        offload.start(Plan(policy, size, miss=miss, pins=profile.pins(size)))
        offload.decode.clear()
        logits(model, single)
        foretold = sum(
            int(hits_of(policy, experts[:, layer], everywhere, 4, profile.uses[layer])[size - 1]) for layer in (0, 1)
        )
        assert offload.decode.accesses == experts.size
        assert offload.decode.hits == foretold
        if miss == "load":
            assert offload.decode.loads == experts.size - foretold
            assert offload.decode.loaded_bytes == offload.decode.loads * offload.expert_bytes
        else:
            assert offload.decode.loads == 0
            assert offload.decode.computed + offload.decode.hidden >= experts.size - foretold
        assert offload.prefill.accesses == 0


@pytest.mark.parametrize("ahead", ["layer", "token"])
def test_what_is_fetched_ahead_hides_the_misses_that_guesses_name(tmp_path: Path, ahead: str) -> None:
    model, single, experts = decoded(tmp_path, 40)
    profile = profile_of(experts, 4)
    offload = Offload(model, tmp_path)
    for size in (2, 3):
        offload.start(Plan("lru", size, prefetch=ahead, chances=profile.guesses(ahead)))
        offload.decode.clear()
        logits(model, single)
        hidden = 0
        for layer in (0, 1):
            own = experts[:, layer]
            causes = own[:-1] if ahead == "token" else experts[1:, 0] if layer else experts[:-1, 1]
            guesses = np.zeros((39, 2), np.int32)
            guess(np.ascontiguousarray(causes), np.zeros(39, np.int64), profile.guesses(ahead)[layer][None], guesses)
            lru = Ranked("lru", size)
            for t, token in enumerate(own.tolist()):
                if t:
                    hidden += len(set(token) & set(guesses[t - 1].tolist()) - lru.held)
                elif ahead == "layer" and layer == 1:
                    first = np.zeros((1, 2), np.int32)
                    guess(experts[:1, 0].copy(), np.zeros(1, np.int64), profile.guesses(ahead)[1][None], first)
                    hidden += len(set(token) & set(first[0].tolist()))
                lru.use(token)
        misses = offload.decode.accesses - offload.decode.hits
        assert offload.decode.hidden == hidden > 0
        assert offload.decode.loads == misses - hidden
        assert offload.decode.fetched >= hidden


def test_what_takes_part_where_weights_lie_comes_back_to_its_device() -> None:
    weight, tokens = torch.randn(5, 3), torch.randn(2, 3)
    lies = WhereItLies(weight)
    assert torch.equal(torch.nn.functional.linear(tokens, lies), torch.nn.functional.linear(tokens, weight))
    assert torch.equal(torch.randn(1, 5).mul(0) @ lies + lies.weight[0], torch.zeros(1, 3) + weight[0])


def test_fast_memory_holds_no_more_than_the_cache_between_tokens(tmp_path: Path) -> None:
    model = tiny("Qwen3Moe")
    model.set_experts_implementation("eager")
    offload = Offload(model, tmp_path)
    for plan in (Plan("lru", 2), Plan("slru", 2), Plan("lru", 2, per="pool"), Plan("static", 2, pins=[[1, 2], [0, 3]])):
        offload.start(plan)
        logits(model, chunks_of([9, 1, 1]))
        held = [len(layer._fast) for layer in offload.layers]
        assert sum(held) == 4
        assert plan.per == "pool" or held == [2, 2]
    parameters = {name for name, _ in model.named_parameters()}
    assert not any("experts" in name for name in parameters)


def test_a_profile_is_of_other_texts_than_those_that_are_decoded(tmp_path: Path) -> None:
    writer = Writer(tmp_path, 4, ["layer 0", "layer 1"])
    for text in range(6):
        ids = np.full((10, 2, 1), text % 4, np.int16)
        writer.add(ids, np.zeros(10, np.int32), 10, "all")
        if text == 3:
            writer.flush()
    writer.flush()
    assert profile_behind(tmp_path, 4).uses.tolist() == [[10, 10, 0, 0]] * 2
    assert profile_behind(tmp_path, 5).pins(1) == [[1], [1]]
    assert decode_hit_rates(tmp_path, "static", 4).tolist() == [0.25, 0.5, 0.75, 1.0]
    with pytest.raises(UsageError, match="other texts than the 6"):
        profile_behind(tmp_path, 6)


@pytest.mark.parametrize("name", ["Qwen3Moe", "GptOss"])
def test_experts_that_are_read_past_the_cache_are_the_same_bits(tmp_path: Path, name: str) -> None:
    model = tiny(name).to(torch.bfloat16)
    chunks = chunks_of([7, 1, 1, 1])
    with one_by_one(model):
        plain = logits(model, chunks)
        for number, plan in enumerate((Plan("lru", 2), Plan("static", 1, miss="cpu", pins=[[0], [1]]))):
            offload = Offload(model, tmp_path / str(number), past_cache=True)
            offload.start(plan)
            offloaded = logits(model, chunks)
            offload.close()
            for expected, found in zip([*plain, *plain], [*offloaded, *logits(model, chunks)], strict=True):
                assert torch.equal(expected, found)


def test_pins_that_nobody_chose_are_told() -> None:
    with pytest.raises(UsageError, match="which experts to pin"):
        residents_of("static", 2, 1, None)


def test_a_model_without_stacks_of_experts_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be offloaded"):
        Offload(tiny("NllbMoe"), tmp_path)


def test_what_is_needed_now_goes_before_what_is_fetched_ahead() -> None:
    slots, order, begun = Slots(), [], threading.Event()

    def fetch_ahead() -> None:
        for number in range(20):
            with slots.link(ahead=True):
                begun.set()
                order.append(f"ahead {number}")
                while slots._nobody_waits.is_set() and "now" not in order:
                    time.sleep(0.001)  # the first takes until somebody waits

    beside = threading.Thread(target=fetch_ahead)
    beside.start()
    begun.wait()
    with slots.link(ahead=False):
        order.append("now")
    beside.join()
    assert order.index("now") == 1, "it waited for the one on its way, and for no other"
    assert len(order) == 21
