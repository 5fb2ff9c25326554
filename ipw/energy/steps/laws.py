"""By which law steps draw what they cost: as they are held up, with work that nobody here asked for, up to a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import MEDIAN_SD, Floats
from ipw.energy.steps.step_costs import Costs
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import COSTS, PROMPT, STEP, TOKEN, Work

HELD_UP = 0.0, 0.5, 1.0
"""Of what a step costs, the part that grows with the time for which it is held up: what is tried."""
OVERHEADS = 0.0, 0.25, 0.5, 0.75, 1.0
"""Of the power of a step, so much may be drawn in its overhead too: what is tried."""
OVERHEAD_SD, SURER = 0.35, 0.3
"""That is no better known, as a standard deviation, where steps depart from their costs for long, and so much of that
elsewhere."""
LIMITS, FINER = (8.0, 4.0, 2.0, 1.2, 0.8), ((1.25, 0.8), (1.1, 0.91), (1.04, 0.96))
"""Of the power that a strong step would draw if power followed its costs: what is tried."""
UNEVEN = 0.06
"""Of steps whose lengths vary more, as a standard deviation, a limit is not looked for."""
MOST_WANTED = 2.0
"""Times the limit, the power that a strong step would draw without it, at most. Beyond, all steps draw the same power,
whatever their costs: so do steps that are all full and held up, without any limit."""
STRONG = 0.95
"""A strong step: so many draw less."""
ROUNDS = 2
"""So often the costs under a limit are found, each from those before."""
ASKED_FOR = 10.0
"""Steps are held up by a law other than the plainest where it lowers twice the log-likelihood by so much."""
LIMIT_ASKED_FOR = 25.0
"""A limit of power must lower what twice the log-likelihood leaves open by so much, times the square of how long steps
still depart from their costs: where they do, a limit may only stand in for another law that is missing."""
NOTICED = 0.02
"""Of the work before first results that was asked for: so much that nobody here asked for is looked at."""

MUCH, AS_WELL = 0.1, 0.75
"""Of that work: with so much, steps that draw all their power for longer work for others, if that explains so much of
what is explained at best."""


class Law(NamedTuple):
    """How what steps draw follows from what was done in them."""

    held_up: float = 0.0
    """Of what a step costs, the part that grows with the time for which it is held up."""
    unseen: bool = False
    """Whether steps that last longer without a reason have work of others in them."""
    overhead: float = 0.0
    """Of the power of a step, the part that is drawn in its overhead too."""
    overhead_sd: float = 0.0
    """Its standard deviation."""
    limit_w: float = np.inf
    """Power above idle nears this as 1 - exp(-x) does."""


Fit = Callable[[Work], Costs]


def under(law: Law, work: Work, steps: Steps, joules: Floats | None = None) -> Work:
    """What was done, such that its costs are what was drawn; with a limit, near costs of `joules`."""
    found = work.stretched(law.held_up)
    if law.overhead:
        found = found.scaled(1 - law.overhead * work.less(work.overhead))
    if law.unseen:
        found = _beside_others(found, others(work), float(work.entry[TOKEN].max(initial=0.0)))
    if np.isfinite(law.limit_w) and joules is not None:
        power = (joules @ found.step) / np.maximum((steps.end_ns - steps.start_ns) / 1e9, 1e-9) / law.limit_w
        found = found.scaled(np.divide(-np.expm1(-power), power, out=np.ones(power.size), where=power > 1e-6))
    return found


def others(work: Work) -> float:
    """How many units of others run beside those seen, as far as the work that nobody asked for tells.

    Their results are not seen; that they have as many for their work as those that are is the best guess.
    """
    asked = float(work.step[PROMPT].sum())
    return float(work.unseen.sum()) / asked * work.entry_step.size / work.step.shape[1] if asked else 0.0


def _beside_others(work: Work, number: float, of_a_turn: float) -> Work:
    """With so many units of others in each step: they share it, have turns, and the work that nobody asked for."""
    entry, step = work.entry.copy(), work.step.copy()
    seen = np.bincount(work.entry_step, minlength=step.shape[1])
    entry[STEP] *= (seen / (seen + number))[work.entry_step]
    step[TOKEN] += number * of_a_turn
    step[PROMPT] += work.unseen
    return work._replace(entry=entry, step=step)


def likeliest(work: Work, steps: Steps, plain: Fit, full: Fit) -> tuple[Law, Work, Floats]:
    """Try laws, each with the costs that suit it best; a limit must be asked for by the ticks.

    `plain` finds costs without those of context, `full` with them. Gives the law, what was done by it, and by how much
    limits that ticks do not rule out would move the costs: `[4, 4]`, their covariance.
    """
    laws = [Law(part) for part in HELD_UP]
    if work.unseen.sum() > NOTICED * work.step[PROMPT].sum():
        laws.append(Law(unseen=True))
    tried = []
    for law in laws:
        done = under(law, work, steps)
        tried.append((full(done), law, done))
    costs, law, found = min(tried, key=lambda one: one[0].misfit + ASKED_FOR * (one[1] != Law()))
    if law.held_up == 1.0 and tried[-1][1].unseen and work.unseen.sum() > MUCH * work.step[PROMPT].sum():
        explained = tried[0][0].misfit - tried[-1][0].misfit, tried[0][0].misfit - costs.misfit
        if explained[0] > AS_WELL * explained[1]:  # power in all of such steps is that of work: whose is not told
            costs, law, found = tried[-1]
    if work.overhead.any():
        fits = [full(under(law._replace(overhead=part), work, steps)) for part in OVERHEADS]
        misfits = np.array([fit.misfit for fit in fits])
        weight = np.exp((misfits.min() - misfits) / (2 * max(fit.lasting for fit in fits)))
        weight[0] *= 1 + (1 - costs.lawless) * len(OVERHEADS)
        mean = float(np.average(OVERHEADS, weights=weight))
        sd = float(np.sqrt(np.average((np.array(OVERHEADS) - mean) ** 2, weights=weight)))
        law = law._replace(overhead=mean, overhead_sd=max(sd, OVERHEAD_SD * max(costs.lawless, SURER)))
        found = under(law, work, steps)
        costs = full(found)
    return _up_to_a_limit(law, found, costs, work, steps, plain, full)


def _up_to_a_limit(
    law: Law, found: Work, costs: Costs, work: Work, steps: Steps, plain: Fit, full: Fit
) -> tuple[Law, Work, Floats]:
    """Look for a limit that power nears, at costs of the law without one, and then more finely around the best."""
    seconds = np.maximum((steps.end_ns - steps.start_ns) / 1e9, 1e-9)
    if MEDIAN_SD * float(np.median(np.abs(work.odd - np.median(work.odd)))) > UNEVEN:
        # by how long steps are held up, any of them may seem to draw the same power
        return law, found, np.zeros((len(COSTS), len(COSTS)))
    strong_w = float(np.quantile((costs.joules @ found.step) / seconds, STRONG))
    best, joules = (costs.misfit, law, found, costs), costs.joules
    of_best, fits = joules, [costs]
    for parts in (LIMITS, *FINER):
        around_w = strong_w if parts is LIMITS else best[1].limit_w
        joules = joules if parts is LIMITS else of_best
        for part in parts if np.isfinite(around_w) else ():
            limited = law._replace(limit_w=part * around_w)
            for _ in range(ROUNDS):  # from the costs under the limit before
                joules = plain(under(limited, work, steps, joules)).joules
            scaled = under(limited, work, steps, joules)
            fit = full(scaled)
            misfit = fit.misfit + LIMIT_ASKED_FOR * fit.lasting**2
            wanted_w = float(np.quantile((joules @ found.step) / seconds, STRONG))
            if wanted_w > MOST_WANTED * limited.limit_w:
                continue
            fits.append(fit)
            if misfit < best[0]:
                best, of_best = (misfit, limited, scaled, fit), joules
    return best[1], best[2], _left_open(best[3], fits)


def _left_open(best: Costs, fits: list[Costs]) -> Floats:
    """`[4, 4]`: J²; how costs by other laws are apart from the best, each weighed by how likely it is.

    The first one is without a limit. Before ticks say more, it is as likely as all others together.
    """
    misfits = np.array([fit.misfit for fit in fits])
    weight = np.exp((misfits.min() - misfits) / (2 * best.lasting))
    weight[0] *= max(weight.size - 1, 1)
    apart = np.array([fit.joules for fit in fits]) - best.joules
    found: Floats = (apart.T * (weight / weight.sum())) @ apart
    return found
