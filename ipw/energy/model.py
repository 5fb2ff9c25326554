"""A curve of cumulative energy finer than the ticks: levels of the phases, departures from them, and every tick."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ipw.energy.arrays import Bools, Floats
from ipw.energy.baseline import Baseline
from ipw.energy.chain import Smoothed, Steps, smooth
from ipw.energy.curve import STRAY, Curve, energy_at, knot_variance
from ipw.energy.departures import estimate, jumps, scene
from ipw.energy.levels import Design, design
from ipw.energy.regression import regress
from ipw.energy.segments import Segments

LEAST_UNIT = 0.1
"""Of the mean power while a span runs: that of which its departure is a fraction is not taken to be less."""
LAG_SD_S = 0.002
"""How late, as a rule, a workload may tell that something started or ended, before the ticks say more."""
ROWS, LEAST_ROW, FEWEST_ROWS = (1, 2, 4), 5, 10
"""Spans over whose ticks sums are looked at, ticks at least, and how many such rows there must be."""
SURE = 1.0
"""So many standard deviations below 0, a lag is as likely as not one of edges that were told early: whatever the true
lag is, spans are then off by a quarter of its standard deviation at most; with 2 it is three quarters."""


@dataclass(frozen=True, slots=True)
class PowerModel:
    """Energy of each segment between the first and the last knot, and what it is uncertain by."""

    energy_j: Floats
    """`[m]`."""
    smoothed: Smoothed
    """Covariance of the cumulative energy at the events, given the levels."""
    sensitivity: Floats
    """`[d, m + 1]`: change of the cumulative energy with each coefficient."""
    cov: Floats
    """`[d, d]`: of the coefficients."""
    levels_w: Floats
    """`[phases]`: above the floor, as the model has them; 0 where nothing is told apart."""
    level_at: slice
    """Which coefficients they are."""
    mean_factor: Floats
    """`[phases]`: times the level, what a span of the phase added on average as it ran."""
    floor_w: tuple[float, float] | None
    """Power with nothing in flight and its standard deviation, where the model had to find it."""
    span_sd_w: Floats
    """`[phases]`: by how much a span's own power departs from its phase's."""
    departures: Floats | None = None
    """As `departures.estimate` found them; of a long run's first piece, they serve all."""


def interpolated(curve: Curve, seg: Segments) -> PowerModel:
    """Constant power between knots, and the uncertainty of `energy_between`."""
    tick = np.repeat(np.arange(seg.knots.size - 1), np.diff(seg.knots))
    seconds = np.diff(seg.t_ns) / 1e9
    var = np.full(seg.t_ns.size, np.inf)
    var[seg.knots] = knot_variance(curve) + _least_var(seg)
    stray = (STRAY * seg.tick_j[tick]) ** 2 * seconds / np.maximum(seg.ticks(seconds)[tick], 1e-12)
    still = np.full(seconds.size, 1e-9 * (1 + var[0]))
    steps = Steps(seconds, np.zeros(seconds.size), still, stray + still, var)
    phases = seg.present.shape[0] - 1
    none = np.zeros(phases)
    return PowerModel(
        energy_j=np.where(seg.lost, 0.0, np.diff(energy_at(curve, seg.t_ns))),
        smoothed=smooth(steps, np.zeros((1, seg.t_ns.size))),
        sensitivity=np.zeros((phases, seg.t_ns.size)),
        cov=np.zeros((phases, phases)),
        levels_w=none,
        level_at=slice(0, phases),
        mean_factor=none,
        floor_w=None,
        span_sd_w=none,
    )


def fitted(
    curve: Curve, seg: Segments, known_idle: Bools, baseline: Baseline | None, departures: Floats | None = None
) -> PowerModel:
    """Levels from all ticks, then the most likely course of power through every tick (a Gaussian linear model).

    The unknowns are the levels, the lag with which each kind of edge is told, and the departure of each span's power
    from its level; the observations are the energies at the knots, with errors from their timing and the quantum. Where
    the size of `departures` is not given, it is estimated.
    """
    floor_j = np.zeros(seg.t_ns.size)
    if baseline is not None:
        floor_j = seg.running(np.where(seg.lost, 0.0, np.diff(baseline.energy_at(seg.t_ns))))
    timing = knot_variance(curve) + _least_var(seg)
    form = design(seg, seg.tick_j - np.diff(floor_j[seg.knots]), known_idle, baseline, timing[1:] + timing[:-1])
    model_j = np.diff(floor_j) + form.base_j + form.levels_w @ form.columns
    power_w = np.divide(model_j, seg.seconds, out=np.zeros(model_j.size), where=seg.seconds > 0)

    kinds = seg.present.shape[0]
    jump = jumps(power_w)
    early = np.stack([np.where(seg.kind == kind, jump, 0.0) for kind in range(kinds)])
    columns = np.vstack([form.columns, _lagging(early, np.ones((kinds, 1)))])
    held = np.concatenate([form.held, np.zeros(kinds, bool)])
    prior_sd = np.concatenate([form.prior_sd, np.full(kinds, LAG_SD_S)])

    known_j = floor_j + seg.running(form.base_j)
    observed = seg.running(np.vstack([np.zeros(columns.shape[1]), columns]))
    observed[0, seg.knots] = np.concatenate([[0.0], np.cumsum(seg.tick_j)]) - known_j[seg.knots]
    around = np.sqrt(
        (power_w[np.maximum(seg.knots - 1, 0)] ** 2 + power_w[np.minimum(seg.knots, jump.size - 1)] ** 2) / 2
    )
    knot_var = (around * curve.t_err_ns / 1e9) ** 2 / 3 + curve.quantum_j**2 / 12 + _least_var(seg)
    parts = scene(seg, power_w, knot_var, _unit_w(seg, power_w, form, form.columns[form.phases]))
    if departures is None:
        departures = estimate(parts, observed, seg.knots, prior_sd)
    smoothed = smooth(parts.steps(departures), observed)

    white = smoothed.innovations[:, seg.knots[1:]][:, seg.usable]
    levels, cov = regress(white[1:], white[0], held, prior_sd)
    lasting = _lasting(white[0] - levels @ white[1:], seg)
    cov, smoothed = cov * lasting, replace(smoothed, cov=smoothed.cov * lasting)
    told = late_unless_surely_early(levels[-kinds:], np.sqrt(np.diag(cov))[-kinds:])[:, None]
    columns[-kinds:] = _lagging(early, told)
    observed[1:] = seg.running(columns)  # the interval is that of any such lag
    rises = np.diff(seg.number, prepend=seg.number[:1]) > 0
    columns[-kinds:] = _lagging(early, np.where(rises, 0.0, np.where(seg.kind == kinds - 1, 1.0, told)))
    charged = levels.copy()
    charged[-kinds:] -= _of_readings(levels[-kinds:], seg, rises)
    energy = np.diff(known_j) + charged @ columns + np.diff(smoothed.mean[0] - levels @ smoothed.mean[1:])
    observed -= smoothed.mean  # what each coefficient contributes, less what the readings take back of it
    time = seg.present[:-1] @ seg.seconds
    found_floor = baseline is None and form.phases.start > 0
    return PowerModel(
        energy_j=_plausible(seg, np.where(seg.lost, 0.0, energy)),
        smoothed=smoothed,
        sensitivity=observed[1:],
        cov=cov,
        levels_w=levels[form.phases],
        level_at=form.phases,
        mean_factor=np.divide(form.share_s.sum(1), time, out=np.ones(time.size), where=time > 0),
        floor_w=(float(levels[0]), float(np.sqrt(cov[0, 0]))) if found_floor else None,
        span_sd_w=(departures[:kinds] * _unit_w(seg, power_w, form, form.share_s))[:-1],
        departures=departures,
    )


def _lagging(early: Floats, told_late: Floats) -> Floats:
    """`[kinds, m]`: energy for each second of lag, of which `told_late` happened in the segment before."""
    late = early * told_late
    found: Floats = early - late + np.concatenate([late[:, 1:], np.zeros_like(late[:, :1])], axis=1)
    return found


def _of_readings(lag_s: Floats, seg: Segments, rises: Bools) -> float:
    """Seconds by which all readings are late or early: the part of the lags that beginnings and ends share.

    It moves no energy. Of what lags are beside it, all that is drawn between a beginning and an end as they were told
    is the spans': nothing begins before it is asked for, and what ends has ended when it is told.
    """
    edges = [float(lag_s[kind]) for kind in range(lag_s.size - 1) if rises[seg.kind == kind].any()]
    if not edges:
        return 0.0
    both = [*edges, float(lag_s[-1])]
    return max(min(both), 0.0) + min(max(both), 0.0)


def _lasting(surprise: Floats, seg: Segments) -> float:
    """How many times more sums over the ticks of a span vary than the model has it; 1 or more.

    Power that is a little other than the model for longer than a tick adds up over a span.
    """
    spans = max(float(np.abs(np.diff(seg.number)).sum()) / 2, 1.0)
    found = 1.0
    for times in ROWS:
        row = max(int(times * surprise.size / spans), LEAST_ROW)
        rows = surprise.size // row
        if rows >= FEWEST_ROWS:
            found = max(found, float((surprise[: rows * row].reshape(rows, row).sum(1) ** 2).mean()) / row)
    return found


def late_unless_surely_early(lag_s: Floats, sd_s: Floats) -> Floats:
    """How much of each kind's lag happened before the edges as they were told, 0 to 1.

    An edge that was told early happened behind: what it changes belongs to what comes after it. Near 0, where the sign
    is noise, most is taken as told late, since choosing by the sign would always take energy from spans.
    """
    z = (lag_s / np.maximum(sd_s, 1e-12) + SURE) / math.sqrt(2)
    return np.array([math.erfc(-x) / 2 for x in z.tolist()])


def _unit_w(seg: Segments, power_w: Floats, form: Design, phase_s: Floats) -> Floats:
    """`[kinds]`: mean power of a span of each kind, with an equal share of what is beside the levels' `phase_s`."""
    level = form.levels_w[form.phases]
    time = seg.present * seg.seconds
    used = np.maximum(time.sum(1), 1e-12)
    alone = 1 / np.maximum(seg.number, 1)
    whole = time @ (np.abs(power_w) * alone) / used
    rest = seg.present @ ((power_w * seg.seconds - level @ form.share_s) * alone) / used
    own = np.append(level * phase_s.sum(1), 0.0) / used + np.abs(rest)
    unit: Floats = np.maximum(own, LEAST_UNIT * whole)
    return unit


def _plausible(seg: Segments, energy: Floats) -> Floats:
    """Take back negative energies at the expense of the rest of their tick, whose sum stays as it is."""
    total = np.maximum(seg.ticks(energy), 0.0)
    positive = np.maximum(energy, 0.0)
    whole = seg.ticks(positive)
    factor = np.divide(total, whole, out=np.zeros(total.size), where=whole > 0)
    kept: Floats = positive * np.repeat(factor, np.diff(seg.knots))
    return kept


def _least_var(seg: Segments) -> float:
    """J²: a knot is never better known than a ten-millionth of the usual tick."""
    return float((1e-7 * np.mean(seg.tick_j)) ** 2 + 1e-24)
