"""What is trained: a model, an endless stream of batches, and a loss, with as much of its structure as is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

Batch = Any
"""A tensor, or tensors in a tuple, list or dict, whose first dimension counts samples."""


@dataclass(slots=True)
class Task:
    """All that a method may use. The weights and the order of batches follow from the seed alone."""

    model: nn.Module
    batches: Iterator[Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    """Mean loss of a batch; calls the model."""
    evaluation: Sequence[Batch] = ()
    """Held-out batches."""
    name: str = ""
    layers: Sequence[nn.Module] = ()
    """Of the model, in the order in which each is called, once, with the hidden state as its first argument. Empty
    where they are not known."""
    criterion: Callable[[Tensor, Batch], Tensor] | None = None
    """Loss of logits, for the heads of local methods."""
    auxiliary: Callable[[int, Sequence[int]], nn.Module] | None = None
    """`(after, sampled)`: a fresh network with the architecture of the sampled layers, if any, and a classifier, which
    makes logits of the output of the layer `after`; called with that layer's further arguments too."""
    tokens: Callable[[Batch], int] | None = None
    """Tokens that a batch trains on; `None` where the data are no text."""
    facts: dict[str, Any] = field(default_factory=dict)
    """For the manifest."""


def tensors(batch: Batch) -> Iterator[Tensor]:
    """Every tensor of a batch."""
    import torch

    if torch.is_tensor(batch):
        yield batch
    elif isinstance(batch, dict):
        for value in batch.values():
            yield from tensors(value)
    elif isinstance(batch, tuple | list):
        for value in batch:
            yield from tensors(value)


def mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Change every tensor of a batch."""
    import torch

    if torch.is_tensor(batch):
        return change(batch)
    if isinstance(batch, dict):
        return {name: mapped(value, change) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(mapped(value, change) for value in batch))
    return type(batch)(mapped(value, change) for value in batch) if isinstance(batch, tuple | list) else batch


def sample_count(batch: Batch) -> int:
    """How many samples a batch holds."""
    first = next(tensors(batch), None)
    return 0 if first is None or not first.ndim else int(first.shape[0])


def pieces(batch: Batch, count: int) -> Iterator[tuple[Batch, float]]:
    """Cut a batch into `count` pieces of about one size, each with its share of the samples; fewer where it has fewer.

    The losses of the pieces, weighted by these shares, sum to the loss of the batch.
    """
    samples = sample_count(batch)
    count = min(count, samples)
    if count <= 1:
        yield batch, 1.0
        return
    for k in range(count):
        first, last = samples * k // count, samples * (k + 1) // count
        yield mapped(batch, itemgetter(slice(first, last))), (last - first) / samples
