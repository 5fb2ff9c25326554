"""What a step, a token and a token read as context cost: from all ticks of a counter together.

A tick's energy above idle is a sum of costs over what was done in it, beside two errors: steps depart from what they
cost as a rule, each on its own, and the ends of ticks are timed with an error that neighbours share with opposite
signs. Both are a Gaussian chain (`ipw.energy.chain`), whose innovations are regressed on those of what was done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import MEDIAN_SD, Bools, Floats, Ints
from ipw.energy.chain import Steps as Chain
from ipw.energy.chain import filtered, innovations
from ipw.energy.curve import Curve, knot_variance
from ipw.energy.regression import nonnegative
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import CONTEXT, COSTS, PROMPT, STEP, TOKEN, Work

ALIKE = 0.3
"""A token before the first result costs about as much as one after it, to so large a fraction, before ticks tell."""
CONTEXT_ASKED_FOR = 25.0
"""Context has a cost where it lowers what twice the log-likelihood leaves open by so much, times how long steps depart
from their costs: in a queue that grows, context grows with all that goes on."""
SCATTERS = (0.0003, 0.001, 0.003, 0.006, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.15, 0.25, 0.4)
TIMINGS = (0.02, 0.06, 0.15, 0.3, 0.6, 1.0)
"""What is tried: how much a step departs from its costs, and the variance of the ends of ticks, of what it may be."""
PLACINGS = (1.0, 0.1, 0.0)
"""What is tried: of how vaguely work is placed, what ticks show."""
LOOKED_AT = 2000
"""Ticks by which these are chosen."""
ROUNDS, REWEIGHTED = 2, 12
"""So often errors and costs are found, each from the other; and costs by weights, at most."""
HEAVY = 4.0
"""Degrees of freedom of Student's t distribution: some ticks are mistimed by far."""
WIDER = (HEAVY + 1) / (HEAVY - 1)
"""Times the variance that is most likely, given what was seen: its mean."""
BY_CHANCE = 1.3
"""So much more may a sum vary by chance."""
ROWS, FEWEST_ROWS = (10, 20, 40), 10
"""Ticks whose sums are looked at, and how many such sums there must be."""
STEEP = 0.3
"""Of what each tick tells where none departs by far, at least so much is told."""
VAGUE = 2.0
"""The end of a tick that is bracketed so many times wider than usual was hardly seen."""
UNKNOWN_J2 = 1e12
"""Variance of the energy of a tick that tells nothing."""


class Errors(NamedTuple):
    """How large the errors are: as `Costs` has them."""

    scatter: float
    timing: float
    placing: float


@dataclass(frozen=True, slots=True)
class Costs:
    """Joules above idle of each of `COSTS`, and their covariance."""

    joules: Floats
    cov: Floats
    scatter: float
    """Standard deviation of what a step draws beside these, as a fraction of them."""
    timing: float
    """Variance of the ends of ticks, as a fraction of what it may be at most."""
    apart: Floats
    """`[ticks]`: times the variance of steps, how far those of each tick depart, as what the tick shows has it."""
    misfit: float
    """Twice the negative logarithm of the likelihood, but for a constant."""
    placing: float = 1.0
    """Of the variance that steps with work before first results may have beside others, the part that ticks show."""
    lasting: float = 1.0
    """How many times more the sum of ticks that follow one another varies than if each departed on its own."""

    @property
    def lawless(self) -> float:
        """How surely steps do not quite follow these costs, 0 to 1: by how long they depart from them alike."""
        return min(max(self.lasting - BY_CHANCE, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Ticks:
    """What was drawn and done in each tick of a curve."""

    seconds: Floats
    above_j: Floats
    """Above the floor; 0 where it is not known."""
    usable: Bools
    done: Floats
    """`[4, ticks]`: in units of the costs."""
    squares: Floats
    """`[3, 4, 4, ticks]`: sums over the steps in each tick of the products of what was done in them: as they are, times
    the variance of what a step draws that is held up, and times that of where work is placed, as much as it may be."""
    busy_s: Floats
    """Of each, how long there was a step."""
    idle_var: Floats
    """J²: of what the time without steps draws."""
    knot_var: Floats
    """`[ticks + 1]`: J², as much as it may be."""
    vague: Bools
    """`[ticks + 1]`: whether it was hardly seen when the tick ended, so that it may well be as much."""

    @property
    def least(self) -> float:
        """J²: nothing is known better."""
        return (1e-7 * float(np.abs(self.above_j).mean())) ** 2 + 1e-24

    def chain(self, own_var: Floats, timing: float | Floats) -> Chain:
        """Departures of the energy from the costs, seen at the ends of ticks; `own_var` `[…, ticks]`."""
        told = self.usable & (self.done[STEP] > 0)  # where no step was, what was drawn is no error of the knots beside
        least = self.least
        drift = np.where(told, own_var + (self.idle_var + least), UNKNOWN_J2)
        knot_var = np.where(self.vague, 1.0, timing) * self.knot_var + least
        seconds, still = np.broadcast_to(self.seconds, drift.shape), np.full(drift.shape, 1e-12)
        return Chain(seconds, np.zeros(drift.shape), still, drift, knot_var)

    def own_parts(self, joules: Floats) -> Floats:
        """`[3, ticks]`: J²; what `own_var` is a sum of."""
        parts: Floats = np.einsum("i,pijt,j->pt", joules, self.squares, joules)
        return parts


def own_var(parts: Floats, scatter: float, placing: float) -> Floats:
    """J²: of what the steps of each tick depart by together, each on its own."""
    variance: Floats = scatter**2 * parts[0] + parts[1] + placing * parts[2]
    return variance


def ticks_of(curve: Curve, steps: Steps, work: Work, floor_j: Floats, usable: Bools, idle_sd_w: float) -> Ticks:
    """Sum up what was done in each tick; `floor_j` `[ticks]` is what an idle machine would have drawn."""
    seconds = np.diff(curve.t_ns) / 1e9
    *rows, busy_s = in_ticks(steps, np.vstack([work.step, (steps.end_ns - steps.start_ns) / 1e9]), curve.t_ns)
    idle_s = np.maximum(seconds - busy_s, 0.0)
    above_j = np.where(usable, np.diff(curve.energy_j) - floor_j, 0.0)
    vague = curve.t_err_ns > VAGUE * np.median(curve.t_err_ns)
    idle_var = (idle_sd_w * idle_s) ** 2
    squares = _squares(curve, steps, work)
    return Ticks(seconds, above_j, usable, np.array(rows), squares, busy_s, idle_var, knot_variance(curve), vague)


def _squares(curve: Curve, steps: Steps, work: Work) -> Floats:
    """Sum up products of what was done in each step, over the steps of each tick."""
    n = len(COSTS)
    first, other = np.triu_indices(n)
    products = work.step[first] * work.step[other]
    found = np.zeros((3, n, n, curve.t_ns.size - 1))
    for part, variance in enumerate((None, held_up_var(work), placing_var(work))):
        if variance is None or variance.any():
            each = in_ticks(steps, products if variance is None else products * variance, curve.t_ns)
            found[part, first, other] = found[part, other, first] = each
    return found


def held_up_var(work: Work) -> Floats:
    """Per step, the variance as a fraction squared of what it draws, held up as it was.

    In that time it may draw anything between nothing more and as much as usual: a uniform distribution.
    """
    variance: Floats = (work.odd - 1) ** 2 / 12
    return variance


def placing_var(work: Work) -> Floats:
    """Per step, the variance as a fraction squared of what it draws, since work may be placed in other steps.

    Of steps with work before first results, how long they last for it tells how well that work is placed, at worst.
    """
    placing = work.step[PROMPT] > 0
    usual = MEDIAN_SD * float(np.median(np.abs(work.odd[placing] - 1))) if placing.any() else 0.0
    variance: Floats = np.where(placing, usual**2, 0.0)
    return variance


def in_ticks(steps: Steps, values: Floats, knots_ns: Ints) -> Floats:
    """Sums over ticks of what steps have, each spread evenly over its time: `[…, steps]` to `[…, ticks]`."""
    rows = np.atleast_2d(values)
    found = np.zeros((rows.shape[0], knots_ns.size - 1))
    for part in steps.of_each:
        edges = np.stack([steps.start_ns[part], steps.end_ns[part]], 1).ravel()
        at = np.maximum.accumulate(edges).astype(np.float64)
        if not at.size:
            continue
        running = np.cumsum(rows[:, part], axis=1)
        up_to = np.concatenate([np.zeros((rows.shape[0], 1)), running], axis=1)  # after each step
        behind = np.clip(np.searchsorted(at, knots_ns, "right"), 1, at.size - 1)
        way = np.clip((knots_ns - at[behind - 1]) / np.maximum(at[behind] - at[behind - 1], 1e-9), 0.0, 1.0)
        before, after = up_to[:, behind // 2], up_to[:, (behind + 1) // 2]
        found += np.diff(before + way * (after - before), axis=1)
    return found


def costs_of(ticks: Ticks) -> Costs:
    """Costs, none negative, with outliers weighing less, and tokens before and after the first result much alike."""
    plain = plain_costs(ticks)
    full = _fitted(ticks, [STEP, TOKEN, PROMPT, CONTEXT], plain.joules)
    gain = plain.misfit - full.misfit
    return full if gain > CONTEXT_ASKED_FOR * full.lasting and full.joules[CONTEXT] > 0 else plain


def plain_costs(ticks: Ticks) -> Costs:
    """The same, where context costs nothing."""
    return _fitted(ticks, [STEP, TOKEN, PROMPT], _first_guess(ticks, [STEP, TOKEN, PROMPT]))


def costs_again(ticks: Ticks, before: Costs) -> Costs:
    """Costs, where another part of the run has told how large errors are, and whether context costs anything."""
    columns = [STEP, TOKEN, PROMPT, *([CONTEXT] if before.joules[CONTEXT] > 0 else [])]
    return _regressed(ticks, columns, Errors(before.scatter, before.timing, before.placing), before.joules)


def _fitted(ticks: Ticks, columns: list[int], joules: Floats) -> Costs:
    """Costs of these `columns` alone, beginning with `joules`."""
    found = None
    for _ in range(ROUNDS):
        found = _regressed(ticks, columns, _errors(ticks, joules)[0], joules)
        joules = found.joules
    assert found is not None
    return replace(found, misfit=_errors(ticks, joules)[1])


def _first_guess(ticks: Ticks, columns: list[int]) -> Floats:
    """Least squares in which all ticks are alike."""
    use = ticks.usable & (ticks.done[STEP] > 0)
    a, b = ticks.done[columns][:, use].T, ticks.above_j[use]
    rough = nonnegative(a, b, np.ones(len(columns), bool))
    rows = _prior(columns, rough, a)
    joules = np.zeros(len(COSTS))
    joules[columns] = nonnegative(np.vstack([a, rows * float(np.std(b))]), np.append(b, 0.0 * rows[:, 0]), rough > -1)
    return joules


def _errors(ticks: Ticks, joules: Floats) -> tuple[Errors, float]:
    """By how much steps depart from their costs, and ends of ticks are mistimed: what is most likely, and how likely.

    Of Student's t distribution, since some depart by far.
    """
    rest = np.where(ticks.usable, ticks.above_j - joules @ ticks.done, 0.0)
    # The same ticks by whatever law: else how likely one is could not be compared with another.
    busy_s = np.where(ticks.usable, ticks.busy_s, 0.0)
    busy = np.flatnonzero(busy_s > 0.5 * np.minimum(ticks.seconds, busy_s.max()))
    first = int(busy[max(0, busy.size // 2 - LOOKED_AT // 2)])
    part = slice(first, min(int(busy[-1]) + 1, first + LOOKED_AT))
    some = Ticks(
        ticks.seconds[part],
        ticks.above_j[part],
        ticks.usable[part],
        ticks.done[:, part],
        ticks.squares[..., part],
        ticks.busy_s[part],
        ticks.idle_var[part],
        ticks.knot_var[part.start : part.stop + 1],
        ticks.vague[part.start : part.stop + 1],
    )
    observed = np.concatenate([[0.0], np.cumsum(rest[part])])[None]
    parts = some.own_parts(joules)
    placings = PLACINGS if parts[2].any() else PLACINGS[:1]
    tried = [Errors(*each) for each in product(SCATTERS, TIMINGS, placings)]
    scatter, timing, placing = np.array(tried).T[..., None]
    together = some.chain(scatter**2 * parts[0] + parts[1] + placing * parts[2], timing)
    surprise, log_scale = innovations(together, observed)
    misfit = 2 * log_scale + (HEAVY + 1) * np.log1p(surprise[0][:, some.usable] ** 2 / HEAVY).sum(1)
    best = int(np.argmin(misfit))
    return tried[best], float(misfit[best])


def _regressed(ticks: Ticks, columns: list[int], errors: Errors, before: Floats) -> Costs:
    """Costs, given how large the errors are."""
    chain = ticks.chain(own_var(ticks.own_parts(before), errors.scatter, errors.placing), errors.timing)
    series = np.vstack([ticks.above_j, ticks.done[columns]]) * ticks.usable
    running = np.concatenate([np.zeros((len(series), 1)), np.cumsum(series, axis=1)], axis=1)
    white = filtered(chain, running).innovations[:, 1:][:, ticks.usable]
    a, b = white[1:].T, white[0]
    prior = _prior(columns, before[columns], ticks.done[columns].T)
    held, x = np.ones(len(columns), bool), before[columns]
    apart = np.ones(b.size)
    for _ in range(REWEIGHTED):
        root = 1 / np.sqrt(apart)
        x = nonnegative(np.vstack([a * root[:, None], prior]), np.append(b * root, np.zeros(len(prior))), held)
        was, apart = apart, (HEAVY + (b - a @ x) ** 2) / (HEAVY + 1)
        if np.abs(was / apart - 1).max(initial=0.0) < 1e-3:
            break
    rows = np.vstack([a / np.sqrt(apart)[:, None], prior])
    joules, cov = np.zeros(len(COSTS)), np.zeros((len(COSTS), len(COSTS)))
    joules[columns] = x
    lasting = _lasting((b - a @ x) / np.sqrt(apart))
    cov[np.ix_(columns, columns)] = np.linalg.pinv(rows.T @ rows) * _inflation(b - a @ x) * lasting
    everywhere = np.ones(ticks.usable.size)
    everywhere[ticks.usable] = apart * WIDER
    return Costs(joules, cov, errors.scatter, errors.timing, everywhere, np.inf, errors.placing, lasting)


def _lasting(surprise: Floats) -> float:
    """How many times more sums over ticks vary than if ticks were independent; 1 or more.

    Steps depart from costs that are a little wrong for as long as they are alike. The largest of the variance ratios
    (Lo and MacKinlay, "Stock market prices do not follow random walks", 1988) over some numbers of ticks.
    """
    away = surprise - surprise.mean() if surprise.size else surprise
    variance = max(float(away.var()) if away.size else 0.0, 1e-300)
    found = [1.0]
    for row in ROWS:
        rows = away.size // row
        if rows >= FEWEST_ROWS:
            found.append(float((away[: rows * row].reshape(rows, row).sum(1) ** 2).mean()) / row / variance)
    return max(found)


def _inflation(surprise: Floats) -> float:
    """How much more an M-estimate varies than weighted least squares with its weights would (Huber, 1964)."""
    if not surprise.size:
        return 1.0
    square = surprise**2
    weight = (HEAVY + 1) / (HEAVY + square)
    slope = float((weight * (HEAVY - square) / (HEAVY + square)).mean())
    return float((weight**2 * square).mean() * weight.mean()) / max(slope, STEEP) ** 2


def _prior(columns: list[int], x: Floats, a: Floats) -> Floats:
    """Row by which tokens of both kinds cost about the same."""
    row = np.zeros((1, len(columns)))
    token, prompt = columns.index(TOKEN), columns.index(PROMPT)
    both = a[:, [token, prompt]].sum(0)
    usual = float((x[[token, prompt]] * both).sum() / both.sum()) if both.sum() else 0.0
    if usual > 0:
        row[0, token], row[0, prompt] = 1 / (ALIKE * usual), -1 / (ALIKE * usual)
    return row
