from __future__ import annotations

from functools import partial
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra 'torch'")

import torch
from workloads.training.tiny import losses, same, tiny_images, tiny_text, weights_of

from ipw.errors import MissingExtraError, install_hint
from ipw.workloads.training.edges import Edges
from ipw.workloads.training.methods import make_method
from ipw.workloads.training.methods.base import UnfitError
from ipw.workloads.training.methods.momentum_local import MomentumHead, follow
from ipw.workloads.training.parameters import METHODS, Parameters

TASKS = {"text": tiny_text, "images": tiny_images}
LOCAL = ("local", "momentum-local")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", [m for m in METHODS if m != "lora"])
def test_every_method_learns_a_batch_by_heart(name: str, kind: str) -> None:
    task = TASKS[kind]()
    batch = next(task.batches)
    task.batches = iter([batch] * 25)
    first, *_, last = losses(name, task, 25)
    assert last < first - (0.001 if name == "zeroth-order" else 0.1)


def weighted(loss: Any, share: float, net: Any, batch: Any) -> Any:
    return loss(net, batch) * share


@pytest.mark.parametrize("options", [{}, {"blocks": "layers"}, {"blocks": 2}, {"auxiliary_depth": 1}])
@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("kind", TASKS)
def test_no_gradient_crosses_from_a_block_into_another(name: str, kind: str, options: dict[str, Any]) -> None:
    """With the losses of all blocks but one multiplied by 0, every other block's gradient is exactly 0."""
    batch = next(TASKS[kind]().batches)
    blocks = list(range(len(make(name, TASKS[kind](), options).heads) + 1))
    for block in blocks:
        task = TASKS[kind]()
        told: list[Any] = []
        criterion, loss = task.criterion, task.loss
        assert criterion is not None

        def only(logits: Any, b: Any, block: int = block, told: list[Any] = told, inner: Any = criterion) -> Any:
            told.append(1)
            return inner(logits, b) * float(len(told) - 1 == block)

        task.criterion = only
        task.loss = partial(weighted, loss, float(block == blocks[-1]))
        method = make(name, task, options)
        method._optimiser.zero_grad = lambda **_: None
        method.step(batch, Edges(torch.device("cpu")))
        for k, layer in enumerate(task.layers):
            mine = sum(k > end for end in method._ends)
            gradients = [w.grad for w in layer.parameters() if w.grad is not None]
            assert gradients
            nothing = all(bool((g == 0).all()) for g in gradients)
            assert nothing == (mine != block), f"loss of block {block}, gradient of layer {k}"


def make(name: str, task: Any, options: dict[str, Any]) -> Any:
    return make_method(name, task, Parameters(**options))


@pytest.mark.parametrize("name", LOCAL)
def test_one_block_is_backpropagation_bit_for_bit(name: str) -> None:
    local, whole = tiny_text(), tiny_text()
    assert losses(name, local, 5, blocks=1) == losses("backprop", whole, 5)
    assert same(weights_of(local), weights_of(whole))


def test_the_last_block_and_head_learn_as_by_backpropagation_from_the_same_input() -> None:
    assert losses("local", tiny_text(), 1) == losses("backprop", tiny_text(), 1), "the reported loss is the model's own"


def test_the_moving_average_converges_at_its_rate() -> None:
    torch.manual_seed(0)
    average, layer = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    start = average.weight.detach().clone() - layer.weight.detach()
    for _ in range(200):
        follow(average, layer, momentum=0.99)
    assert torch.allclose(average.weight - layer.weight, start * 0.99**200, rtol=1e-4, atol=1e-6)


def test_a_momentum_head_follows_the_next_block_and_is_not_trained() -> None:
    task = tiny_text()
    method = make("momentum-local", task, {"ema_momentum": 0.9})
    head = method.heads[0]
    assert isinstance(head, MomentumHead)
    average = task.layers[1].qkv.weight.detach().clone()
    assert torch.equal(head.average.qkv.weight, average)
    for _ in range(2):
        average = average * 0.9 + task.layers[1].qkv.weight.detach() * (1 - 0.9)
        method.step(next(task.batches), Edges(torch.device("cpu")))
        assert torch.allclose(head.average.qkv.weight, average, atol=1e-7), "towards the weights of the step"
    assert not any(weight.requires_grad or weight.grad is not None for weight in head.average.parameters())
    assert not torch.equal(head.companion.qkv.weight, task.layers[1].qkv.weight), "the companion learns for itself"


def test_momentum_heads_are_the_average_its_companion_and_a_classifier() -> None:
    plain, deep = make("momentum-local", tiny_text(), {}), make("momentum-local", tiny_text(), {"auxiliary_depth": 1})
    assert [len(head.rest) for head in plain.heads] == [1, 1, 1]
    assert [len(head.rest) for head in deep.heads] == [2, 2]


def test_the_pyramid_can_be_left_out() -> None:
    depths = [
        [len(head) - 1 for head in make("local", tiny_text(layers=9), {"auxiliary_depth": 3, "pyramid": pyramid}).heads]
        for pyramid in (True, False)
    ]
    assert depths == [[3, 3, 2, 2, 2], [3, 3, 3, 3, 3]]


@pytest.mark.parametrize("name", ["backprop", *LOCAL])
def test_stochastic_gradient_descent_learns_and_holds_one_state_a_weight(name: str) -> None:
    task = tiny_text()
    batch = next(task.batches)
    task.batches = iter([batch] * 25)
    first, *_, last = losses(name, task, 25, optimizer="sgd")
    assert last < first - 0.1
    states = make(name, tiny_text(), {"optimizer": "sgd"})
    states.step(batch, Edges(torch.device("cpu")))
    assert all(list(state) == ["momentum_buffer"] for state in states._optimiser.state.values())


@pytest.mark.parametrize("kind", TASKS)
def test_checkpointing_has_the_gradients_of_backpropagation(kind: str) -> None:
    checkpointed, whole = TASKS[kind](), TASKS[kind]()
    assert losses("checkpointing", checkpointed, 3) == losses("backprop", whole, 3)
    assert same(weights_of(checkpointed), weights_of(whole))


@pytest.mark.parametrize("name", ["backprop", "local"])
def test_a_batch_in_pieces_has_the_gradient_of_the_whole(name: str) -> None:
    pieces, whole = tiny_text(), tiny_text()
    assert losses(name, pieces, 4, accumulate=3) == pytest.approx(losses(name, whole, 4), rel=1e-4)


def test_mixed_precision_learns_nearly_the_same_and_keeps_the_weights_whole() -> None:
    mixed, whole = tiny_text(), tiny_text()
    assert losses("backprop", mixed, 4, amp=True) == pytest.approx(losses("backprop", whole, 4), rel=0.02)
    assert {weight.dtype for weight in mixed.model.parameters()} == {torch.float32}


def test_lora_trains_adapters_alone() -> None:
    pytest.importorskip("peft", reason="lora needs the extra 'lora'")
    task = tiny_text()
    before = {name: weight.detach().clone() for name, weight in task.model.named_parameters()}
    first, *_, last = losses("lora", task, 40)
    assert last < first
    after = dict(task.model.named_parameters())
    for name, weight in before.items():
        kept = [other for key, other in after.items() if key.replace(".base_layer", "") == name]
        assert torch.equal(kept[0], weight), name
    assert sum(weight.numel() for weight in after.values() if weight.requires_grad) < sum(
        weight.numel() for weight in before.values()
    )


def test_lora_without_peft_answers_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError) as error:
        make_method("lora", tiny_text(), Parameters())
    assert error.value.hint == install_hint("lora")


@pytest.mark.parametrize("name", ["checkpointing", *LOCAL])
def test_a_model_whose_layers_are_not_known_does_not_fit(name: str) -> None:
    task = tiny_text()
    task.layers = ()
    with pytest.raises(UnfitError, match="layers of tiny"):
        make_method(name, task, Parameters())


def test_more_blocks_than_layers_do_not_fit() -> None:
    with pytest.raises(UnfitError, match="make no 9 blocks"):
        make_method("local", tiny_text(), Parameters(blocks=9))
