"""What a step, a token and a token read as context cost: from all ticks of a counter together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.regression import nonnegative
from ipw.energy.steps import Steps
from ipw.energy.work import CONTEXT, COSTS, PROMPT, STEP, TOKEN

ALIKE = 0.3
"""A token before the first result costs about as much as one after it, to so large a fraction, before ticks tell."""
ASKED_FOR = 10.0
"""Context has a cost where it lowers what twice the log-likelihood leaves open by so much."""
ROUNDS = 10
OUTLIER = 3.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Joules above idle of each of `COSTS`, and their covariance."""

    joules: Floats
    cov: Floats
    scatter: float
    """Standard deviation of what a step draws beside these, as a fraction of them."""


def in_ticks(steps: Steps, values: Floats, knots_ns: Ints) -> Floats:
    """Sums over ticks of what steps have, each spread evenly over its time: `[…, steps]` to `[…, ticks]`."""
    edges = np.stack([steps.start_ns, steps.end_ns], 1).ravel()
    at = np.maximum.accumulate(edges).astype(np.float64)
    found = []
    for row in np.atleast_2d(values):
        running = np.zeros(edges.size)
        running[1::2] = np.cumsum(row)
        running[2::2] = running[1:-1:2]
        found.append(np.diff(np.interp(knots_ns, at, running)))
    return np.array(found)


def costs_of(ticks: Floats, energy_j: Floats, timing_var: Floats, use: Bools) -> Costs:
    """Costs, none negative, with outliers weighing less. `ticks` `[4, ticks]` is what was done in each.

    With a prior that tokens before and after the first result cost about the same.
    """
    use = use & (ticks[STEP] > 0)
    plain = _fitted(ticks, energy_j, timing_var, use, [STEP, TOKEN, PROMPT])
    full = _fitted(ticks, energy_j, timing_var, use, [STEP, TOKEN, PROMPT, CONTEXT])
    better = plain[1] - full[1] > ASKED_FOR and full[0].joules[CONTEXT] > 0
    return full[0] if better else plain[0]


def _fitted(ticks: Floats, energy_j: Floats, timing_var: Floats, use: Bools, columns: list[int]) -> tuple[Costs, float]:
    a, b = ticks[columns][:, use].T, energy_j[use]
    held = np.ones(len(columns), bool)
    spread = np.full(b.size, max(float(b.mean()), 1e-9))
    number = np.maximum(ticks[STEP, use], 1.0)
    weight = np.ones(b.size)
    x = np.zeros(len(columns))
    for _ in range(ROUNDS):
        scale = np.sqrt(weight) / spread
        ridge = _prior(columns, x, a)
        x = nonnegative(np.vstack([a * scale[:, None], ridge]), np.concatenate([b * scale, np.zeros(len(ridge))]), held)
        residual = b - a @ x
        usual = np.maximum(a @ x, 1e-12) / np.sqrt(number)
        scatter = _scatter(residual, usual, timing_var[use])
        spread = np.sqrt((scatter * usual) ** 2 + timing_var[use])
        weight = np.minimum(1.0, OUTLIER * spread / np.maximum(np.abs(residual), 1e-300))
    scale = np.sqrt(weight) / spread
    rows = np.vstack([a * scale[:, None], _prior(columns, x, a)])
    joules, cov = np.zeros(len(COSTS)), np.zeros((len(COSTS), len(COSTS)))
    joules[columns] = x
    cov[np.ix_(columns, columns)] = np.linalg.pinv(rows.T @ rows)
    misfit = float((weight * (residual / spread) ** 2).sum() + 2 * np.log(spread).sum())
    return Costs(joules, cov, scatter), misfit


def _prior(columns: list[int], x: Floats, a: Floats) -> Floats:
    """Row by which tokens of both kinds cost about the same."""
    row = np.zeros((1, len(columns)))
    token, prompt = columns.index(TOKEN), columns.index(PROMPT)
    both = a[:, [token, prompt]].sum(0)
    usual = float((x[[token, prompt]] * both).sum() / both.sum()) if both.sum() else 0.0
    if usual > 0:
        row[0, token], row[0, prompt] = 1 / (ALIKE * usual), -1 / (ALIKE * usual)
    return row


def _scatter(residual: Floats, usual: Floats, timing_var: Floats) -> float:
    """By which fraction steps depart from what was done in them, beside the timing of ticks.

    `usual` is what steps of a tick cost, over the root of their number.
    """
    middle = float(np.median(np.abs(residual) / usual)) * 1.4826
    beyond = np.minimum((residual / usual) ** 2, (3 * middle) ** 2) - timing_var / usual**2
    return max(float(np.sqrt(max(float(np.mean(beyond)), 0.0))), 1e-4)
