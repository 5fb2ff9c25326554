"""Heads of language models for local methods: layers like the model's, then a classifier over its vocabulary.

A classifier of its own for each head would hold more weights than the model: on Qwen3-0.6B 25 heads have 3.9 thousand
million. So by default all heads classify by the model's own unembedding, which gets no gradient from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from ipw.workloads.training.text_model import Head


class TiedHead(nn.Module):
    """Normalise, and classify by weights of the model, which learn nothing here."""

    def __init__(self, width: int, unembedding: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self._of_model = (unembedding,)  # in a tuple, so that its weights are not this module's too

    def forward(self, hidden: Tensor) -> Tensor:
        """`[samples, tokens, width]` to `[samples, tokens, vocabulary]`."""
        (unembedding,) = self._of_model
        weights = {name: weight.detach() for name, weight in unembedding.named_parameters()}
        logits: Tensor = functional_call(unembedding, weights, (self.norm(hidden),))
        return logits


def classifier(width: int, vocabulary: int, unembedding: nn.Module | None) -> nn.Module:
    """Make what ends a head: a fresh classifier, or one tied to the unembedding where that is given."""
    return Head(width, vocabulary) if unembedding is None else TiedHead(width, unembedding)


class LayeredHead(nn.Module):
    """Fresh layers like some of a transformers model's, then a classifier over its vocabulary."""

    def __init__(self, model: Any, like: Sequence[nn.Module], *, tied: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(deepcopy(layer) for layer in like)
        self.layers.apply(model._init_weights)  # noqa: SLF001 - how transformers names its initialisation
        unembedding = model.get_output_embeddings()
        vocabulary, width = unembedding.weight.shape
        self.head = classifier(width, vocabulary, unembedding if tied else None)

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Logits of a hidden state; further arguments are those of the layers."""
        for layer in self.layers:
            output = layer(hidden, *args, **kwargs)
            hidden = output[0] if isinstance(output, tuple) else output
        logits: Tensor = self.head(hidden)
        return logits
