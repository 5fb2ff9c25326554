"""How well one yes or no a segment predicts which experts its tokens use: SRP, from counts in overlapping segments.

Definitions: "Local routing consistency", arXiv 2505.16056, section 2. A segment router says for each segment of m
tokens and each expert that all of them use it, or that none does. The best router switches an expert on where the
segment uses it at least so many times, one threshold for all experts of a group; so a histogram of counts is all that
is needed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.compiled import compiled

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


class Segments(NamedTuple):
    """Histograms over all overlapping segments of m tokens that lie within one sequence, stride 1.

    In [..., m + 1] the last axis is how many tokens of a segment use an expert.
    """

    by_sequence: Ints
    """[sequences, m + 1] pairs of segment and expert. Sums of rows are histograms of groups."""
    by_expert: Ints
    """[E, m + 1] segments."""
    by_position: Ints
    """[positions, m + 1] pairs of sequence and expert, by where in its sequence a segment begins."""
    by_reach: Ints
    """[E + 1] pairs of a segment and a number of uses above 0, by how many experts reach it."""


class BestRouter(NamedTuple):
    """The best segment router of each group; NaN where a group is never used."""

    srp: Floats
    """F1 score of its predictions, the group's SRP."""
    size_ratio: Floats
    """Predicted over true activations: how many times the active experts it keeps on hand."""
    threshold: Ints
    """Uses in a segment from which on it predicts an expert."""


@compiled
def move(
    token: Ints, change: int, position: int, uses: Ints, since: Ints, experts_by_uses: Ints, by_expert: Ints
) -> None:
    """Let the segments from `position` on have one token more or less; note how long its experts' uses have stood."""
    for expert in token:
        if position > since[expert]:
            by_expert[expert, uses[expert]] += position - since[expert]
            since[expert] = position
        experts_by_uses[uses[expert]] -= 1
        uses[expert] += change
        experts_by_uses[uses[expert]] += 1


@compiled
def count_segments(experts: Ints, num_experts: int, length: int, bounds: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Count uses in all segments of `length` tokens of [tokens, k] experts; the four parts of `Segments`.

    A segment differs from the one before by one token at each end, so only the experts of those are looked at.
    """
    longest = (bounds[1:] - bounds[:-1]).max()
    by_sequence = np.zeros((len(bounds) - 1, length + 1), np.int64)
    by_expert = np.zeros((num_experts, length + 1), np.int64)
    by_position = np.zeros((max(longest - length + 1, 0), length + 1), np.int64)
    by_reach = np.zeros(num_experts + 1, np.int64)
    for s in range(len(bounds) - 1):
        start, end = bounds[s], bounds[s + 1]
        uses = np.zeros(num_experts, np.int64)
        since = np.zeros(num_experts, np.int64)
        experts_by_uses = np.zeros(length + 1, np.int64)
        experts_by_uses[0] = num_experts
        for last in range(start, end):
            position = last - start - length + 1
            if position > 0:
                move(experts[last - length], -1, position, uses, since, experts_by_uses, by_expert)
            move(experts[last], 1, position, uses, since, experts_by_uses, by_expert)
            if position >= 0:
                by_sequence[s] += experts_by_uses
                by_position[position] += experts_by_uses
                reach = 0
                for count in range(length, 0, -1):
                    reach += experts_by_uses[count]
                    by_reach[reach] += 1
        for expert in range(num_experts):
            by_expert[expert, uses[expert]] += max(end - start - length + 1 - since[expert], 0)
    return by_sequence, by_expert, by_position, by_reach


def best_router(histograms: npt.ArrayLike) -> BestRouter:
    """Score every threshold 0…m on histograms [..., m + 1] and take the best; the smallest of equals."""
    segments_by_uses = np.asarray(histograms)
    length = segments_by_uses.shape[-1] - 1
    uses = np.arange(length + 1)
    true_positives = _at_least(segments_by_uses * uses)
    predicted = _at_least(segments_by_uses) * length
    active = true_positives[..., :1]
    total = predicted + active
    f1 = np.divide(2 * true_positives, total, out=np.zeros(total.shape), where=total > 0)
    threshold = f1.argmax(axis=-1)
    best = threshold[..., None]
    used = active[..., 0] > 0
    ratio = np.take_along_axis(predicted, best, -1)[..., 0] / np.where(used, active[..., 0], 1)
    srp = np.take_along_axis(f1, best, -1)[..., 0]
    return BestRouter(np.where(used, srp, np.nan), np.where(used, ratio, np.nan), threshold)


def best_segment_hit_rates(by_reach: Ints) -> Floats:
    """Share of uses that the c most used experts of each segment cover, c = 1…E.

    The r-th most used expert of a segment is used as often as there are counts that at least r experts reach.
    """
    size = np.arange(1, len(by_reach))
    covered = np.minimum(size[:, None], np.arange(len(by_reach))) @ by_reach
    rates: Floats = covered / covered[-1]
    return rates


def _at_least(by_uses: Ints) -> Ints:
    """Sums over all uses from each on."""
    sums: Ints = np.cumsum(by_uses[..., ::-1], axis=-1)[..., ::-1]
    return sums
