"""Local learning whose heads look into the next block: MAN, the momentum auxiliary network, arXiv 2407.05623.

The head of a block starts with two layers side by side, whose outputs are summed: a frozen copy of the next block's
first layer, which follows that layer as an exponential moving average, and a copy that learns (the paper's learnable
bias). Behind them comes a plain classifier, or, with an auxiliary depth, AugLocal's auxiliary network. Parameters are
averaged, buffers are not. As in the authors' code the average moves before the layer does: towards the weights with
which the step was computed. Unlike there, both copies start as the layer, as the paper says; the code draws them anew.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ipw.workloads.training.methods.auxiliary import sampled_layers
from ipw.workloads.training.methods.local import Local, hidden_of


class MomentumHead(nn.Module):
    """The average and its companion, then the rest of the head."""

    def __init__(self, followed: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.average, self.companion, self.rest = deepcopy(followed), deepcopy(followed), rest
        self.average.requires_grad_(requires_grad=False)

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Logits of what a block puts out; further arguments are those of the layers."""
        both = hidden_of(self.average(hidden, *args, **kwargs)) + hidden_of(self.companion(hidden, *args, **kwargs))
        logits: Tensor = self.rest(both, *args, **kwargs)
        return logits


class MomentumLocal(Local):
    """Local learning with momentum heads."""

    name = "momentum-local"

    def _head(self, end: int, depth: int) -> nn.Module:
        assert self._task.auxiliary is not None
        behind = sampled_layers(end + 1, len(self._task.layers), depth)
        return MomentumHead(self._task.layers[end + 1], self._task.auxiliary(end + 1, behind))

    def _before_update(self) -> None:
        for end, head in zip(self._ends, self.heads, strict=True):
            follow(head.average, self._task.layers[end + 1], self._parameters.ema_momentum)


@torch.no_grad()
def follow(average: nn.Module, layer: nn.Module, momentum: float) -> None:
    """Move every parameter of the average towards the layer's: μ times itself and 1 - μ times the other."""
    for mean, weight in zip(average.parameters(), layer.parameters(), strict=True):
        mean.mul_(momentum).add_(weight, alpha=1 - momentum)
