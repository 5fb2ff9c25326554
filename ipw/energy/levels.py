"""Power of the phases, told apart by all ticks of a run together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ipw.energy.arrays import Bools, Floats
from ipw.energy.baseline import Baseline
from ipw.energy.regression import regress
from ipw.energy.segments import Segments

KINKS = 6
"""Pieces of the concave law from load to power, where several spans are in flight together."""
ALTERNATIONS = 30
"""Between the law and the levels, at most."""
SETTLED = 1e-4
"""They end when no level changes by more than this fraction of the largest."""
BLOCK_TICKS = 1000
"""Levels drift: every so many ticks have their own, as a factor on the run's."""
DRIFT_SD = 0.1
"""Standard deviation of that factor before anything is known."""
DEPARTURE = 0.05
"""Departure of a tick's power from the model, as a fraction, for the first fit."""


@dataclass(frozen=True, slots=True)
class Design:
    """Power above the known floor as a sum of levels times columns."""

    columns: Floats
    """`[d, m]`: seconds, per segment, for which each level counts: a correction of the floor, stretches without a span
    that are not known to be idle, then each phase."""
    phases: slice
    """Which of them are phases."""
    prior_sd: Floats
    """`[d]`, W."""
    levels_w: Floats
    """`[d]`: as the ticks alone tell."""

    @property
    def held(self) -> Bools:
        """Which levels are not negative."""
        held = np.zeros(self.prior_sd.size, bool)
        held[self.phases] = True
        return held


def design(seg: Segments, above_j: Floats, known_idle: Bools, baseline: Baseline | None, timing_var: Floats) -> Design:
    """Levels from the energy of each tick above the floor, whose error from timing has variance `timing_var`.

    Where several spans are in flight, power is a concave function of the load (the sum of their levels), found together
    with the levels; where levels drift, blocks of ticks have their own.
    """
    counts, number = seg.present[:-1], seg.number
    sd = np.sqrt(timing_var + (DEPARTURE * (seg.tick_j + np.abs(above_j))) ** 2)[seg.usable]
    values = above_j[seg.usable] / sd
    busy = seg.ticks((number > 0) * seg.seconds)[seg.usable] / sd
    typical_w = max(abs(float(busy @ values)) / max(float(busy @ busy), 1e-300), 1e-6)
    extra = [seg.seconds] if baseline is not None or seg.quiet.any() else []
    if baseline is not None and np.any(seg.quiet & ~known_idle):
        extra.append((seg.quiet & ~known_idle) * seg.seconds)
    floor_sd = [] if not extra else [np.inf if baseline is None else max(baseline.sd_w(), 1e-6 * typical_w)]
    phases = slice(len(extra), len(extra) + counts.shape[0])
    prior_sd = np.array([*floor_sd, *[typical_w] * (phases.stop - len(floor_sd))])

    def fit(shape: Floats) -> Design:
        found = Design(np.vstack([*extra, shape * seg.seconds]), phases, prior_sd, np.zeros(prior_sd.size))
        x, _ = regress(seg.ticks(found.columns)[:, seg.usable] / sd, values, found.held, prior_sd)
        return Design(found.columns, phases, prior_sd, x)

    law = np.ones(number.size)
    result = fit(counts)
    if number.max(initial=0) > 1:
        for _ in range(ALTERNATIONS):
            rest = (
                values - result.levels_w[: phases.start] @ seg.ticks(result.columns[: phases.start])[:, seg.usable] / sd
            )
            law = _concave(seg, result.levels_w[phases] @ counts, rest, sd)
            before, result = result.levels_w[phases], fit(counts * law)
            if np.abs(result.levels_w[phases] - before).max() <= SETTLED * before.max():
                break
    if values.size >= 2 * BLOCK_TICKS:
        result = fit(counts * law * _drift(seg, result, values, sd))
    return result


def _concave(seg: Segments, load: Floats, values: Floats, sd: Floats) -> Floats:
    """Factor by which power per unit of load shrinks as load grows, from a concave law through 0."""
    top = float(load.max(initial=0.0))
    if top == 0:
        return np.ones(load.size)
    load = load / top
    busy = load > 0
    order = np.argsort(load[busy])
    share = np.cumsum(seg.seconds[busy][order])
    at = np.searchsorted(share, np.linspace(0, share[-1], KINKS + 1)[1:])
    kinks = np.unique(load[busy][order][np.minimum(at, order.size - 1)])
    basis = np.minimum(load, kinks[:, None])  # with slopes of 0 or more these add up to all concave, rising laws
    columns = seg.ticks(basis * seg.seconds)[:, seg.usable] / sd
    slopes, _ = regress(columns, values, np.ones(kinks.size, bool), np.full(kinks.size, np.inf))
    if not slopes.any():
        return np.ones(load.size)
    return np.divide(slopes @ basis, load * top, out=np.ones(load.size), where=busy)


def _drift(seg: Segments, whole: Design, values: Floats, sd: Floats) -> Floats:
    """Factor of each phase's level at each segment: from blocks of ticks, on straight lines between their middles."""
    columns = seg.ticks(whole.columns)[:, seg.usable] / sd
    rest = values - whole.levels_w[: whole.phases.start] @ columns[: whole.phases.start]
    unit = columns[whole.phases] * whole.levels_w[whole.phases, None]
    ends = np.linspace(0, values.size, values.size // BLOCK_TICKS + 1).astype(int)
    factors = np.ones((unit.shape[0], ends.size - 1))
    free = np.zeros(unit.shape[0], bool)
    for k, (a, b) in enumerate(pairwise(ends.tolist())):
        excess = rest[a:b] - unit[:, a:b].sum(0)
        factors[:, k] += regress(unit[:, a:b], excess, free, np.full(free.size, DRIFT_SD))[0]
    ticks = seg.t_ns[seg.knots[:-1]][seg.usable]
    middle = (ticks[ends[:-1]] + ticks[ends[1:] - 1]) / 2
    return np.stack([np.interp(seg.t_ns[:-1], middle, np.maximum(f, 0.0)) for f in factors])
