"""One metric over many stored runs: where the next run should lie, and where the level stepped."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ipw.gate.verdict import GateError, Numbers
from ipw.metrics.distributions import t_quantile
from ipw.metrics.stats import Array

LEAST_HISTORY = 4
"""Runs before the last one, for the last one to be judged by them."""
LEAST_SIDE = 3
"""Runs on either side of a step."""
PERMUTATIONS = 1999
SEED = 11


class Prediction(NamedTuple):
    """Where one further run lies with probability 1 - alpha if nothing changed."""

    expected: float
    low: float
    high: float


class Step(NamedTuple):
    """A change of level."""

    at: int
    """The first run of the new level."""
    before: float
    after: float
    p: float
    """Of as clear a step somewhere if the order of the runs told nothing."""

    @property
    def change(self) -> float:
        """As a fraction of the level before."""
        return self.after / self.before - 1


def predict(history: Numbers, alpha: float = 0.05) -> Prediction | None:
    """Predict the next of positive values, from the spread between runs: Student's t on their logs.

    `None` for fewer than `LEAST_HISTORY` values. Raises GateError for values that are not positive numbers.
    """
    logs = _logs(history)
    n = len(logs)
    if n < LEAST_HISTORY:
        return None
    half = t_quantile(alpha / 2, n - 1) * float(logs.std(ddof=1)) * math.sqrt(1 + 1 / n)
    mean = float(logs.mean())
    return Prediction(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def steps(values: Numbers, alpha: float = 0.01) -> list[Step]:
    """Find where the level of positive values, in order of time, stepped.

    The clearest split is the one with the largest difference of mean ranks over all places (a scan of Wilcoxon's
    statistic, which single outliers cannot move far); it stands if a random order shows as clear a one with a
    probability below `alpha`, and then either side is searched in turn (binary segmentation). Levels are medians.
    Raises GateError for values that are not positive numbers.
    """
    logs = _logs(values)
    cuts = sorted(_cuts(logs, 0, alpha))
    bounds = [0, *(at for at, _ in cuts), len(logs)]
    levels = [math.exp(float(np.median(logs[a:b]))) for a, b in pairwise(bounds) if b > a]
    return [Step(at, levels[i], levels[i + 1], p) for i, (at, p) in enumerate(cuts)]


def _cuts(logs: Array, offset: int, alpha: float) -> list[tuple[int, float]]:
    n = len(logs)
    if n < 2 * LEAST_SIDE or float(np.ptp(logs)) == 0:
        return []
    ranks = _ranks(logs)
    rng = np.random.default_rng(SEED)
    found = _scan(ranks[np.newaxis, :])[0]
    shuffled = rng.permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1)
    p = (1 + int((_scan(shuffled).max(axis=1) >= found.max() - 1e-9).sum())) / (1 + PERMUTATIONS)
    if p >= alpha:
        return []
    at = LEAST_SIDE + int(np.argmax(found))
    return [*_cuts(logs[:at], offset, alpha), (offset + at, p), *_cuts(logs[at:], offset + at, alpha)]


def _scan(ranks: Array) -> Array:
    """Standardised rank sums (rows, places) of the first so many values, for every place that leaves both sides."""
    n = ranks.shape[1]
    sizes = np.arange(LEAST_SIDE, n - LEAST_SIDE + 1)
    sums = np.cumsum(ranks, axis=1)[:, sizes - 1] - sizes * (n + 1) / 2
    return np.asarray(np.abs(sums) / np.sqrt(sizes * (n - sizes)))


def _ranks(values: Array) -> Array:
    """Ranks from 1, ties sharing their mean."""
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[code], np.float64)


def _logs(values: Numbers) -> Array:
    known = np.asarray(values, np.float64)
    if known.ndim != 1 or not (np.isfinite(known) & (known > 0)).all():
        raise GateError("a trend needs positive numbers", "was the metric 0 or absent in a run?")
    return np.log(known)
