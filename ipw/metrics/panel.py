"""Several models over the same questions: who solves what, how hard each question is, what changed from year to year.

Arrays are `[runs, queries]`; a score of 1 is right, 0 wrong. The definitions are those of *Intelligence per Watt*,
section 2 and appendix B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from ipw.metrics.stats import Array, Interval, wilson
from ipw.runs.queries import Queries

RIGHT = 0.5
"""A score from which on a question counts as solved."""


class Aligned(NamedTuple):
    """What several runs did with the questions that all of them were asked, in single precision: it may be a lot."""

    query_ids: list[str]
    scores: Array
    energy_j: Array
    """NaN where unknown."""
    prompt_tokens: Array
    completion_tokens: Array
    left_out: int
    """Questions that not every run was asked."""

    @property
    def solved(self) -> npt.NDArray[np.bool_]:
        """`[runs, queries]`."""
        return np.asarray(self.scores >= RIGHT)


class SolvedShare(NamedTuple):
    """A part of the questions, with its 95 % interval (Wilson)."""

    value: float
    interval: Interval
    questions: int


class Duel(NamedTuple):
    """One run against another, question by question."""

    wins: SolvedShare
    ties: SolvedShare
    """Equal scores."""
    both_right: SolvedShare
    """Ties on questions that both solve …"""
    both_wrong: SolvedShare
    """… and on those that neither solves."""
    losses: SolvedShare

    @property
    def win_tie(self) -> float:
        """Part of the questions on which the first is at least as good: the paper's win or tie.

        It counts wrong against wrong, so that two models of accuracy 0.5 may well have 0.75.
        """
        return self.wins.value + self.ties.value


class Gain(NamedTuple):
    """From an earlier configuration to a later one; `total` is the product of the others, exactly."""

    total: float
    model: float
    """Ratio of accuracies."""
    hardware: float
    """Ratio of power (per watt) or of energy (per joule), earlier over later."""


def align(runs: Sequence[Queries]) -> Aligned:
    """Put runs side by side, question by question; one asked several times in a run counts with its means."""
    ids = [queries.texts["query_id"] for queries in runs]
    different = [each for i, each in enumerate(ids) if i == 0 or not np.array_equal(each, ids[0])]
    every: set[str] = set()
    kept: set[str] | None = None
    for each in different:
        names = set(each.tolist())
        every |= names
        kept = names if kept is None else kept & names
    shared = sorted(kept or ())
    place = {key: i for i, key in enumerate(shared)}
    columns = np.empty((4, len(runs), len(shared)), np.float32)
    for row, queries in enumerate(runs):
        columns[:, row] = _means(queries, place)
    scores, energy_j, prompt, completion = cast("Array", columns)  # single on purpose
    return Aligned(shared, scores, energy_j, prompt, completion, len(every) - len(shared))


def share(mask: npt.NDArray[np.bool_]) -> SolvedShare:
    """Count a `[queries]` mask."""
    count, n = int(mask.sum()), mask.size
    return SolvedShare(count / n if n else 0.0, wilson(count, n), count)


def coverage(solved: npt.NDArray[np.bool_]) -> tuple[list[SolvedShare], SolvedShare, list[int]]:
    """Part of the questions that each run solves, that any of them solves, and how many each alone solves.

    The union over many runs is an oracle's: it grows with their number even if they guess.
    """
    alone = solved & (solved.sum(axis=0) == 1)
    return [share(row) for row in solved], share(np.asarray(solved.any(axis=0))), alone.sum(axis=1).tolist()


def duel(scores: Array, reference: Array) -> Duel:
    """Compare the scores of two runs, `[queries]` each."""
    same, right = scores == reference, scores >= RIGHT
    masks = (scores > reference, same, same & right, same & ~right, scores < reference)
    return Duel._make(map(share, masks))


def difficulty(solved: npt.NDArray[np.bool_], sizes: Sequence[float]) -> npt.NDArray[np.int64]:
    """Number of the smallest model, by `sizes`, that solves each question; as many as there are models where none does.

    Models of one size make one level together.
    """
    levels = np.searchsorted(np.unique(sizes), sizes)
    most = int(levels.max()) + 1
    found: npt.NDArray[np.int64] = np.where(solved, levels[:, np.newaxis], most).min(axis=0)
    return found


def gain(earlier: tuple[float, float], later: tuple[float, float]) -> Gain | None:
    """Split the gain in accuracy per watt (or per joule) between two configurations into model and hardware.

    Each is `(accuracy, mean power or mean energy)`; `None` where one of the four is not above zero.
    """
    if min(*earlier, *later) <= 0 or not all(map(math.isfinite, (*earlier, *later))):
        return None
    model, hardware = later[0] / earlier[0], earlier[1] / later[1]
    return Gain(model * hardware, model, hardware)


def _means(queries: Queries, place: dict[str, int]) -> Array:
    """`[4, questions]`: score, energy and tokens of each question, at its place."""
    ids = queries.texts["query_id"].tolist()
    at = np.array([place.get(key, -1) for key in ids], np.int64)
    known = at >= 0
    times = np.bincount(at[known], minlength=len(place))
    names = ("score", "energy_j", "prompt_tokens", "completion_tokens")
    sums = [np.bincount(at[known], queries.numbers[name][known], minlength=len(place)) for name in names]
    return np.stack(sums) / np.maximum(times, 1)
