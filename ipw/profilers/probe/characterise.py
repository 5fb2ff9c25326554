"""How a sensor behaves, from readings of it: pure functions on arrays, for `ipw doctor --probe` and `make gpu-check`.

The methods are those of "Part-time Power Measurements" (arXiv 2312.02741), without an external meter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.profilers.probe.loads import Pulses

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LEAST_CHANGES = 8
MOST_STRAY = 0.15
"""Updates that stray further than this from a grid, as a fraction of its period, keep no regular time."""
CLEAR = 0.15
"""Two updates whose distance is off by more than this fraction of a period are not told apart well."""
LEAST_FIT = 0.8
"""A moving average of the load that explains less of the values' variance is not what the sensor tells."""
BLOCKS = 10
"""An idle watch is cut into so many parts."""


class NotMeasuredError(Exception):
    """These readings do not tell it; the message says why."""


class Trace(NamedTuple):
    """Readings of one channel in order of time, and what each read cost."""

    t_ns: Ints
    value: Floats
    half_ns: Ints
    """Half-width of the interval in which the hardware was asked."""
    cost_ns: Ints
    asked_every_ns: float
    """Time from one read to the next, also where a read had nothing new to tell."""
    failed: str | None = None
    """Why it ended early."""


def update_period(trace: Trace) -> float:
    """Seconds from one renewal of the value to the next: the mean of gaps of up to three updates between its changes.

    Updates that left the value as it was are allowed for, and longer gaps, in which nobody looked, are left out: one
    update miscounted there would tilt the whole.
    """
    at, _ = changes(trace)
    gaps = np.diff(at)
    period = float(np.quantile(gaps, 0.1))
    for _ in range(4):
        count = np.maximum(np.rint(gaps / period), 1.0)
        few = count <= 3
        period = float(gaps[few].sum() / count[few].sum()) if few.any() else period
    count = np.maximum(np.rint(gaps / period), 1.0)
    if period < 3 * trace.asked_every_ns:
        often = f"every {trace.asked_every_ns / 1e6:.3g} ms"
        raise NotMeasuredError(f"it is renewed at least as often as it was read, {often}")
    if float(np.median(np.abs(gaps - count * period))) > MOST_STRAY * period:
        raise NotMeasuredError("its updates keep no regular time")
    return period / 1e9


def resolution(value: npt.ArrayLike) -> float:
    """The step in which values come: the largest power of ten or of two that all differences are multiples of.

    Powers of two are how RAPL counts; it writes them rounded to millionths.
    """
    values = np.unique(np.asarray(value, np.float64))
    if values.size <= LEAST_CHANGES:
        raise NotMeasuredError(f"only {values.size} different values were seen")
    steps = values[1:] - values[0]
    rounding = 4 * float(np.spacing(np.abs(values).max()))
    candidates = [(10.0**-k, rounding + 1e-5 * 10.0**-k) for k in range(-1, 7)]
    candidates += [(2.0**-k, 1.01e-6) for k in range(3, 17)]
    for step, tolerance in sorted(candidates, reverse=True):
        if np.all(np.abs(steps - np.rint(steps / step) * step) <= tolerance):
            return step
    raise NotMeasuredError("values come in steps of less than a millionth")


def idle_power(trace: Trace, *, counter: bool) -> tuple[float, float, float]:
    """Watts while nothing runs: their mean, their rise from first to last, and the noise around that rise."""
    if trace.failed or trace.t_ns.size < 2 * BLOCKS:
        raise NotMeasuredError(trace.failed or f"only {trace.t_ns.size} readings")
    if counter:
        at, energy = changes(trace)
        edges = np.linspace(at[0], at[-1], BLOCKS + 1)
        power = np.diff(np.interp(edges, at, energy)) / np.diff(edges) * 1e9
    else:
        edges = np.linspace(trace.t_ns[0], trace.t_ns[-1], BLOCKS + 1)
        block = np.clip(np.searchsorted(edges, trace.t_ns, "right") - 1, 0, BLOCKS - 1)
        count = np.bincount(block, minlength=BLOCKS)
        if not count.all():
            raise NotMeasuredError("nothing was read for a tenth of the time")
        power = np.bincount(block, trace.value, BLOCKS) / count
    if power.min() < 0:
        raise NotMeasuredError("the counter fell meanwhile")
    slope, start = np.polyfit(np.arange(BLOCKS), power, 1)
    noise = power - (start + slope * np.arange(BLOCKS))
    return float(power.mean()), float(slope * (BLOCKS - 1)), float(noise.std(ddof=2))


def averaging_window(at_ns: Floats, power: Floats, pulses: Pulses, period_s: float) -> float:
    """Seconds before an update over which the sensor averages, from its updates under an irregular load.

    Finds the moving average of the load, of any length and delay, that the values follow best.
    """
    if at_ns.size < LEAST_CHANGES:
        raise NotMeasuredError(f"only {at_ns.size} updates under load")
    begin = at_ns[0]
    edges = (np.asarray(pulses, np.float64).ravel() - begin) / 1e9
    worked = np.concatenate([[0.0], np.cumsum(np.diff(edges) * (np.arange(edges.size - 1) % 2 == 0))])
    at = (at_ns - begin) / 1e9
    seen = (power - power.mean()) / max(float(power.std()), 1e-12)

    def fit(windows: Floats, delays: Floats) -> tuple[float, float, float]:
        """Best share of variance explained, and its window and delay."""
        ends = at - delays[:, None, None]
        model = np.interp(ends, edges, worked) - np.interp(ends - windows[:, None], edges, worked)
        model -= model.mean(axis=-1, keepdims=True)
        share = (model * seen).mean(axis=-1) / np.maximum(model.std(axis=-1), 1e-12)
        d, w = np.unravel_index(np.argmax(share), share.shape)
        return float(share[d, w]) ** 2, float(windows[w]), float(delays[d])

    explained, window, delay = fit(np.geomspace(0.02, 15, 60) * period_s, np.linspace(0, 1, 21) * period_s)
    for zoom in (0.1, 0.02):
        windows = window * np.linspace(1 - 1.5 * zoom, 1 + 1.5 * zoom, 31)
        delays = np.maximum(delay + np.linspace(-zoom, zoom, 21) * period_s / 2, 0.0)
        explained, window, delay = fit(windows, delays)
    if explained < LEAST_FIT:
        raise NotMeasuredError(f"it follows no moving average of the load (the best explains {100 * explained:.0f} %)")
    return window


def rise_time(at_ns: Floats, power: Floats, pulse: tuple[int, int]) -> float:
    """Seconds from 10 to 90 % of the step with which one long pulse of the load begins."""
    on = (at_ns >= pulse[0]) & (at_ns <= pulse[1])
    before, after = power[at_ns < pulse[0]], power[on]
    if before.size < 2 or after.size < 2:
        raise NotMeasuredError("too few updates around the step")
    low, high = float(np.median(before)), float(np.median(after[after.size // 2 :]))
    if high - low < 0.1 * abs(high):
        raise NotMeasuredError("the load hardly shows")
    moments = at_ns[on]
    reached = [float(moments[np.argmax(after >= low + share * (high - low))]) for share in (0.1, 0.9)]
    if reached[0] == reached[1]:
        raise NotMeasuredError("it rises within one update")
    return (reached[1] - reached[0]) / 1e9


def phase_spread(power: Sequence[float], idle_w: float) -> float:
    """How much the power of one load varies with its phase: range over phases as a fraction of what the load adds."""
    added = float(np.mean(power)) - idle_w
    if added < 0.05 * abs(idle_w) or added <= 0:
        raise NotMeasuredError("the load hardly shows")
    return (max(power) - min(power)) / added


def mean_power(trace: Trace, start_ns: float, end_ns: float, *, counter: bool) -> float:
    """Mean watts that a sensor told between two moments: a counter from its first update there to its last."""
    at, value = changes(trace) if counter else (trace.t_ns.astype(np.float64), trace.value)
    inside = (at >= start_ns) & (at <= end_ns)
    at, value = at[inside], value[inside]
    if at.size < 3:
        raise NotMeasuredError(f"only {at.size} updates in {(end_ns - start_ns) / 1e9:.3g} s")
    return float((value[-1] - value[0]) / (at[-1] - at[0]) * 1e9) if counter else float(value.mean())


def changes(trace: Trace) -> tuple[Floats, Floats]:
    """When the value was seen to change (the middle of the bracket), and the new values."""
    new = np.flatnonzero(np.diff(trace.value)) + 1
    if new.size < LEAST_CHANGES:
        raise NotMeasuredError(f"its value changed {new.size} times only")
    early, late = trace.t_ns[new - 1] - trace.half_ns[new - 1], trace.t_ns[new] + trace.half_ns[new]
    return (early + late) / 2, trace.value[new]


def updates(trace: Trace, *, counter: bool) -> tuple[Floats, Floats]:
    """Moments of updates, and the watts that each tells: of a counter, what it added since the update before.

    Of a counter only updates that follow one another by a period are taken: what a stall of the reader blurred says
    little about watts.
    """
    at, value = changes(trace)
    if not counter:
        return at, value
    gaps = np.diff(at)
    period = float(np.median(gaps))
    clear = np.abs(gaps - period) < CLEAR * period
    return at[1:][clear], np.diff(value)[clear] / period * 1e9


def told(trace: Trace, *, counter: bool) -> tuple[Floats, Floats]:
    """Moments, and the watts that the sensor told then: a counter between its updates, a power at every reading."""
    return updates(trace, counter=True) if counter else (trace.t_ns.astype(np.float64), trace.value)
