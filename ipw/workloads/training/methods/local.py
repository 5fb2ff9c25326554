"""Supervised local learning with augmented auxiliary networks: AugLocal, arXiv 2402.17318, section 3.

The model is cut into gradient-isolated blocks. What a block puts out goes through an auxiliary network of its own to a
local loss, whose gradient stays in the block; the next block gets the output without its history. The backward pass of
a block runs inside the model's forward pass, so that its activations are freed before the next block starts. The last
block has the model's own head and loss; by default it holds the last d + 1 layers, where d is the auxiliary depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ipw.workloads.training.edges import BACKWARD, FORWARD, UPDATE, Edges
from ipw.workloads.training.methods.auxiliary import block_ends, cuts, pyramid_depth, sampled_layers
from ipw.workloads.training.methods.base import UnfitError, device_of, optimiser, precision, structure
from ipw.workloads.training.parameters import EACH_LAYER, Parameters
from ipw.workloads.training.task import Batch, Task, pieces


class Local:
    """A head behind every block but the last, and one optimiser for all of them and the model."""

    name = "local"

    def __init__(self, task: Task, parameters: Parameters, learning_rate: float) -> None:
        structure(task, self.name)
        if task.auxiliary is None or task.criterion is None:
            raise UnfitError(f"{self.name} cannot make auxiliary networks for {task.name}",
                             f"return a Task with `auxiliary` and `criterion`, or leave {self.name} out")  # fmt: skip
        depth = parameters.auxiliary_depth_of(self.name)
        self._task, self._parameters = task, parameters
        self._ends = _ends(task, parameters.blocks, depth)[:-1]
        blocks = len(self._ends) + 1
        depths = [pyramid_depth(k, blocks, depth) if parameters.pyramid else depth for k in range(blocks - 1)]
        self.heads = nn.ModuleList(self._head(end, depth) for end, depth in zip(self._ends, depths, strict=True))
        self.heads.to(device_of(task.model))
        self._optimiser = optimiser([*task.model.parameters(), *self.heads.parameters()], parameters, learning_rate)
        self._piece: Batch = None
        self._share = 1.0
        self._edges: Edges | None = None
        for end, head in zip(self._ends, self.heads, strict=True):
            task.layers[end].register_forward_hook(self._hook(head), with_kwargs=True)

    def step(self, batch: Batch, edges: Edges) -> Tensor:
        """Train every block on its own loss; returns the last one's, which is the model's."""
        losses = []
        for piece, share in pieces(batch, self._parameters.accumulate):
            self._piece, self._share, self._edges = piece, share, edges
            edges.enter(FORWARD)
            with precision(self._parameters, self._task.model):
                loss = self._task.loss(self._task.model, piece)
            losses.append(self._backward(loss, edges))
        self._edges = None
        edges.enter(UPDATE)
        self._before_update()
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return sum(losses[1:], losses[0])

    def _head(self, end: int, depth: int) -> nn.Module:
        """Make the auxiliary network behind layer `end`."""
        assert self._task.auxiliary is not None
        return self._task.auxiliary(end, sampled_layers(end, len(self._task.layers), depth))

    def _before_update(self) -> None:
        """Nothing here; for methods that carry something on from step to step."""

    def _hook(self, head: nn.Module) -> Any:
        def isolate(_layer: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> Any:
            if self._edges is None:
                return None  # not a training step
            assert self._task.criterion is not None
            hidden = hidden_of(output)
            logits = head(hidden, *args[1:], **kwargs)
            self._backward(self._task.criterion(logits, self._piece), self._edges)
            self._edges.enter(FORWARD)
            cut = hidden.detach()
            return (cut, *output[1:]) if isinstance(output, tuple) else cut

        return isolate

    def _backward(self, loss: Tensor, edges: Edges) -> Tensor:
        edges.enter(BACKWARD)
        loss = loss if self._share == 1.0 else loss * self._share
        with torch.autocast(loss.device.type, enabled=False):
            loss.backward()
        return loss.detach()


def _ends(task: Task, blocks: int | str | None, depth: int) -> list[int]:
    layers = len(task.layers)
    if blocks is None:
        return cuts(layers, depth)
    count = layers if blocks == EACH_LAYER else int(blocks)
    if count > layers:
        raise UnfitError(f"{task.name} has {layers} layers, which make no {count} blocks", "fewer --blocks")
    return block_ends(layers, count)


def hidden_of(output: Any) -> Tensor:
    """Take the hidden state out of what a layer returns."""
    hidden = output[0] if isinstance(output, tuple) else output
    assert isinstance(hidden, Tensor)
    return hidden
