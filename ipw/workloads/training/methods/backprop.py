"""Plain backpropagation: the baseline, in mixed precision and in pieces of a batch where asked for."""

from __future__ import annotations

from torch import Tensor

from ipw.workloads.training.edges import BACKWARD, FORWARD, UPDATE, Edges
from ipw.workloads.training.methods.base import optimiser, precision
from ipw.workloads.training.parameters import Parameters
from ipw.workloads.training.task import Batch, Task, pieces


class Backprop:
    """Forward, backward, update of every weight that requires a gradient."""

    def __init__(self, task: Task, parameters: Parameters, learning_rate: float) -> None:
        self._task, self._parameters = task, parameters
        self._optimiser = optimiser(task.model.parameters(), parameters, learning_rate)

    def step(self, batch: Batch, edges: Edges) -> Tensor:
        """Sum the gradients of the pieces, then update once."""
        losses = []
        for piece, share in pieces(batch, self._parameters.accumulate):
            edges.enter(FORWARD)
            with precision(self._parameters, self._task.model):
                loss = self._task.loss(self._task.model, piece)
            loss = loss if share == 1.0 else loss * share
            edges.enter(BACKWARD)
            loss.backward()
            losses.append(loss.detach())
        edges.enter(UPDATE)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return sum(losses[1:], losses[0])
