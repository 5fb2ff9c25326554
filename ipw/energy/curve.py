"""Cumulative energy over time, with knots where the hardware renewed its value, and what is known between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Bools, Floats, Ints, checked
from ipw.energy.belief.believed import counter_doubt, power_doubt
from ipw.energy.belief.limits import MARGIN
from ipw.energy.belief.renewal import seldom_renewed, waited
from ipw.energy.belief.stillness import STILL, stood_still
from ipw.energy.delta import OK, REASONS, deltas
from ipw.energy.knots import OUTAGE_S, POWER_OUTAGE_S, between, ticks_of, updates, usable

__all__ = [
    "STRAY",
    "Z95",
    "Curve",
    "Floats",
    "Ints",
    "add_curves",
    "counter_curve",
    "coverage",
    "energy_at",
    "energy_between",
    "knot_variance",
    "lost_j",
    "power_curve",
]

Z95 = 1.959963984540054
"""Half-width of a normal distribution's 95 % interval in standard deviations."""
STRAY = 0.5
"""How far energy strays from a straight line between knots: as a random walk that could make this fraction of the
energy between them, so that halfway the 95 % interval is as wide as that energy."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What one sensor says about cumulative energy."""

    t_ns: Ints
    """Knots, strictly increasing: when the hardware renewed its value, where that could be seen, else the reads."""
    energy_j: Floats
    """Cumulative since the first knot, non-decreasing."""
    t_err_ns: Floats
    """Half-width of the interval in which each knot really lies."""
    quantum_j: float = 0.0
    """Resolution of the value."""
    gaps_ns: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    """Intervals from knot to knot whose energy cannot be placed. What a counter saw in total across an outage stays in
    `energy_j` and is charged to nobody; what nobody saw (a reset) is not in `energy_j` at all."""
    gap_reasons: tuple[str, ...] = ()
    gap_lost: Bools = field(default_factory=lambda: np.zeros(0, bool))
    """Of each gap, whether nobody saw its joules; where it is not said, nobody did."""
    most_w: float = np.inf
    """More than this the device cannot have drawn at any time."""
    gain_rel: float = 0.0
    """Half-width of the 95 % interval of the sensor's gain, which multiplies every joule of this curve alike."""

    def __post_init__(self) -> None:
        """Take gaps for lost of which nothing is said."""
        if self.gap_lost.size != len(self.gaps_ns):
            object.__setattr__(self, "gap_lost", np.ones(len(self.gaps_ns), bool))

    @property
    def lost_ns(self) -> Ints:
        """Gaps `[n, 2]` in which energy was drawn that nobody saw."""
        return self.gaps_ns[self.gap_lost]


def counter_curve(
    t_ns: npt.ArrayLike,
    value_j: npt.ArrayLike,
    status: npt.ArrayLike,
    uncertainty_ns: npt.ArrayLike,
    *,
    ticks: bool,
    sparse: bool = False,
    range_j: float | None = None,
    max_power_w: float | None = None,
    resolution_j: float | None = None,
    update_period_s: float | None = None,
    gain_rel: float = 0.05,
) -> Curve:
    """Curve of an energy counter from its readings: moment, joules, status code (0 is good), half-width of the read.

    With `ticks`, and where it is read far oftener than it is renewed, the knots are the moments at which the value was
    seen to change, each between the last read of the old value and the first of the new one; of a `sparse` one, those
    that were looked for. Without, they are the reads, whose values are up to `update_period_s` old where that is much
    shorter than the time between reads (else each read is an update). Wraps are undone where `range_j` is known. Resets
    and impossible power are gaps in which energy was lost, and so is time in which it stood still for longer than it
    may (`ipw.energy.belief.stillness`); an outage is a gap whose joules are known and their time is not. Values that
    cannot be true are readings that failed (`ipw.energy.belief.believed`).
    """
    doubt = counter_doubt(range_j, max_power_w, resolution_j, update_period_s)
    t, value, half, outages = usable(t_ns, value_j, status, uncertainty_ns, doubt)
    if range_j is not None and value.max(initial=0.0) > range_j + (resolution_j or 0.0):
        range_j = None  # or these values would not be believed
    still = stood_still(t, value, period_s=update_period_s, resolution_j=resolution_j or 0.0)
    waited_ns = waited(t, value, update_period_s)
    if ticks or seldom_renewed(t, value, resolution_j or 0.0):
        tick_t, tick_value, tick_half = ticks_of(t, value, half, sparse=sparse)
        if tick_t.size >= 2:
            t, value, half, waited_ns = tick_t, tick_value, tick_half, np.zeros(tick_t.size - 1)
    elif t.size > 1 and update_period_s is not None and 2e9 * update_period_s < np.median(np.diff(t)):
        t, half = t - np.int64(update_period_s * 5e8), half + update_period_s * 5e8
    energy, code = deltas(value, t, half, waited_ns=waited_ns, range_j=range_j, max_power_w=max_power_w)
    lost = {int(k): REASONS[code[k]] for k in np.flatnonzero(code != OK)}
    blurred = {int(k): name for start, end, name in outages for k in between(t, start, end)}
    for start, end, caught_up in still:
        (blurred if caught_up else lost).update((int(k), STILL) for k in between(t, start, end))
    energy[list(lost)] = 0.0
    return _curve(t, energy, half, resolution_j or 0.0, lost, blurred, gain_rel, max_power_w)


def power_curve(
    t_ns: npt.ArrayLike,
    power_w: npt.ArrayLike,
    status: npt.ArrayLike,
    uncertainty_ns: npt.ArrayLike,
    *,
    update_period_s: float | None = None,
    max_gap_s: float | None = None,
    max_power_w: float | None = None,
    may_rest: bool = True,
    gain_rel: float = 0.05,
) -> Curve:
    """Curve of a power sensor by integration of its readings.

    With `update_period_s` each new value is the mean over the update that it ends, as sensors with a boxcar window give
    it: the knots are the updates, and each value counts for the time before it. Without, readings are samples of a
    continuous power and the trapezoid rule joins them. Readings further apart than `max_gap_s` (by default 1 s, or five
    times the usual spacing if that is longer) leave a gap with no energy. Values that cannot be true, among them 0 W of
    what may not rest, are readings that failed.
    """
    doubt = power_doubt(max_power_w, may_rest=may_rest)
    t, power, half, outages = usable(t_ns, power_w, status, uncertainty_ns, doubt, outage_s=POWER_OUTAGE_S)
    spacing = float(np.median(np.diff(t))) if t.size > 1 else 0.0
    limit_ns = max(OUTAGE_S * 1e9, 5 * spacing) if max_gap_s is None else max_gap_s * 1e9
    wide_t = t[1:][np.diff(t) > limit_ns]
    if update_period_s is None:
        mean_w = (power[1:] + power[:-1]) / 2
    else:
        t, power, half = updates(t, power, half, update_period_s * 1e9)
        mean_w = power[1:]
    energy = np.maximum(mean_w, 0.0) * np.diff(t) / 1e9
    unread = np.unique(np.searchsorted(t, wide_t) - 1)
    reasons = {int(k): "unread" for k in unread if 0 <= k < energy.size}
    for start, end, name in outages:  # power that nobody read cannot be made good later, as a counter's energy can
        reasons.update((int(k), name) for k in between(t, start, end))
    energy[list(reasons)] = 0.0
    return _curve(t, energy, half, 0.0, reasons, {}, gain_rel, max_power_w)


def add_curves(curves: Sequence[Curve]) -> Curve:
    """Total of several devices on all of their knots, for showing; each is straight between its own knots.

    To attribute the energy of several devices, attribute each curve and add the results: that keeps what each device's
    ticks tell. Before its first and after its last knot a curve adds nothing, and that time is a gap of the total.
    """
    curves = [curve for curve in curves if curve.t_ns.size]
    if not curves:
        return _curve(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), 0.0, {}, {}, 0.0)
    if len(curves) == 1:
        return curves[0]
    t = np.unique(np.concatenate([curve.t_ns for curve in curves]))
    energy = np.zeros(t.size)
    half = np.zeros(t.size)
    lost: dict[int, str] = {}
    blurred: dict[int, str] = {}
    for curve in curves:
        energy += np.interp(t, curve.t_ns, curve.energy_j)
        at = np.searchsorted(t, curve.t_ns)
        half[at] = np.maximum(half[at], curve.t_err_ns)
        silent = [(int(t[0]), int(curve.t_ns[0])), (int(curve.t_ns[-1]), int(t[-1]))]
        gaps = zip(curve.gaps_ns.tolist(), curve.gap_reasons, curve.gap_lost.tolist(), strict=True)
        for (start, end), reason, gone in [*gaps, *((each, "unread", True) for each in silent)]:
            (lost if gone else blurred).update((int(k), reason) for k in between(t, start, end))
    totals = np.array([curve.energy_j[-1] for curve in curves])
    gains = np.array([curve.gain_rel for curve in curves])
    gain = float(gains @ totals / totals.sum()) if totals.sum() > 0 else float(gains.max())
    most_w = sum(curve.most_w for curve in curves) / MARGIN
    return _curve(t, np.diff(energy), half, sum(curve.quantum_j for curve in curves), lost, blurred, gain, most_w)


def energy_at(curve: Curve, t_ns: npt.ArrayLike) -> Floats:
    """Cumulative joules at each moment, on a straight line between knots; flat before the first and after the last."""
    t = np.asarray(t_ns, np.int64)
    if curve.t_ns.size == 0:
        return np.zeros(t.shape)
    origin = curve.t_ns[0]
    values: Floats = np.interp(t - origin, curve.t_ns - origin, curve.energy_j)
    return values


def energy_between(curve: Curve, start_ns: npt.ArrayLike, end_ns: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Joules between two moments and the ends of their 95 % interval, for arrays of moments, gain left out.

    Straight lines join the knots, and the true curve strays from them as a Brownian bridge does (`STRAY`), though never
    beyond what the knots on both sides allow; the knots have errors from their timing and from the quantum. Within an
    outage, whose joules are known and their time is not, it may stray as far as the device's limit lets it. What was
    lost in gaps is in none of the three (`lost_j`). Raises ValueError where end < start.
    """
    start, end = np.atleast_1d(checked(start_ns, "start_ns")), np.atleast_1d(checked(end_ns, "end_ns"))
    if np.any(end < start):
        raise ValueError("an interval ends before it starts")
    energy = energy_at(curve, end) - energy_at(curve, start)
    if curve.t_ns.size < 2:
        return energy, energy.copy(), energy.copy()
    t, e = curve.t_ns, curve.energy_j
    a, b = (np.clip(np.searchsorted(t, x, "right") - 1, 0, t.size - 2) for x in (start, end))
    step, length = np.diff(e), np.diff(t)
    fa, fb = (np.clip((x - t[k]) / length[k], 0.0, 1.0) for x, k in ((start, a), (end, b)))
    same = a == b
    blurred = np.zeros(step.size, bool)
    blurred[np.searchsorted(t, curve.gaps_ns[~curve.gap_lost, 0])] = True
    stray = np.where(blurred, 0.0, STRAY * step)
    bridge = np.where(
        same,
        stray[a] ** 2 * (fb - fa) * (1 - (fb - fa)),
        stray[a] ** 2 * fa * (1 - fa) + stray[b] ** 2 * fb * (1 - fb),
    )
    most_j = np.where(blurred, curve.most_w * length / 1e9, 0.0)
    below, above = (
        np.where(same, within, first + last)
        for within, first, last in zip(
            _unplaced(step[a], most_j[a], fb - fa),
            _unplaced(step[a], most_j[a], 1 - fa),
            _unplaced(step[b], most_j[b], fb),
            strict=True,
        )
    )
    knot = knot_variance(curve)
    margin = np.sqrt(
        bridge + np.where(same, 0.0, (1 - fa) * knot[a] + fa * knot[a + 1] + (1 - fb) * knot[b] + fb * knot[b + 1])
    )
    timing = np.sqrt(knot[a] + knot[b + 1])
    most = e[b + 1] - e[a] + Z95 * timing
    least = np.maximum(e[b] - e[np.minimum(a + 1, b)] - Z95 * timing, 0.0)
    return (
        energy,
        np.minimum(np.maximum(energy - Z95 * margin - below, least), energy),
        np.maximum(np.minimum(energy + Z95 * margin + above, most), energy),
    )


def _unplaced(step_j: Floats, most_j: Floats, part: Floats) -> tuple[Floats, Floats]:
    """How far the energy in a part of an interval may be below and above its share of `step_j`.

    All of the interval's energy may lie in that part, or none, as far as `most_j`, the most that the interval can have,
    allows. Where nothing is to be placed, `most_j` is 0.
    """
    share_j = part * step_j
    held = most_j > 0
    below = np.where(held, share_j - np.maximum(step_j - (1 - part) * most_j, 0.0), 0.0)
    above = np.where(held, np.minimum(step_j, part * most_j) - share_j, 0.0)
    return np.maximum(below, 0.0), np.maximum(above, 0.0)


def lost_j(curve: Curve, start_ns: int, end_ns: int) -> float:
    """Joules that may have been drawn in a window while nobody saw them: as much as ever was drawn elsewhere."""
    if curve.t_ns.size < 2 or end_ns <= start_ns:
        return 0.0
    lost_s = (1 - coverage(curve, start_ns, end_ns)[0]) * (end_ns - start_ns) / 1e9
    highest_w = float((np.diff(curve.energy_j) / np.diff(curve.t_ns)).max()) * 1e9
    return lost_s * min(highest_w, curve.most_w)


def coverage(curve: Curve, start_ns: int, end_ns: int) -> tuple[float, float]:
    """Fraction of a window whose joules are known, and its longest stretch of seconds without a knot.

    They are known between knots, but not in gaps in which energy was lost.
    """
    if end_ns <= start_ns:
        raise ValueError("a window must end after it starts")
    inside = curve.t_ns[(curve.t_ns > start_ns) & (curve.t_ns < end_ns)]
    largest_gap_s = float(np.diff(np.concatenate([[start_ns], inside, [end_ns]])).max()) / 1e9
    if curve.t_ns.size < 2:
        return 0.0, largest_gap_s
    covered = max(0, min(end_ns, int(curve.t_ns[-1])) - max(start_ns, int(curve.t_ns[0])))
    gaps = np.clip(curve.lost_ns, start_ns, end_ns)
    covered -= int((gaps[:, 1] - gaps[:, 0]).sum())
    return max(0.0, covered / (end_ns - start_ns)), largest_gap_s


def knot_variance(curve: Curve) -> Floats:
    """Variance in J² of each knot's energy at its nominal time: timing (uniform) times power there, and the quantum."""
    if curve.t_ns.size < 2:
        return np.zeros(curve.t_ns.size)
    power = np.diff(curve.energy_j) / np.diff(curve.t_ns)  # J/ns
    around = np.empty(curve.t_ns.size)
    around[0], around[-1] = power[0], power[-1]
    around[1:-1] = (power[1:] + power[:-1]) / 2
    return (around * curve.t_err_ns) ** 2 / 3 + curve.quantum_j**2 / 12


def _curve(
    t: Ints,
    energy: Floats,
    half: Floats,
    quantum_j: float,
    lost: dict[int, str],
    blurred: dict[int, str],
    gain_rel: float,
    max_power_w: float | None = None,
) -> Curve:
    """Make a curve of the energy between its knots, and of the intervals between them that are gaps."""
    reasons = blurred | lost
    gaps = sorted(reasons)
    return Curve(
        t_ns=t,
        energy_j=np.concatenate([[0.0], np.cumsum(energy)])[: t.size],
        t_err_ns=half,
        quantum_j=quantum_j,
        gaps_ns=np.array([(t[k], t[k + 1]) for k in gaps], np.int64).reshape(-1, 2),
        gap_reasons=tuple(reasons[k] for k in gaps),
        gap_lost=np.array([k in lost for k in gaps], bool),
        most_w=np.inf if max_power_w is None else MARGIN * max_power_w,
        gain_rel=gain_rel,
    )
