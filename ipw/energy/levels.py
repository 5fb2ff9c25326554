"""Power of the phases, told apart by all ticks of a run together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ipw.energy.arrays import Bools, Floats
from ipw.energy.baseline import Baseline
from ipw.energy.regression import regress
from ipw.energy.saturation import BENDS, EARNED, Law, concave_law, linear
from ipw.energy.segments import Segments

ALTERNATIONS = 30
"""Between the law and the levels, at most."""
BEND_SD = 0.2
"""How far off each bend of that law may be, as a fraction of power at full load."""
BRIEF = 0.01
"""Of the time with spans, so little with several in flight tells nothing of how power grows with them."""
BESIDE_SD = 0.3
"""Of the power while spans run, the standard deviation of what does not depend on how long they last, and of what
depends on their work per second."""
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
    """`[d, m]`: seconds, per segment, for which another watt of each level counts: a correction of the floor and of its
    drift, stretches without a span that are not known to be idle, each phase, with several in flight the bends of the
    law from load to power, and with one, where the ticks ask for it, what each span costs however long it lasts, and
    what it costs to work faster."""
    base_j: Floats
    """`[m]`: what is there beside the levels times their columns."""
    phases: slice
    """Which of them are phases."""
    share_s: Floats
    """`[phases, m]`: seconds that, times the level, are the share of each phase."""
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

    def ticks(self, seg: Segments) -> Floats:
        """Columns of the usable ticks."""
        ticks: Floats = seg.ticks(self.columns)[:, seg.usable]
        return ticks


def design(seg: Segments, above_j: Floats, known_idle: Bools, baseline: Baseline | None, timing_var: Floats) -> Design:
    """Levels from the energy of each tick above the floor, whose error from timing has variance `timing_var`.

    Where several spans are in flight, power is a concave function of the load (the sum of their levels), found together
    with the levels; where levels drift, blocks of ticks have their own.
    """
    counts = seg.present[:-1]
    sd = np.sqrt(timing_var + (DEPARTURE * (seg.tick_j + np.abs(above_j))) ** 2)[seg.usable]
    values = above_j[seg.usable] / sd
    busy = seg.ticks((seg.number > 0) * seg.seconds)[seg.usable] / sd
    typical_w = max(abs(float(busy @ values)) / max(float(busy @ busy), 1e-300), 1e-6)
    extra, floor_sd = [], []
    if baseline is not None:
        extra = [seg.seconds] if baseline.t_ns.size == 1 else [seg.seconds, baseline.ramp(seg.t_ns) * seg.seconds]
        floor_sd = [max(baseline.sd_w(), 1e-6 * typical_w)] * len(extra)
        if np.any(seg.quiet & ~known_idle):
            extra.append((seg.quiet & ~known_idle) * seg.seconds)
    elif seg.quiet.any():
        extra, floor_sd = [seg.seconds], [np.inf]
    phases = slice(len(extra), len(extra) + counts.shape[0])
    together = bool(((seg.number > 1) @ seg.seconds) > BRIEF * ((seg.number > 0) @ seg.seconds))
    prior_sd = np.array([*floor_sd, *[typical_w] * (phases.stop - len(floor_sd)), *[BEND_SD] * (BENDS * together)])

    def about(levels_w: Floats, law: Law, drift: Floats, beside: Sequence[Floats] = ()) -> Design:
        """The best levels near those given, where the law is taken to be straight."""
        sds = np.append(prior_sd, [BESIDE_SD * typical_w] * len(beside))
        slope_s = counts * law.slope * drift * seg.seconds
        mean_s = counts * law.mean * drift * seg.seconds
        found = Design(
            columns=np.vstack([*extra, slope_s, *beside, *(law.bends * seg.seconds)[: BENDS * together]]),
            base_j=levels_w[phases] @ (mean_s - slope_s),
            phases=phases,
            share_s=mean_s,
            prior_sd=sds,
            levels_w=levels_w,
        )
        rest = values - seg.ticks(found.base_j)[seg.usable] / sd
        return replace(found, levels_w=regress(found.ticks(seg) / sd, rest, found.held, sds)[0])

    law, same = linear(seg.number), np.ones(1)
    found = about(np.zeros(prior_sd.size), law, same)
    for _ in range(ALTERNATIONS if together else 0):
        rest = values - found.levels_w[: phases.start] @ found.ticks(seg)[: phases.start] / sd
        law = concave_law(seg, found.levels_w[phases] @ counts, rest, sd)
        before, found = found.levels_w[phases], about(found.levels_w, law, same)
        if np.abs(found.levels_w[phases] - before).max() <= SETTLED * before.max():
            break
    beside: list[Floats] = []
    for form in () if together else (seg.shorter, seg.faster):
        more = about(found.levels_w, law, same, [*beside, *form * seg.seconds])
        if _misfit(more, seg, values, sd) < _misfit(found, seg, values, sd) * np.exp(-EARNED / values.size):
            found, beside = more, [*beside, *form * seg.seconds]
    if values.size >= 2 * BLOCK_TICKS:
        found = about(found.levels_w, law, _drift(seg, found, values, sd), beside)
    return found


def _misfit(found: Design, seg: Segments, values: Floats, sd: Floats) -> float:
    """Mean square of what the levels leave of the ticks."""
    rest = values - (seg.ticks(found.base_j)[seg.usable] + found.levels_w @ found.ticks(seg)) / sd
    return float(np.mean(rest**2))


def _drift(seg: Segments, whole: Design, values: Floats, sd: Floats) -> Floats:
    """Factor of each phase's level at each segment: from blocks of ticks, on straight lines between their middles."""
    unit = whole.ticks(seg)[whole.phases] * whole.levels_w[whole.phases, None] / sd
    rest = values - (seg.ticks(whole.base_j)[seg.usable] + whole.levels_w @ whole.ticks(seg)) / sd
    ends = np.linspace(0, values.size, values.size // BLOCK_TICKS + 1).astype(int)
    excess, var = np.zeros((2, unit.shape[0], ends.size - 1))
    free = np.zeros(unit.shape[0], bool)
    for k, (a, b) in enumerate(pairwise(ends.tolist())):
        excess[:, k], cov = regress(unit[:, a:b], rest[a:b], free, np.full(free.size, DRIFT_SD))
        var[:, k] = np.diag(cov) * np.mean((rest[a:b] - excess[:, k] @ unit[:, a:b]) ** 2)
    real = max(float(np.mean(excess**2 - var)), 0.0)  # what noise alone would show is no drift
    factors = 1 + excess * real / np.maximum(real + var, 1e-300)
    ticks = seg.t_ns[seg.knots[:-1]][seg.usable]
    middle = (ticks[ends[:-1]] + ticks[ends[1:] - 1]) / 2
    return np.stack([np.interp(seg.t_ns[:-1], middle, np.maximum(f, 0.0)) for f in factors])
