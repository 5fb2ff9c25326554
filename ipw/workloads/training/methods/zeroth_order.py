"""Training without a backward pass: two losses and a seed, by one process or by peers that exchange bytes.

SPSA as in MeZO (arXiv 2305.17333): L₊ and L₋ are the losses at θ ± εz for a direction z that a seed makes, and
g = (L₊ - L₋) / 2ε is the slope along it. As in "Just One Byte" (arXiv 2306.10015) each machine looks along directions
of its own on data of its own, sends each g as one byte, and all take θ ← θ - η g z / √N for all N of them, with the g
that the byte stands for: so all stay the same bit for bit, and the bytes are the whole history of the weights. Losses
are those of evaluation, without dropout and with the running statistics of batch normalisation, which do not move.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ipw.workloads.training.edges import FORWARD, UPDATE, Edges
from ipw.workloads.training.methods.base import precision
from ipw.workloads.training.methods.byte_code import DIVERGED, clipped, decode, encode
from ipw.workloads.training.methods.noise import Perturbation, Seed, direction
from ipw.workloads.training.parameters import Parameters
from ipw.workloads.training.task import Batch, Task, pieces

EPSILON = 1e-3


class Exchange(Protocol):
    """How peers tell one another their bytes; `ipw.workloads.training.peers.Peers` is one."""

    rank: int
    """Place among the machines that are there; it may become lower from one step to the next."""

    def exchange(self, codes: bytes) -> bytes:
        """Give this machine's bytes of a step, and get those of all machines in the order of their ranks."""

    def open_door(self, log: Sequence[bytes]) -> None:
        """Let newcomers in before a step, who need the log of all steps so far."""


class Alone:
    """One machine."""

    rank = 0

    def exchange(self, codes: bytes) -> bytes:
        """Nobody else is there."""
        return codes

    def open_door(self, log: Sequence[bytes]) -> None:
        """Nobody comes."""


class ZerothOrder:
    """Steps that need no gradient; `log` holds the bytes of every step, which replay makes weights of.

    `notes` are for the record of the step: machines that took part, and slopes of this one that no byte can hold.
    """

    def __init__(self, task: Task, parameters: Parameters, learning_rate: float, peers: Exchange | None = None) -> None:
        self._task, self._parameters, self._learning_rate = task, parameters, learning_rate
        self._peers = peers or Alone()
        self.weights = [weight for weight in task.model.parameters() if weight.requires_grad]
        self._perturbation = Perturbation(task.model, self.weights)
        self.log: list[bytes] = []
        self.notes: dict[str, int] = {}

    @torch.no_grad()
    def step(self, batch: Batch, edges: Edges) -> Tensor:
        """Look along each direction on its part of the batch, tell the peers, and move along all directions."""
        self._peers.open_door(self.log)
        edges.enter(FORWARD)
        self._task.model.eval()
        parts = [part for part, _ in pieces(batch, self._parameters.directions)]
        if not self._perturbation.known:
            with self._perturbation.find_users():
                self._loss(parts[0])
        looks = [self._look(parts[k % len(parts)], k) for k in range(self._parameters.directions)]
        slopes = [rise / (2 * EPSILON) for rise in torch.stack([above - below for above, below in looks]).tolist()]
        edges.enter(UPDATE)
        loss = torch.stack([(above + below) / 2 for above, below in looks]).mean()
        known = [slope for slope in slopes if math.isfinite(slope)]
        codes = self._peers.exchange(bytes(encode(s) if math.isfinite(s) else DIVERGED for s in slopes))
        self.notes = {"machines": len(codes) // len(slopes), "clipped_slopes": sum(map(clipped, known))}
        if DIVERGED in codes:
            return torch.full_like(loss, math.nan)
        self.catch_up([codes])
        return loss

    def _look(self, part: Batch, number: int) -> tuple[Tensor, Tensor]:
        """Losses on both sides along one of this machine's directions."""
        place = self._peers.rank * self._parameters.directions + number
        seed, losses = Seed(self._parameters.seed, len(self.log), place), []
        for scale in (EPSILON, -EPSILON):
            with self._perturbation.applied(seed, scale):
                losses.append(self._loss(part))
        return losses[0], losses[1]

    def catch_up(self, log: Sequence[bytes]) -> None:
        """Take steps that are known already from their bytes."""
        for codes in log:
            apply(self.weights, codes, Seed(self._parameters.seed, len(self.log), 0), self._learning_rate)
            self.log.append(codes)

    def _loss(self, batch: Batch) -> Tensor:
        torch.manual_seed(len(self.log))  # what a model draws in spite of evaluation is the same on both sides
        with precision(self._parameters, self._task.model):
            parts = [self._task.loss(self._task.model, piece) * share
                     for piece, share in pieces(batch, self._parameters.accumulate)]  # fmt: skip
        return sum(parts[1:], parts[0]).float()


@torch.no_grad()
def apply(weights: Sequence[nn.Parameter], codes: bytes, seed: Seed, learning_rate: float) -> None:
    """Move the weights along every direction, in place: one step of `codes`, a byte for each."""
    rate = learning_rate / math.sqrt(len(codes))
    for number, weight in enumerate(weights):
        for place, code in enumerate(codes):
            slope = decode(code)
            if slope:
                weight.data.add_(direction(seed._replace(place=place), number, weight), alpha=-rate * slope)
