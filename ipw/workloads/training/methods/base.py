"""What every method of training is to the loop that measures it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from ipw.errors import UsageError
from ipw.workloads.training.edges import Edges
from ipw.workloads.training.parameters import Parameters
from ipw.workloads.training.task import Batch, Task


class Method(Protocol):
    """One way to train `task.model`, which stays the model that is evaluated.

    What a method keeps in a dictionary `notes` goes into the record of each step.
    """

    def step(self, batch: Batch, edges: Edges) -> Tensor:
        """Do one step, tell `edges` each phase as it starts, and return the mean loss of the batch before the step."""


class UnfitError(UsageError):
    """The method cannot train this model."""


def optimiser(weights: Iterable[nn.Parameter], parameters: Parameters, learning_rate: float) -> torch.optim.Optimizer:
    """Make the optimiser of all methods that have gradients.

    SGD has Nesterov's momentum and the weight decay of AugLocal's and MAN's recipes, AdamW no decay.
    """
    learning = [w for w in weights if w.requires_grad]
    if parameters.optimizer == "sgd":
        return torch.optim.SGD(learning, lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=1e-4)
    return torch.optim.AdamW(learning, lr=learning_rate, weight_decay=0.0)


def precision(parameters: Parameters, model: nn.Module) -> AbstractContextManager[object]:
    """Mixed precision where asked for: bfloat16, whose range needs no scaling of the loss."""
    if not parameters.amp:
        return nullcontext()
    context: AbstractContextManager[object] = torch.autocast(device_of(model).type, dtype=torch.bfloat16)
    return context


def device_of(model: nn.Module) -> torch.device:
    """Where the weights are."""
    return next(model.parameters()).device


def structure(task: Task, method: str) -> None:
    """Raise UnfitError where the model's layers are not known."""
    if not task.layers:
        raise UnfitError(f"{method} needs to know the layers of {task.name}", "return a Task with `layers`, or leave "
                         f"{method} out")  # fmt: skip
