from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from workloads.routing.architectures import ACTIVE, EXPERTS, LAYERS, NAMES, TOP_ONE, VOCABULARY, tiny

from ipw.errors import UsageError
from ipw.workloads.routing.capture import Capture

torch = pytest.importorskip("torch", reason="capture runs models of the extra 'torch'")
pytest.importorskip("transformers", reason="capture runs models of the extra 'torch'")

TOKENS = 9


def run(model: Any, tokens: int = TOKENS) -> Any:
    ids = torch.randint(3, VOCABULARY, (1, tokens), generator=torch.Generator().manual_seed(1))
    both = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return ids, model(ids, **both)


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_tells_which_experts_it_chose(name: str) -> None:
    model = tiny(name)
    capture = Capture(model)
    run(model)
    experts = capture.take()
    assert experts.shape == (TOKENS, LAYERS, 1 if name in TOP_ONE else ACTIVE)
    assert experts.dtype == np.int16
    assert capture.num_experts == EXPERTS
    assert len(capture.layers) == LAYERS
    assert 0 <= experts.min() <= experts.max() < EXPERTS
    assert all(len(set(chosen)) == len(chosen) for token in experts.tolist() for chosen in token)


@pytest.mark.parametrize("name", ["Mixtral", "Olmoe", "Qwen3Moe", "GraniteMoe", "Qwen2Moe", "Llama4", "JetMoe"])
def test_what_is_captured_is_what_the_router_ranks_highest(name: str) -> None:
    """True of these architectures; others correct the logits by a bias or by groups before they choose."""
    model = tiny(name)
    capture = Capture(model)
    logits = []
    for layer in capture_routers(model):
        layer.register_forward_hook(lambda _m, _a, output: logits.append(output))
    run(model)
    k = 1 if name in TOP_ONE else ACTIVE
    for layer, output in zip(capture.take().transpose(1, 0, 2), logits, strict=True):
        scores = next(x for x in output if torch.is_tensor(x) and x.shape == (TOKENS, EXPERTS))
        assert layer.tolist() == scores.topk(k, dim=1).indices.tolist()


def capture_routers(model: Any) -> list[Any]:
    """Modules that are routers, found by name: not by the way that capture finds them."""
    kinds = ("TopKRouter", "Llama4Router", "TopKGating")
    return [
        module
        for name, module in model.named_modules()
        if type(module).__name__.endswith(kinds) and "self_attention" not in name
    ]


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_capture_does_not_depend_on_how_experts_are_computed(implementation: str) -> None:
    model = tiny("Qwen3Moe")
    model.set_experts_implementation(implementation)
    capture = Capture(model)
    run(model)
    expected = Capture(plain := tiny("Qwen3Moe"))
    run(plain)
    assert capture.take().tolist() == expected.take().tolist()


@pytest.mark.parametrize("name", ["Qwen3Moe", "JetMoe", "Llama4"])
def test_generated_tokens_are_captured_too(name: str) -> None:
    model = tiny(name)
    capture = Capture(model)
    ids, _ = run(model)
    read = capture.take()
    with torch.no_grad():
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, min_new_tokens=4, do_sample=False)
    written = capture.take()
    assert len(written) == TOKENS + 3, "the last token is written, never read"
    assert written[:TOKENS].tolist() == read.tolist()


def test_capture_changes_no_output_and_leaves_no_hook() -> None:
    model = tiny("Qwen3Moe")
    _, before = run(model)
    capture = Capture(model)
    _, during = run(model)
    capture.close()
    assert torch.equal(before.logits, during.logits)
    run(model)
    assert len(capture.take()) == TOKENS, "only what ran before it was closed"


def test_a_dense_model_is_told() -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    dense = Qwen3ForCausalLM(
        Qwen3Config(vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    )
    with pytest.raises(UsageError, match="dense"):
        Capture(dense)


def test_layers_that_differ_in_k_are_told() -> None:
    model = tiny("Qwen3Moe")
    model.model.layers[1].mlp.gate.top_k = 1
    capture = Capture(model)
    run(model)
    with pytest.raises(UsageError, match="layers differ"):
        capture.take()


def test_tokens_that_a_router_drops_are_told() -> None:
    model = tiny("SwitchTransformers", expert_capacity=1)
    with pytest.raises(UsageError, match="dropped"):
        run_captured(model)


def run_captured(model: Any) -> None:
    capture = Capture(model)
    try:
        run(model, 40)
    finally:
        capture.close()
