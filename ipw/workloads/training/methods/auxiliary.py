"""Where local methods cut a model, and which layers their auxiliary networks are made after.

AugLocal, arXiv 2402.17318, section 3. Where the paper leaves a choice, this is that of its authors' code: halves are
rounded to the even number, and the last block is as deep as the other blocks are with their auxiliary networks.
"""

from __future__ import annotations

PYRAMID = 0.5
"""How much shallower the last auxiliary network is than the first (the paper's c)."""


def cuts(layers: int, depth: int) -> list[int]:
    """Index of the last layer of each block: every layer is a block, but the last `depth` + 1 layers make one together.

    At least two blocks, so that a deep auxiliary network on a shallow model does not make it backpropagation.
    """
    blocks = min(max(layers - depth, 2), layers)
    return [*range(blocks - 1), layers - 1]


def block_ends(layers: int, blocks: int) -> list[int]:
    """Index of the last layer of each block, for blocks of one size as far as that is possible."""
    return [layers * (k + 1) // blocks - 1 for k in range(blocks)]


def pyramid_depth(block: int, blocks: int, depth: int) -> int:
    """Depth of the auxiliary network of a block but the last: from `depth` at the first down towards half of it."""
    share = PYRAMID * block / (blocks - 2) if blocks > 2 else 0.0
    return max(1, round(depth * (1 - share) + share)) if depth else 0


def sampled_layers(after: int, layers: int, depth: int) -> list[int]:
    """Choose `depth` of the layers behind layer `after`, evenly, always with the last; all where there are no more."""
    remaining = layers - 1 - after
    if depth >= remaining:
        return list(range(after + 1, layers))
    return [round(after + remaining / depth * j) for j in range(1, depth + 1)]
