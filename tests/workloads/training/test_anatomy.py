from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra 'torch'")

import torch
from workloads.training.tiny import tiny_text

from ipw.workloads.training.anatomy import Anatomy, anatomy
from ipw.workloads.training.edges import Edges
from ipw.workloads.training.heads import LayeredHead
from ipw.workloads.training.methods import make_method
from ipw.workloads.training.parameters import Parameters
from ipw.workloads.training.subjects import next_token_loss
from ipw.workloads.training.task import Task

WIDTH, SAMPLES, LAYERS = 256, 512, 8
HIDDEN = 4 * WIDTH * SAMPLES
"""Bytes of one activation."""


def looked_at(name: str, task: Task, **options: Any) -> Anatomy:
    torch.set_num_threads(1)
    method: Any = make_method(name, task, Parameters(**options))
    edges = Edges(torch.device("cpu"))
    method.step(next(task.batches), edges)
    batch = next(task.batches)
    return anatomy(
        lambda: method.step(batch, edges), [task.model, *([method.heads] if hasattr(method, "heads") else [])]
    )


def chain() -> Task:
    """Linear layers and squares, whose activations can be counted by hand."""

    class Squared(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(WIDTH, WIDTH, bias=False)

        def forward(self, x: Any) -> Any:
            return self.linear(x) ** 2

    torch.manual_seed(0)
    model = torch.nn.Sequential(*(Squared() for _ in range(LAYERS)))

    def batches() -> Any:
        while True:
            yield torch.rand(SAMPLES, WIDTH)

    return Task(
        model=model,
        batches=batches(),
        loss=lambda net, x: net(x).mean(),
        layers=list(model),
        criterion=lambda out, _x: out.mean(),
        auxiliary=lambda _after, sampled: torch.nn.Sequential(*(Squared() for _ in sampled)),
    )


def test_the_parts_of_a_step_are_those_counted_by_hand() -> None:
    found = looked_at("backprop", chain())
    weights = 4 * WIDTH * WIDTH * LAYERS
    assert found.weights_bytes == found.gradients_bytes == weights
    assert found.optimizer_bytes == pytest.approx(2 * weights, rel=1e-3)
    # each layer keeps what goes into it and what is squared; backward holds a few more at its start
    assert 2 * LAYERS * HIDDEN <= found.activations_bytes <= (2 * LAYERS + 4) * HIDDEN
    assert looked_at("backprop", chain(), optimizer="sgd").optimizer_bytes == weights


def test_a_blocks_memory_is_freed_before_the_next_block_runs() -> None:
    """The point of sequential local learning: activations of one block with its head at a time, not of all."""
    deep = [looked_at("local", chain(), blocks=blocks, auxiliary_depth=0) for blocks in (1, 2, 4, 8)]
    kept = [found.activations_bytes / HIDDEN for found in deep]
    assert kept == sorted(kept, reverse=True)
    for blocks, layers in zip((1, 2, 4, 8), kept, strict=True):
        assert layers <= 2 * LAYERS / blocks + 5.1, f"{blocks} blocks"


def test_recomputing_holds_less_than_keeping() -> None:
    assert (
        looked_at("checkpointing", chain()).activations_bytes < 0.8 * looked_at("backprop", chain()).activations_bytes
    )


def test_zeroth_order_holds_no_gradient_and_no_state() -> None:
    found = looked_at("zeroth-order", chain())
    assert (found.gradients_bytes, found.optimizer_bytes) == (0, 0)
    assert found.activations_bytes < 5 * HIDDEN + found.weights_bytes


def test_all_of_it_takes_at_least_the_weights_and_states_and_one_part_of_the_rest() -> None:
    found = looked_at("local", tiny_text())
    assert found.tensors_bytes >= found.weights_bytes + found.optimizer_bytes + found.gradients_bytes
    assert found.tensors_bytes >= found.weights_bytes + found.optimizer_bytes + found.activations_bytes


def deep_language_model(*, tied: bool = True) -> Task:
    transformers = pytest.importorskip("transformers", reason="needs the extra 'torch'")
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=1024, hidden_size=32, intermediate_size=96, num_hidden_layers=12, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    model = transformers.Qwen3ForCausalLM(config)
    layers = list(model.model.layers)

    def batches() -> Any:
        while True:
            yield torch.randint(1024, (8, 97))

    return Task(
        model=model,
        batches=batches(),
        loss=lambda net, tokens: next_token_loss(net(input_ids=tokens[:, :-1], use_cache=False).logits, tokens),
        layers=layers,
        criterion=next_token_loss,
        auxiliary=lambda _after, sampled: LayeredHead(model, [layers[i] for i in sampled], tied=tied),
    )


def test_a_deep_language_model_takes_less_than_by_backpropagation_if_heads_share_the_unembedding() -> None:
    whole = looked_at("backprop", deep_language_model())
    shared, own = (looked_at("local", deep_language_model(tied=tied)) for tied in (True, False))
    assert shared.tensors_bytes < whole.tensors_bytes
    assert shared.tensors_bytes + own.weights_bytes - shared.weights_bytes < own.tensors_bytes, (
        "states and gradients too"
    )
