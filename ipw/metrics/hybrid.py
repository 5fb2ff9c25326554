"""Local models with a cloud model behind them: what a router between them saves, and what its mistakes cost.

The paper's router (*Intelligence per Watt*, section 5) falls back to the cloud when it errs, so that quality never
drops. Routers also err the other way: they keep a question that no local model solves. Both rates are given here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.metrics.stats import Array


class Saving(NamedTuple):
    """Expected outcome of routing, against sending every question to the cloud. Parts, not per cent."""

    energy: float | None
    """`None` where a joule is unknown, or means something else on the two sides."""
    cost: float | None
    compute: float | None
    local: float
    """Part of the questions that are answered locally."""
    accuracy: float
    quality_lost: float
    """Accuracy of the perfect router less this one's."""


class Expense(NamedTuple):
    """What each answer took: `[local models, queries]` and `[queries]`; `None` where it cannot be told."""

    local: Array
    cloud: Array


def route(
    solved: npt.NDArray[np.bool_],
    cloud_score: Array,
    order: Array,
    *,
    energy: Expense | None,
    cost: Expense | None,
    compute: Expense | None,
    false_local: float = 0.0,
    false_cloud: float = 0.0,
) -> Saving:
    """Route every question to the cheapest local model that solves it, else to the cloud; err at the given rates.

    `solved` is `[local models, queries]`, `order` the price by which a local model is the cheapest, of the same shape.
    `false_cloud` is the part of locally solvable questions that go to the cloud all the same; `false_local` the part of
    the others that stay local, with the model that is cheapest for them, and are wrong. With `false_local` 0 and
    `false_cloud` 1 - a this is the paper's router of accuracy a, whose savings are a times the oracle's. Expected
    values, no draws. Raises ValueError for rates outside 0 to 1.
    """
    if not (0 <= false_local <= 1 and 0 <= false_cloud <= 1):
        raise ValueError("rates of a router lie between 0 and 1")
    solvable = solved.any(axis=0)
    stays = np.where(solvable, 1 - false_cloud, false_local)
    chosen = np.where(solvable, np.where(solved, order, np.inf).argmin(axis=0), order.argmin(axis=0))
    right = np.where(solvable, stays + (1 - stays) * cloud_score, (1 - stays) * cloud_score)
    best = np.where(solvable, 1.0, cloud_score)
    return Saving(
        _saved(energy, stays, chosen),
        _saved(cost, stays, chosen),
        _saved(compute, stays, chosen),
        float(stays.mean()),
        float(right.mean()),
        float(best.mean() - right.mean()),
    )


def _saved(expense: Expense | None, stays: Array, chosen: npt.NDArray[np.int64]) -> float | None:
    if expense is None or not (np.isfinite(expense.local).all() and np.isfinite(expense.cloud).all()):
        return None
    everything = float(expense.cloud.sum())
    if everything <= 0:
        return None
    local = expense.local[chosen, np.arange(chosen.size)]
    return 1 - float((stays * local + (1 - stays) * expense.cloud).sum()) / everything
