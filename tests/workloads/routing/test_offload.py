from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads.routing.architectures import VOCABULARY, tiny
from workloads.routing.simulation import traces

from ipw.errors import UsageError
from ipw.workloads.routing.capture import Capture
from ipw.workloads.routing.measures.caches import accesses
from ipw.workloads.routing.offload.loader import Offload, Residents, one_by_one
from ipw.workloads.routing.parameters import OnlinePolicy

torch = pytest.importorskip("torch", reason="offloading runs models of the extra 'torch'")
pytest.importorskip("transformers", reason="offloading runs models of the extra 'torch'")

policies = pytest.mark.parametrize("policy", ["lru", "lfu"])


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
def test_residents_hit_what_the_metrics_foretell(policy: OnlinePolicy, case: tuple[Any, int], size: int) -> None:
    experts, num_experts = case
    residents, hits = Residents(policy, size), 0
    for token in experts.tolist():
        hits += len(residents.held.intersection(token))
        residents.use(token)
        assert len(residents.held) <= size
    foretold = accesses(experts, num_experts, policy, pinned=True).hits("charged")[0]
    assert hits == foretold[min(size, num_experts) - 1]


@policies
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["Qwen3Moe", "GptOss", "Mixtral"])
def test_outputs_are_the_same_bits_as_those_of_the_plain_model(
    tmp_path: Path, name: str, size: int, policy: OnlinePolicy
) -> None:
    model = tiny(name)
    chunks = chunks_of([7, 1, 1, 1, 3, 1])
    with one_by_one(model):
        plain = logits(model, chunks)
        offload = Offload(model, tmp_path)
        offload.start(policy, size)
        offloaded = logits(model, chunks)
        offload.close()
        restored = logits(model, chunks)
    for expected, while_offloaded, afterwards in zip(plain, offloaded, restored, strict=True):
        assert torch.equal(expected, while_offloaded)
        assert torch.equal(expected, afterwards)


@policies
def test_decoding_loads_exactly_the_misses_that_the_metrics_foretell(tmp_path: Path, policy: OnlinePolicy) -> None:
    model = tiny("Qwen3Moe")
    model.set_experts_implementation("eager")
    capture = Capture(model)
    single = chunks_of([1] * 30)
    logits(model, single)
    experts = capture.take()
    capture.close()
    offload = Offload(model, tmp_path)
    for size in (2, 3, 4):
        offload.start(policy, size)
        offload.decode.clear()
        logits(model, single)
        foretold = sum(
            int(accesses(experts[:, layer], 4, policy, pinned=True).hits("charged")[0][size - 1]) for layer in range(2)
        )
        assert offload.decode.accesses == experts.size
        assert offload.decode.hits == foretold
        assert offload.decode.loads == experts.size - foretold
        assert offload.decode.loaded_bytes == offload.decode.loads * offload.expert_bytes
        assert offload.prefill.accesses == 0


def test_fast_memory_holds_no_more_than_the_cache_between_tokens(tmp_path: Path) -> None:
    model = tiny("Qwen3Moe")
    model.set_experts_implementation("eager")
    offload = Offload(model, tmp_path)
    offload.start("lru", 2)
    logits(model, chunks_of([9, 1, 1]))
    assert [len(layer._fast) for layer in offload.layers] == [2, 2]
    parameters = {name for name, _ in model.named_parameters()}
    assert not any("experts" in name for name in parameters)


def test_a_model_without_stacks_of_experts_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be offloaded"):
        Offload(tiny("NllbMoe"), tmp_path)
