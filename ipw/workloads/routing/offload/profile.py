"""What pins and guesses are made from: the routing of other texts than those that are decoded under them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.routing.measures.curves import best_pins
from ipw.workloads.routing.measures.prediction import chances, count_pairs
from ipw.workloads.routing.trace import read_parts

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


class Profile(NamedTuple):
    """Counts of the experts of each layer."""

    uses: Ints
    """[L, E]"""
    after_layer: Floats
    """[L, E, E] shares by what the layer before used; the first layer's is the last one, a token earlier."""
    after_token: Floats
    """[L, E, E] by what the token before used in the same layer."""

    def pins(self, size: int) -> list[list[int]]:
        """The most used experts of each layer."""
        return best_pins(self.uses, size)

    def guesses(self, ahead: str) -> list[Floats]:
        """Shares for each layer, by `layer` or `token`."""
        return list(self.after_layer if ahead == "layer" else self.after_token)


def profile_of(experts: Ints, num_experts: int) -> Profile:
    """Count [tokens, L, k] ids of one or more texts in a row."""
    layers = experts.shape[1]
    uses = np.stack([np.bincount(experts[:, layer].ravel(), minlength=num_experts) for layer in range(layers)])
    pairs = np.zeros((2, layers, num_experts, num_experts), np.int64)
    everywhere = np.zeros(len(experts), np.int64)
    for layer in range(layers):
        own = np.ascontiguousarray(experts[:, layer], np.int32)
        before = np.ascontiguousarray(experts[:, layer - 1], np.int32)
        late = before[:-1] if layer == 0 else before
        count_pairs(late, own[1:] if layer == 0 else own, everywhere, pairs[0, layer][None])
        count_pairs(own[:-1], own[1:], everywhere, pairs[1, layer][None])
    return Profile(uses, chances(pairs[0]), chances(pairs[1]))


def profile_behind(folder: Path, sequences: int) -> Profile:
    """Profile the routing in `folder` without its first `sequences`. Raises UsageError where nothing is left."""
    found, skipped = [], 0
    num_experts = 0
    for part in read_parts(folder):
        start = int(part.bounds[min(max(sequences - skipped, 0), part.sequences)])
        skipped += part.sequences
        found.append(part.experts[start:])
        num_experts = part.num_experts
    experts = np.concatenate(found)
    if not len(experts):
        raise UsageError(
            f"pins and guesses are chosen on other texts than the {sequences} that are decoded under them",
            f"read more than {sequences}: --limit",
        )
    return profile_of(experts, num_experts)
