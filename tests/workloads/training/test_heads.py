from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra 'torch'")
pytest.importorskip("transformers", reason="needs the extra 'torch'")

import torch
import transformers
from workloads.training.tiny import tiny_text

from ipw.workloads.training.edges import Edges
from ipw.workloads.training.heads import LayeredHead, TiedHead
from ipw.workloads.training.methods import make_method
from ipw.workloads.training.parameters import Parameters
from ipw.workloads.training.subjects import load_task


def causal(**options: Any) -> Any:
    config = transformers.Qwen3Config(
        vocab_size=97, hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, **options,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.Qwen3ForCausalLM(config)


@pytest.mark.parametrize("tie", [True, False])
def test_tied_heads_hold_no_vocabulary_and_send_the_unembedding_no_gradient(tie: bool) -> None:
    model = causal(tie_word_embeddings=tie)
    head = LayeredHead(model, [model.model.layers[1]], tied=True)
    assert not any(97 in weight.shape for weight in head.parameters())
    hidden = torch.randn(1, 3, 16, requires_grad=True)
    logits = head.head(hidden)
    assert logits.shape == (1, 3, 97)
    logits.sum().backward()
    assert model.get_output_embeddings().weight.grad is None
    assert hidden.grad is not None


def test_a_tied_head_classifies_by_what_the_unembedding_is_now() -> None:
    model = causal()
    head = TiedHead(16, model.get_output_embeddings())
    hidden = torch.randn(1, 2, 16)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(2)
    expected = model.get_output_embeddings()(head.norm(hidden))
    assert torch.allclose(head(hidden), expected)


def test_heads_with_classifiers_of_their_own_hold_one_each() -> None:
    model = causal()
    assert any(97 in weight.shape for weight in LayeredHead(model, [], tied=False).parameters())


@pytest.mark.parametrize("method", ["local", "momentum-local"])
@pytest.mark.parametrize("name", ["moe", "text"])
def test_language_models_train_locally_with_either_classifier(name: str, method: str) -> None:
    weights = {}
    for classifier in ("tied", "own"):
        parameters = Parameters(model=name, batch_size=2, sequence_length=12, classifier=classifier, evaluations=1)
        task = load_task(parameters)
        trained: Any = make_method(method, task, parameters)
        assert torch.isfinite(trained.step(next(task.batches), Edges(torch.device("cpu"))))
        weights[classifier] = sum(weight.numel() for weight in trained.heads.parameters())
    assert weights["tied"] < weights["own"]


def test_a_task_of_ones_own_makes_its_own_heads() -> None:
    trained: Any = make_method("local", tiny_text(), Parameters(classifier="tied"))
    assert not any(isinstance(module, TiedHead) for module in trained.heads.modules())
