"""The idle floor: what the devices draw with nothing to do, before, after and where possible within a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import MEDIAN_SD, Floats, Ints, checked
from ipw.energy.curve import Z95, Curve, energy_at, energy_between, knot_variance

STEADY = 3.0
"""Of the standard deviation that the timing of knots gives a part's power: where no part departs by more, power was
steady, and all knots together tell it best."""
PIECES = 10
"""An idle interval is cut into this many parts and their median taken, so that one burst does not raise the floor."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Idle power at the middle of each idle interval, on straight lines between them."""

    t_ns: Ints
    power_w: Floats
    each_sd_w: Floats

    def energy_at(self, t_ns: Ints) -> Floats:
        """Joules at idle power from the first of the increasing moments on."""
        power = np.interp(t_ns - self.t_ns[0], self.t_ns - self.t_ns[0], self.power_w)
        return np.concatenate([[0.0], np.cumsum((power[1:] + power[:-1]) / 2 * np.diff(t_ns) / 1e9)])

    def ramp(self, t_ns: Ints) -> Floats:
        """From -1 in the first interval to 1 in the last, at the middle between successive moments."""
        middle = (t_ns[1:] - t_ns[0] + t_ns[:-1] - t_ns[0]) / 2
        ramp: Floats = np.interp(middle, (self.t_ns - t_ns[0])[[0, -1]], [-1.0, 1.0])
        return ramp

    def sd_w(self) -> float:
        """Standard deviation of the floor in W: of its estimates, and of its unknown course between unequal ones."""
        return float(np.sqrt(np.mean(self.each_sd_w**2) / self.each_sd_w.size + np.ptp(self.power_w) ** 2 / 12))

    def estimate(self, start_ns: int, end_ns: int) -> tuple[float, float, float]:
        """Mean idle power over a window, and its 95 % interval."""
        t = np.unique(np.concatenate([[start_ns, end_ns], self.t_ns[(self.t_ns > start_ns) & (self.t_ns < end_ns)]]))
        value = float(self.power_w[0]) if t.size < 2 else float(self.energy_at(t)[-1]) / (float(t[-1] - t[0]) / 1e9)
        return value, max(0.0, value - Z95 * self.sd_w()), value + Z95 * self.sd_w()


def idle_baseline(curve: Curve, idle_ns: npt.ArrayLike) -> Baseline | None:
    """Idle power from intervals `[n, 2]` in which nothing ran; `None` where none lies between knots and in no gap."""
    idle = checked(idle_ns, "idle_ns").reshape(-1, 2)
    if np.any(idle[:, 1] < idle[:, 0]):
        raise ValueError("an idle interval ends before it starts")
    if curve.t_ns.size < 2:
        return None
    idle = np.clip(idle, curve.t_ns[0], curve.t_ns[-1])
    idle = idle[np.argsort(idle[:, 0], kind="stable")]
    found = [one for start, end in idle.tolist() if (one := _interval(curve, start, end)) is not None]
    if not found:
        return None
    t, power, sd = (np.array(column) for column in zip(*found, strict=True))
    return Baseline(t.astype(np.int64), power, sd)


def quiet_intervals(curve: Curve, start_ns: Ints, end_ns: Ints) -> Ints:
    """Stretches `[n, 2]` between knots in which no span was in flight and at least three knots lie."""
    if curve.t_ns.size < 3:
        return np.zeros((0, 2), np.int64)
    order = np.argsort(start_ns, kind="stable")
    busy_until = np.maximum.accumulate(np.concatenate([curve.t_ns[:1], end_ns[order]]))
    next_start = np.concatenate([start_ns[order], curve.t_ns[-1:]])
    first = np.searchsorted(curve.t_ns, busy_until)
    last = np.searchsorted(curve.t_ns, next_start, "right") - 1
    long = (last - first >= 2) & (first < curve.t_ns.size)
    return np.stack([curve.t_ns[first[long]], curve.t_ns[last[long]]], axis=1)


def _interval(curve: Curve, start: int, end: int) -> tuple[float, float, float] | None:
    """Middle, power and standard deviation of one idle interval, from the knots inside it where there are two."""
    if end <= start or np.any((curve.gaps_ns[:, 0] < end) & (curve.gaps_ns[:, 1] > start)):
        return None
    knots = curve.t_ns[(curve.t_ns >= start) & (curve.t_ns <= end)]
    if knots.size < 2:
        joules, low, high = energy_between(curve, start, end)
        seconds = (end - start) / 1e9
        return (start + end) / 2, float(joules[0]) / seconds, float(high[0] - low[0]) / (2 * Z95 * seconds)
    cuts = knots[np.unique(np.linspace(0, knots.size - 1, PIECES + 1).astype(int))]
    power = np.diff(energy_at(curve, cuts)) / (np.diff(cuts) / 1e9)
    value = float(np.median(power))
    away = np.abs(power - value)
    knot_sd = float(np.sqrt(np.median(knot_variance(curve)[np.searchsorted(curve.t_ns, knots)])))
    timing_sd = np.sqrt(2) * knot_sd / (np.diff(cuts) / 1e9)
    if np.all(away <= STEADY * timing_sd):
        slope, slope_sd = _slope(knots, energy_at(curve, knots), knot_sd)
        own_var = max(float(np.mean(away**2 - timing_sd**2)), 0.0) / power.size  # beside what timing explains
        return (start + end) / 2, slope, float(np.hypot(slope_sd, np.sqrt(own_var)))
    spread = MEDIAN_SD * float(np.median(away)) * np.sqrt(np.pi / 2 / power.size)
    timing = np.sqrt(2) * knot_sd / (float(cuts[-1] - cuts[0]) / 1e9)
    return (start + end) / 2, value, float(np.hypot(spread, timing))


def _slope(t_ns: Ints, energy_j: Floats, sd_j: float) -> tuple[float, float]:
    """Power of the straight line through all knots, W, and its standard deviation from theirs."""
    seconds = (t_ns - t_ns[0]) / 1e9
    seconds = seconds - seconds.mean()
    power = float(seconds @ (energy_j - energy_j.mean()) / (seconds @ seconds))
    left = energy_j - energy_j.mean() - power * seconds
    seen_sd = float(np.sqrt(left @ left / max(t_ns.size - 2, 1)))
    return power, max(sd_j, seen_sd) / float(np.sqrt(seconds @ seconds))
