"""Energy of what an engine computed in steps: joules of a tick to its steps, of a step to those in it and to tokens.

Who is in a step shares alike what the step costs whoever is in it; who has a token bears that token. This is the
Shapley value (Shapley, "A value for n-person games", 1953) of the cost "a step, if anybody is there, and its tokens".
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import MEDIAN_SD, Bools, Floats, Ints, sums
from ipw.energy.baseline import Baseline
from ipw.energy.chain import smooth
from ipw.energy.curve import Z95, Curve
from ipw.energy.division import Share
from ipw.energy.steps.engine import Engine
from ipw.energy.steps.laws import Law, likeliest, others, under
from ipw.energy.steps.step_costs import (
    WIDER,
    Costs,
    Ticks,
    costs_again,
    costs_of,
    held_up_var,
    in_ticks,
    placing_var,
    plain_costs,
    ticks_of,
)
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import CONTEXT, COSTS, STEP, Work
from ipw.energy.timeline import Spans
from ipw.energy.uncertainty import quadratic

ROUNDS = 3
"""So often energies are made to sum up to their ticks, after negative ones are taken back."""
LEAST_TICKS = 20
"""Ticks with steps in them, below which they do not tell what a step costs."""
LAWLESS = 0.01
"""Costs are no better known, where steps depart from them for long: those of one kind of step differ from another's."""
DELAY_S = 0.002
DELAY_SDS = 3.0
"""How much of each step may be overhead, the same however long it computes, where that is not told; more, if steps are
held up by more or less: so many times the standard deviation."""
OVER = 0.03
"""Shares may sum up to so much more than was drawn, since the window's edges cut ticks; beyond it they are wrong."""
Interval = tuple[float, float, float]
RULE = (
    "division of each step of the engine; what a step costs shared equally by those in it, tokens borne by whose they"
    " are, idle floor shared equally"
)


class Known(NamedTuple):
    """What another part of the run has told."""

    costs: Costs
    law: Law
    open_j2: Floats
    """`[4, 4]`: covariance of costs, since the law is not known surely."""


class ByWork(NamedTuple):
    """What the steps of an engine drew, divided."""

    spans: Share
    owners: Share
    idle_j: float
    unseen_j: float
    """Drawn for what nobody here asked for."""
    costs: dict[str, Interval]
    known: Known | None = None
    """The same, to divide more with."""


def divided(
    curve: Curve,
    spans: Spans,
    engine: Engine,
    baseline: Baseline,
    window_ns: tuple[int, int],
    known: Known | None = None,
) -> ByWork | str:
    """Divide what was drawn in the window; or say why that cannot be. Costs are found, where none are `known`."""
    steps, work = engine.steps, engine.work
    if steps is None or work is None:
        return engine.why
    if steps.first_step.size != spans.owners:
        raise ValueError("units and owners are the same")
    curve = _coarse(curve, steps, window_ns)
    usable = ~_in_gaps(curve)
    floor_j = np.diff(baseline.energy_at(curve.t_ns))

    def in_ticks_of(done: Work) -> Ticks:
        return ticks_of(curve, steps, done, floor_j, usable, baseline.sd_w())

    if int((usable & (in_ticks_of(work).done[STEP] > 0)).sum()) < LEAST_TICKS:
        return f"fewer than {LEAST_TICKS} readings during steps"
    if known:
        law, work, open_j2 = known.law, under(known.law, work, steps, known.costs.joules), known.open_j2
    else:
        law, work, open_j2 = likeliest(
            work, steps, lambda done: plain_costs(in_ticks_of(done)), lambda done: costs_of(in_ticks_of(done))
        )
    ticks = in_ticks_of(work)
    costs = costs_again(ticks, known.costs) if known else costs_of(ticks)
    costs = replace(costs, cov=costs.cov + open_j2)
    if not costs.joules.any():
        return "steps cost nothing that could be told"
    own = costs.scatter**2 + held_up_var(work) + costs.placing * placing_var(work)
    drawn = _drawn(ticks, costs, own, in_ticks(steps, own * (costs.joules @ work.step) ** 2, curve.t_ns)[0])
    vague = _vague(others(work), work) if law.unseen else 0.0
    floor_j = floor_j * usable
    shared = _shared(curve, spans, steps, work, law, costs, drawn, floor_j, ticks.above_j, window_ns, vague)
    net_j = shared.owners.net_energy_j
    assert net_j is not None
    above_j, charged_j = _within(curve, ticks.above_j, window_ns), float(net_j.sum())
    if charged_j > above_j * (1 + OVER):
        return f"shares of the steps sum up to {charged_j:.4g} J, and {above_j:.4g} J were drawn above idle"
    return shared._replace(known=Known(costs, law, open_j2))


def _coarse(curve: Curve, steps: Steps, window_ns: tuple[int, int]) -> Curve:
    """Leave out knots that are closer together than steps end: within a step, power is not what it is on average.

    Of those that one step has for itself, the first and the last are kept: how it departs, it does throughout.
    """
    every = int(np.ceil(np.median(steps.end_ns - steps.start_ns) / np.median(np.diff(curve.t_ns))))
    keep = np.zeros(curve.t_ns.size, bool)
    keep[:: max(every, 1)] = keep[-1] = True
    keep[np.isin(curve.t_ns, curve.gaps_ns)] = True
    edges = np.searchsorted(curve.t_ns, np.array(window_ns))
    keep[np.clip(np.concatenate([edges - 1, edges]), 0, keep.size - 1)] = True
    kept = np.flatnonzero(keep)
    begun = np.searchsorted(np.sort(steps.start_ns), curve.t_ns[kept], "right")
    over = np.searchsorted(np.sort(steps.end_ns), curve.t_ns[kept], "right")
    within = np.zeros(kept.size, bool)
    within[1:-1] = (begun[2:] == begun[:-2]) & (over[2:] == over[:-2]) & (begun[1:-1] > over[1:-1])
    within &= ~np.isin(curve.t_ns[kept], np.append(curve.gaps_ns.ravel(), curve.t_ns[np.clip(edges, 1, keep.size) - 1]))
    kept = kept[~within]
    if kept.size == curve.t_ns.size:
        return curve
    return replace(curve, t_ns=curve.t_ns[kept], energy_j=curve.energy_j[kept], t_err_ns=curve.t_err_ns[kept])


def _vague(number: float, work: Work) -> float:
    """How far energy may be off, as a fraction, where so many units of others are: as likely none as twice as many."""
    seen = work.entry_step.size / work.step.shape[1]
    return float(number / (seen + number) / np.sqrt(3))


class TickDrawn(NamedTuple):
    """What the steps of each tick drew, of what they cost as a rule."""

    known: Floats
    """`[ticks]`: 1, and 0 in gaps."""
    lean: Floats
    """`[ticks]`: 1/J; how much more the steps drew, by the variance of what they draw."""
    own: Floats
    """`[steps]`: that variance, as a fraction squared of what they cost as a rule."""
    knot_var: Floats
    """`[ticks + 1]`: J², variance of the energy up to each knot, given all knots."""
    steps_j: Floats
    """`[ticks]`: what the steps of each drew; 0 in gaps."""
    own_j2: Floats
    """`[ticks]`: the sum of that variance over the steps of each."""


def _in_gaps(curve: Curve) -> Bools:
    inside = np.zeros(curve.t_ns.size - 1, bool)
    for start, end in curve.gaps_ns.tolist():
        inside[np.searchsorted(curve.t_ns, start) : np.searchsorted(curve.t_ns, end)] = True
    return inside


def _drawn(ticks: Ticks, costs: Costs, own: Floats, own_j2: Floats) -> TickDrawn:
    """Part what a tick has beside the costs: in part it is its steps' own, in part an error of its ends' timing."""
    own_var = costs.apart * own_j2
    rest = np.where(ticks.usable, ticks.above_j - costs.joules @ ticks.done, 0.0)
    timing = min(costs.timing * WIDER, 1.0)
    smoothed = smooth(ticks.chain(own_var, timing), np.concatenate([[0.0], np.cumsum(rest)])[None])
    mine = np.diff(smoothed.mean[0]) * own_var / (own_var + ticks.idle_var + ticks.least)
    lean = np.divide(mine, own_j2, out=np.zeros(mine.size), where=ticks.usable & (own_j2 > 0))
    steps_j = np.maximum(costs.joules @ ticks.done + mine, 0.0) * ticks.usable
    return TickDrawn(ticks.usable.astype(np.float64), lean, own, smoothed.variance, steps_j, own_j2)


def _shared(
    curve: Curve,
    spans: Spans,
    steps: Steps,
    work: Work,
    law: Law,
    costs: Costs,
    drawn: TickDrawn,
    floor_j: Floats,
    above_j: Floats,
    window_ns: tuple[int, int],
    vague: float,
) -> ByWork:
    """Sum up over steps: what each owner's entries cost, times what the step drew of what it costs as a rule."""
    owners = spans.owners or 0
    per_step = costs.joules @ work.step
    everywhere = int(curve.t_ns[0]), int(curve.t_ns[-1])
    known, lean = (_mean_over_steps(curve, steps, values, everywhere) for values in (drawn.known, drawn.lean))
    drew = np.maximum(known + lean * drawn.own * per_step, 0.0)
    for _ in range(ROUNDS):  # what is taken back of negative energies is taken from the rest of their ticks
        whole = in_ticks(steps, drew * per_step, curve.t_ns)[0]
        factor = np.divide(drawn.steps_j, whole, out=np.ones(whole.size), where=whole > 0)
        drew *= _mean_over_steps(curve, steps, factor, everywhere)
    drew *= _mean_over_steps(curve, steps, np.ones(whole.size), window_ns)
    by_entry = (costs.joules @ work.entry) * drew[work.entry_step]
    before = sums(work.entry_unit, by_entry * work.before, owners)
    after = sums(work.entry_unit, by_entry * ~work.before, owners)
    variance = _variance(work, costs, by_entry, per_step, drew, owners, law.overhead_sd)
    variance += costs.lasting * _timing_variance(curve, steps, work, costs, drawn, by_entry, per_step, owners)
    variance += _ends_variance(steps, work, by_entry, by_step_j := per_step * drew, owners)
    variance += (vague * (before + after)) ** 2
    whole_floor, floor = _floor_shares(curve, spans, floor_j, window_ns)
    head = _first_of_owner(spans)
    alone = np.bincount(spans.owner, minlength=owners)[spans.owner] < 2
    net = np.where(head, before[spans.owner], after[spans.owner]) + np.where(head & alone, after[spans.owner], 0.0)
    share = np.divide(net, (before + after)[spans.owner], out=np.zeros(net.size), where=net > 0)
    total = before + after
    unseen_j = float(by_step_j.sum() - by_entry.sum()) if vague else 0.0
    idle_j = whole_floor + _within(curve, above_j, window_ns) - float(total.sum()) - float(floor.sum()) - unseen_j
    owned_floor = sums(spans.owner, floor, owners)
    return ByWork(
        spans=_share(net + floor, net, variance[spans.owner] * share),
        owners=_share(total + owned_floor, total, variance),
        idle_j=idle_j,
        unseen_j=unseen_j,
        costs=_told(costs),
    )


def _share(gross: Floats, net: Floats, variance: Floats) -> Share:
    margin = Z95 * np.sqrt(variance)
    return Share(gross, np.maximum(gross - margin, np.minimum(gross, 0.0)), gross + margin, net)


def _told(costs: Costs) -> dict[str, Interval]:
    sd = np.sqrt(np.diag(costs.cov))
    return {
        name: (float(j), max(0.0, float(j - Z95 * s)), float(j + Z95 * s))
        for name, j, s in zip(COSTS, costs.joules, sd, strict=True)
        if s > 0 and (j > 0 or name != COSTS[CONTEXT])
    }


def _variance(
    work: Work, costs: Costs, by_entry: Floats, per_step: Floats, drew: Floats, owners: int, overhead_sd: float
) -> Floats:
    """Of each owner's energy: what the costs leave open, with the energy of each step as it is."""
    per_step = np.maximum(per_step, 1e-300)
    rows = []
    for k in range(len(COSTS)):
        own = work.entry[k] * drew[work.entry_step]
        others = by_entry * (work.step[k] / per_step)[work.entry_step]
        rows.append(own - others)
    lawless = costs.lawless
    cov = costs.cov + np.diag((LAWLESS * lawless * costs.joules) ** 2)
    shift = _overhead_shift(work, costs.joules, overhead_sd)
    cov += np.outer(shift, shift)
    return quadratic(np.array([sums(work.entry_unit, row, owners) for row in rows]), cov)


def _overhead_shift(work: Work, joules: Floats, overhead_sd: float) -> Floats:
    """`[4]`: J; by how much costs move, by a standard deviation of what is drawn in the overhead of a step.

    Steps draw what they draw: costs make up for what is taken to be drawn in the overhead, of which those that last
    longer have a smaller part. By least squares over steps.
    """
    uneven_s = MEDIAN_SD * float(np.median(np.abs(work.odd - 1) * work.due_s))
    delay_s = max(DELAY_S, DELAY_SDS * uneven_s)
    delay = delay_s / np.maximum(work.due_s, delay_s) / np.sqrt(3)
    unsure = work.less(overhead_sd * work.overhead if work.overhead.any() else delay)
    drawn = joules[:, None] * work.step
    shift: Floats = joules * (np.linalg.pinv(drawn @ drawn.T) @ (drawn @ (unsure * drawn.sum(0))))
    return shift


def _timing_variance(
    curve: Curve,
    steps: Steps,
    work: Work,
    costs: Costs,
    drawn: TickDrawn,
    by_entry: Floats,
    per_step: Floats,
    owners: int,
) -> Floats:
    """Of each owner's energy: what the ticks leave open of which step drew what.

    An owner has a share of each tick. Its energy is a sum over knots of the change of that share times the energy up to
    the knot. Within a tick, steps depart from their costs each on its own, and their sum is known.
    """
    order = np.argsort(work.entry_unit, kind="stable")
    unit, step = work.entry_unit[order], work.entry_step[order]
    new = _new(unit, step)
    joules = np.add.reduceat(by_entry[order], new)
    unit, step, row, tick, part = _parts(curve, steps, unit[new], step[new])
    spread, mine = drawn.own[step] * part, joules[row]
    new = _new(unit, tick)
    own = np.add.reduceat(mine * part, new)
    squares = np.add.reduceat(mine**2 * spread, new)
    shared = np.add.reduceat(mine * per_step[step] * spread, new)
    unit, tick = unit[new], tick[new]
    inside = squares - np.divide(shared**2, drawn.own_j2[tick], out=squares.copy(), where=drawn.own_j2[tick] > 0)
    variance = sums(unit, costs.apart[tick] * np.maximum(inside, 0.0), owners)

    tick_j = sums(tick, own, curve.t_ns.size - 1)
    share = own / np.maximum(tick_j[tick], 1e-300)
    follows = (np.diff(unit) == 0) & (np.diff(tick) == 1)
    before = np.concatenate([[0.0], np.where(follows, share[:-1], 0.0)])
    ends = np.append(~follows, True)
    variance += sums(unit, (share - before) ** 2 * drawn.knot_var[tick], owners)
    variance += sums(unit[ends], share[ends] ** 2 * drawn.knot_var[tick[ends] + 1], owners)
    return variance


def _ends_variance(steps: Steps, work: Work, by_entry: Floats, step_j: Floats, owners: int) -> Floats:
    """Of each owner's energy: what is left open by ends of steps that may have been seen late.

    A step that lasts longer than others with as much to do was held up, or its results were on their way: what is drawn
    after its end would be the next one's. An owner's energy moves by the change of its share from step to step.
    """
    seconds = (steps.end_ns - steps.start_ns) / 1e9
    late_s = np.minimum(np.maximum(seconds - work.due_s, 0.0), seconds)
    moved_j2 = (late_s * step_j / np.maximum(seconds, 1e-9)) ** 2 / 3  # anywhere from none to all of it: uniform
    moved_before_j2 = np.append(0.0, moved_j2[:-1])
    moved_before_j2[list(steps.engines)] = 0.0  # nothing of another engine's is drawn in its first step
    order = np.lexsort((work.entry_step, work.entry_unit))
    unit, step = work.entry_unit[order], work.entry_step[order]
    new = _new(unit, step)
    share = np.add.reduceat(by_entry[order], new)
    unit, step = unit[new], step[new]
    share /= np.maximum(step_j[step], 1e-300)
    follows = (np.diff(unit) == 0) & (np.diff(step) == 1)
    before = np.concatenate([[0.0], np.where(follows, share[:-1], 0.0)])
    ends = np.append(~follows, True)
    variance = sums(unit, (share - before) ** 2 * moved_before_j2[step], owners)
    return variance + sums(unit[ends], share[ends] ** 2 * moved_j2[step[ends]], owners)


def _parts(curve: Curve, steps: Steps, unit: Ints, step: Ints) -> tuple[Ints, Ints, Ints, Ints, Floats]:
    """Cut what each unit did in each step at the knots: its unit, step, row, tick, and which part of it that is."""
    last_tick = curve.t_ns.size - 2
    first = np.clip(np.searchsorted(curve.t_ns, steps.start_ns, "right") - 1, 0, last_tick)
    last = np.clip(np.searchsorted(curve.t_ns, steps.end_ns, "left") - 1, first, last_tick)
    count = (last - first + 1)[step]
    row = np.repeat(np.arange(step.size), count)
    unit, step = unit[row], step[row]
    tick = first[step] + np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
    inside = np.minimum(steps.end_ns[step], curve.t_ns[tick + 1]) - np.maximum(steps.start_ns[step], curve.t_ns[tick])
    part: Floats = np.maximum(inside, 0) / np.maximum(steps.end_ns - steps.start_ns, 1)[step]
    return unit, step, row, tick, part


def _new(one: Ints, other: Ints) -> Ints:
    """Where a row differs from the one before."""
    return np.flatnonzero(np.concatenate([[True], (np.diff(one) != 0) | (np.diff(other) != 0)])[: one.size])


def _mean_over_steps(curve: Curve, steps: Steps, values: Floats, window_ns: tuple[int, int]) -> Floats:
    """Per step, the mean over its time of what the ticks have, 0 outside the window."""
    inside = np.clip(curve.t_ns, *window_ns)
    running = np.concatenate([[0.0], np.cumsum(values * np.diff(inside))])
    start, end = (np.interp(np.clip(x, *window_ns), inside, running) for x in (steps.start_ns, steps.end_ns))
    mean: Floats = (end - start) / np.maximum(steps.end_ns - steps.start_ns, 1)
    return mean


def _within(curve: Curve, values: Floats, window_ns: tuple[int, int]) -> float:
    """Sum over ticks in the window; of one that its edge cuts, the part inside."""
    running = np.concatenate([[0.0], np.cumsum(values)])
    start, end = np.interp(np.array(window_ns), curve.t_ns, running).tolist()
    return float(end - start)


def measured(curve: Curve, window_ns: tuple[int, int]) -> tuple[float, float]:
    """Joules that were counted in the window, and of them those across outages, which nobody can place."""
    joules, gaps = np.diff(curve.energy_j), _in_gaps(curve)
    return _within(curve, joules, window_ns), _within(curve, joules * gaps, window_ns)


def _floor_shares(curve: Curve, spans: Spans, floor_j: Floats, window_ns: tuple[int, int]) -> tuple[float, Floats]:
    """The floor's energy in the window, and of it an equal share of each span in flight."""
    t = np.unique(np.clip(np.concatenate([curve.t_ns, spans.start_ns, spans.end_ns, np.array(window_ns)]), *window_ns))
    first, last = (np.searchsorted(t, np.clip(x, *window_ns)) for x in (spans.start_ns, spans.end_ns))
    change = np.bincount(first, minlength=t.size) - np.bincount(last, minlength=t.size)
    flying = np.cumsum(change)[:-1]
    running = np.interp(t, curve.t_ns, np.concatenate([[0.0], np.cumsum(floor_j)]))
    each = np.divide(np.diff(running), flying, out=np.zeros(t.size - 1), where=flying > 0)
    shared = np.concatenate([[0.0], np.cumsum(each)])
    return float(running[-1] - running[0]), shared[last] - shared[first]


def _first_of_owner(spans: Spans) -> Bools:
    """Whether each span is its owner's first."""
    order = np.lexsort((spans.end_ns, spans.start_ns, spans.owner))
    head = np.ones(order.size, bool)
    head[order[1:]] = np.diff(spans.owner[order]) != 0
    return head
