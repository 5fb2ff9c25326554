"""Which masked positions a step commits: pure rules over confidences.

Positions are ordered by confidence, the surest first, and among equals from left to right. Every rule commits at least
the first of them, so that every step is progress.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def select(
    logits: npt.ArrayLike, masked: npt.ArrayLike, *, threshold: float, relaxed: float | None = None, radius: int = 0
) -> tuple[Ints, Ints]:
    """Choose what one step commits, from `logits` [positions, vocabulary] where `masked` [positions] holds.

    Without `relaxed` this is the rule of Fast-dLLM (commit all of at least `threshold`), with it that of LocalLeap
    (`relaxed` counts within `radius` of a position that reaches `threshold`). Returns positions, ascending, and the
    token of each.
    """
    scores = np.asarray(logits, np.float64)
    where = np.flatnonzero(np.asarray(masked, bool))
    tokens = scores[where].argmax(1)
    confidence = softmax(scores[where])[np.arange(where.size), tokens]
    chosen = sure(where, confidence, threshold, threshold if relaxed is None else relaxed, radius)
    return where[chosen], tokens[chosen]


def softmax(scores: Floats) -> Floats:
    """Probabilities of each row of [rows, vocabulary]."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float64)


def by_confidence(confidence: Floats) -> Ints:
    """Order of the surest first; equals stay from left to right."""
    return np.argsort(-confidence, kind="stable")


def surest(confidence: Floats, count: int) -> Ints:
    """Indices of the `count` surest, ascending."""
    return np.sort(by_confidence(confidence)[:count])


def sure(positions: Ints, confidence: Floats, threshold: float, relaxed: float, radius: int) -> Ints:
    """Indices of the positions to commit, ascending.

    A position needs `threshold`, or `relaxed` within `radius` of one that has `threshold` in this very step.
    """
    limit = np.full(positions.size, threshold)
    anchors = positions[confidence >= threshold]
    if anchors.size and relaxed < threshold:
        distance = np.abs(positions[:, None] - anchors[None, :]).min(1)
        limit[distance <= radius] = relaxed
    chosen = confidence >= limit
    if positions.size:
        chosen[by_confidence(confidence)[0]] = True
    return np.flatnonzero(chosen)


def even_counts(masks: int, steps: int) -> list[int]:
    """How many positions each of `steps` commits of `masks`: LLaDA's even schedule, the larger steps first."""
    return [masks // steps + (step < masks % steps) for step in range(steps)]


def dream_counts(masks: int, steps: int) -> list[int]:
    """How many positions each step commits by Dream's schedule, in single precision as Dream computes it.

    With as many steps as masks the first commits nothing and the last two: a forward pass is spent for nothing.
    """
    times = _linspace(steps + 1)
    left, counts = masks, []
    for step in range(steps):
        share = np.float32(1) - times[step + 1] / times[step]
        count = int(np.float32(left) * share) if step < steps - 1 else left
        counts.append(count)
        left -= count
    return counts


def _linspace(points: int) -> Any:
    """From 1 to 0.001 in single precision: the upper half is counted from the end, as torch does."""
    step = (np.float32(1e-3) - np.float32(1)) / np.float32(points - 1)
    number = np.arange(points, dtype=np.float32)
    return np.where(
        number < points // 2, np.float32(1) + step * number, np.float32(1e-3) - step * (points - 1 - number)
    )
