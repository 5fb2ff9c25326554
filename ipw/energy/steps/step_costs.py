"""What a step, a token and a token read as context cost: from all ticks of a counter together.

A tick's energy above idle is a sum of costs over what was done in it, beside two errors: steps depart from what they
cost as a rule, each on its own, and the ends of ticks are timed with an error that neighbours share with opposite
signs. Both are a Gaussian chain (`ipw.energy.chain`), whose innovations are regressed on those of what was done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.chain import Steps as Chain
from ipw.energy.chain import filtered, innovations
from ipw.energy.curve import Curve, knot_variance
from ipw.energy.regression import nonnegative
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import CONTEXT, COSTS, PROMPT, STEP, TOKEN, Work

ALIKE = 0.3
"""A token before the first result costs about as much as one after it, to so large a fraction, before ticks tell."""
ASKED_FOR = 10.0
"""Context has a cost where it lowers what twice the log-likelihood leaves open by so much."""
SCATTERS = np.array([0.0003, 0.001, 0.003, 0.006, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.15, 0.25, 0.4])
TIMINGS = np.array([0.02, 0.06, 0.15, 0.3, 0.6, 1.0])
"""What is tried: how much a step departs from its costs, and the variance of the ends of ticks, of what it may be."""
LOOKED_AT = 4000
"""Ticks by which these are chosen."""
ROUNDS, REWEIGHTED = 3, 8
OUTLIER = 3.0
HEAVY = 4.0
"""Degrees of freedom of Student's t distribution: some ticks are mistimed by far."""
UNKNOWN_J2 = 1e12


@dataclass(frozen=True, slots=True)
class Costs:
    """Joules above idle of each of `COSTS`, and their covariance."""

    joules: Floats
    cov: Floats
    scatter: float
    """Standard deviation of what a step draws beside these, as a fraction of them."""
    timing: float
    """Variance of the ends of ticks, as a fraction of what it may be at most."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """What was drawn and done in each tick of a curve."""

    seconds: Floats
    above_j: Floats
    """Above the floor; 0 where it is not known."""
    usable: Bools
    done: Floats
    """`[4, ticks]`: in units of the costs."""
    idle_var: Floats
    """J²: of what the time without steps draws."""
    knot_var: Floats
    """`[ticks + 1]`: J², as much as it may be."""

    @property
    def least(self) -> float:
        """J²: nothing is known better."""
        return (1e-7 * float(np.abs(self.above_j).mean())) ** 2 + 1e-24

    def chain(self, own_var: Floats, timing: float) -> Chain:
        """Departures of the energy from the costs, seen at the ends of ticks."""
        still = np.full(self.seconds.size, 1e-12)
        drift = np.where(self.usable, own_var + self.idle_var + self.least, UNKNOWN_J2)
        return Chain(self.seconds, 0 * still, still, drift, timing * self.knot_var + self.least)

    def own_var(self, joules: Floats, scatter: float) -> Floats:
        """J²: of what the steps of each tick depart by together, alike as they are."""
        variance: Floats = (scatter * (joules @ self.done)) ** 2 / np.maximum(self.done[STEP], 1.0)
        return variance


def ticks_of(curve: Curve, steps: Steps, work: Work, floor_j: Floats, usable: Bools, idle_sd_w: float) -> Ticks:
    """Sum up what was done in each tick; `floor_j` `[ticks]` is what an idle machine would have drawn."""
    seconds = np.diff(curve.t_ns) / 1e9
    rows = in_ticks(steps, np.vstack([work.step, (steps.end_ns - steps.start_ns) / 1e9]), curve.t_ns)
    idle_s = np.maximum(seconds - rows[-1], 0.0)
    above_j = np.where(usable, np.diff(curve.energy_j) - floor_j, 0.0)
    return Ticks(seconds, above_j, usable, rows[:-1], (idle_sd_w * idle_s) ** 2, knot_variance(curve))


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


def costs_of(ticks: Ticks) -> Costs:
    """Costs, none negative, with outliers weighing less, and tokens before and after the first result much alike."""
    plain, plain_misfit = _fitted(ticks, [STEP, TOKEN, PROMPT])
    full, full_misfit = _fitted(ticks, [STEP, TOKEN, PROMPT, CONTEXT], plain)
    return full if plain_misfit - full_misfit > ASKED_FOR and full.joules[CONTEXT] > 0 else plain


def _fitted(ticks: Ticks, columns: list[int], start: Costs | None = None) -> tuple[Costs, float]:
    """Costs of these `columns` alone, and twice the negative logarithm of their likelihood, but for a constant."""
    found = start or _first_guess(ticks, columns)
    misfit = 0.0
    for _ in range(ROUNDS):
        scatter, timing = _errors(ticks, found.joules)
        found, misfit = _regressed(ticks, columns, ticks.own_var(found.joules, scatter), scatter, timing, found.joules)
    return found, misfit


def _first_guess(ticks: Ticks, columns: list[int]) -> Costs:
    """Least squares in which all ticks are alike."""
    use = ticks.usable & (ticks.done[STEP] > 0)
    a, b = ticks.done[columns][:, use].T, ticks.above_j[use]
    rough = nonnegative(a, b, np.ones(len(columns), bool))
    rows = _prior(columns, rough, a)
    joules = np.zeros(len(COSTS))
    joules[columns] = nonnegative(np.vstack([a, rows * float(np.std(b))]), np.append(b, 0.0 * rows[:, 0]), rough > -1)
    return Costs(joules, np.zeros((len(COSTS), len(COSTS))), 0.1, 1.0)


def _errors(ticks: Ticks, joules: Floats) -> tuple[float, float]:
    """By how much steps depart from their costs, and ends of ticks are mistimed: what is most likely."""
    rest = np.where(ticks.usable, ticks.above_j - joules @ ticks.done, 0.0)
    busy = np.flatnonzero(ticks.usable & (ticks.done[STEP] > 0.5))
    first = int(busy[max(0, busy.size // 2 - LOOKED_AT // 2)])
    part = slice(first, min(int(busy[-1]) + 1, first + LOOKED_AT))
    some = Ticks(
        ticks.seconds[part],
        ticks.above_j[part],
        ticks.usable[part],
        ticks.done[:, part],
        ticks.idle_var[part],
        ticks.knot_var[part.start : part.stop + 1],
    )
    observed = np.concatenate([[0.0], np.cumsum(rest[part])])[None]
    misfits = []
    for timing in TIMINGS.tolist():
        chains = [some.chain(some.own_var(joules, scatter), timing) for scatter in SCATTERS.tolist()]
        together = Chain(*(np.stack([getattr(c, name) for c in chains]) for name in Chain.__slots__))
        surprise, log_scale = innovations(together, observed)
        tails = (HEAVY + 1) * np.log1p(surprise[0][:, some.usable] ** 2 / HEAVY)
        misfits.append(2 * log_scale + tails.sum(1))
    timing_at, scatter_at = np.unravel_index(np.argmin(misfits), (TIMINGS.size, SCATTERS.size))
    return float(SCATTERS[scatter_at]), float(TIMINGS[timing_at])


def _regressed(
    ticks: Ticks, columns: list[int], own_var: Floats, scatter: float, timing: float, before: Floats
) -> tuple[Costs, float]:
    """Costs, given how large the errors are."""
    chain = ticks.chain(own_var, timing)
    series = np.vstack([ticks.above_j, ticks.done[columns]]) * ticks.usable
    running = np.concatenate([np.zeros((len(series), 1)), np.cumsum(series, axis=1)], axis=1)
    white = filtered(chain, running).innovations[:, 1:][:, ticks.usable]
    a, b = white[1:].T, white[0]
    prior = _prior(columns, before[columns], ticks.done[columns].T)
    held, weight, x = np.ones(len(columns), bool), np.ones(b.size), before[columns]
    for _ in range(REWEIGHTED):
        root = np.sqrt(weight)
        x = nonnegative(np.vstack([a * root[:, None], prior]), np.append(b * root, np.zeros(len(prior))), held)
        residual = np.abs(b - a @ x)
        was, weight = weight, np.minimum(1.0, OUTLIER / np.maximum(residual, 1e-300))
        if np.abs(was - weight).max(initial=0.0) < 1e-3:
            break
    rows = np.vstack([a * np.sqrt(weight)[:, None], prior])
    joules, cov = np.zeros(len(COSTS)), np.zeros((len(COSTS), len(COSTS)))
    joules[columns] = x
    cov[np.ix_(columns, columns)] = np.linalg.pinv(rows.T @ rows)
    log_scale = float(np.log(own_var[ticks.usable] + ticks.least).sum())
    return Costs(joules, cov, scatter, timing), float((weight * residual**2).sum()) + log_scale


def _prior(columns: list[int], x: Floats, a: Floats) -> Floats:
    """Row by which tokens of both kinds cost about the same."""
    row = np.zeros((1, len(columns)))
    token, prompt = columns.index(TOKEN), columns.index(PROMPT)
    both = a[:, [token, prompt]].sum(0)
    usual = float((x[[token, prompt]] * both).sum() / both.sum()) if both.sum() else 0.0
    if usual > 0:
        row[0, token], row[0, prompt] = 1 / (ALIKE * usual), -1 / (ALIKE * usual)
    return row
