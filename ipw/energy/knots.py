"""From raw readings to knots: which readings are good, when the hardware renewed its value, where nothing was read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Floats, Ints, checked
from ipw.energy.belief.believed import Doubt
from ipw.energy.grid import AROUND, on_grid

STATUS_NAMES = ("ok", "permission", "unsupported", "absent", "lost", "impossible values")
IMPOSSIBLE = 5
"""The status of a reading that came, and cannot be true."""
OUTAGE_S, POWER_OUTAGE_S = 1.0, 0.3
"""Failed reads that are made good within this time blur nothing of a counter, which goes on counting, and of a power
the readings beside them stand for them."""
ONE_FAILED = 2.5
"""The same holds for readings that are so many times the usual distance apart: one failed read is between them."""
CLOSEST, BLURRED = 0.02, 5.0
"""A tick bracketed this many times wider than this share of all was not watched."""
LOOKED_FOR_NS = 5e7
"""Of a counter that is seldom read, a change that is bracketed no wider than this (half of it) was looked for."""
Outages = list[tuple[int, int, str]]
"""Last good moment before, first good moment after, and why nothing could be read between them."""


def usable(
    t_ns: npt.ArrayLike,
    value: npt.ArrayLike,
    status: npt.ArrayLike,
    uncertainty_ns: npt.ArrayLike,
    doubt: Doubt | None = None,
    *,
    outage_s: float = OUTAGE_S,
) -> tuple[Ints, Floats, Floats, Outages]:
    """Good readings in order of time, and the outages between them: (last good, next good, status).

    Failures are forgiven for `outage_s`, or for the time of one read where reads are further apart.
    """
    t, values, half, bad_t, bad_codes = sorted_out(t_ns, value, status, uncertainty_ns, doubt)
    usual_ns = (
        float(np.quantile(np.diff(t), 0.75, method="lower")) if t.size > 1 else 0.0
    )  # those around a tick are close together
    limit_ns = max(outage_s * 1e9, ONE_FAILED * usual_ns)
    after = np.searchsorted(t, bad_t)
    outages = []
    for k, code in zip(*_first_of_each(after, bad_codes), strict=True):
        if 0 < k < t.size and t[k] - t[k - 1] > limit_ns:
            outages.append((int(t[k - 1]), int(t[k]), STATUS_NAMES[code] if code < len(STATUS_NAMES) else "lost"))
    return t, values, half, outages


def sorted_out(
    t_ns: npt.ArrayLike,
    value: npt.ArrayLike,
    status: npt.ArrayLike,
    uncertainty_ns: npt.ArrayLike,
    doubt: Doubt | None = None,
) -> tuple[Ints, Floats, Floats, Ints, Ints]:
    """Sort readings by time: moments, values and half-widths of the good ones, each once; moments and status of bad."""
    t = checked(t_ns, "t_ns")
    values, codes = np.asarray(value, np.float64), np.asarray(status, np.int64)
    half = np.asarray(uncertainty_ns, np.float64)
    if not t.shape == values.shape == codes.shape == half.shape or t.ndim != 1:
        raise ValueError("readings come as four arrays of one length")
    order = np.argsort(t, kind="stable")
    t, values, codes, half = t[order], values[order], codes[order], half[order]
    good = (codes == 0) & np.isfinite(values)
    bad_t, bad_codes = t[~good], codes[~good]
    t, values, half = t[good], values[good], half[good]
    first = np.diff(t, prepend=t[:1] - 1) > 0
    t, values, half = t[first], values[first], half[first]
    if doubt is not None and t.size:
        refused = doubt(t, values)
        bad_t = np.concatenate([bad_t, t[refused]])
        bad_codes = np.concatenate([bad_codes, np.full(int(refused.sum()), IMPOSSIBLE)])
        order = np.argsort(bad_t, kind="stable")
        bad_t, bad_codes = bad_t[order], bad_codes[order]
        t, values, half = t[~refused], values[~refused], half[~refused]
    return t, values, half, bad_t, bad_codes


def ticks_of(t: Ints, value: Floats, half: Floats, *, sparse: bool = False) -> tuple[Ints, Floats, Floats]:
    """Moments at which the value changed: middle and half-width of where each must lie, and the new value.

    A change lies between the last read of the old value and the first of the new one. Where some were watched closely,
    the others lie on the grid of those (`ipw.energy.grid`); a `sparse` counter, which was not read between watched
    changes, has no such grid.
    """
    new = np.flatnonzero(np.diff(value) != 0) + 1
    low, high = t[new - 1] - half[new - 1], t[new] + half[new]
    told = np.ones(new.size, bool)
    if new.size > 2:
        err, spacing = (high - low) / 2, np.diff((low + high) / 2)
        sharp = err <= max(BLURRED * float(np.quantile(err, CLOSEST)), 0.05 * float(np.median(spacing)))
        reset = value[new] < value[new - 1]
        known = sharp | (err <= LOOKED_FOR_NS)
        if not sparse:
            low, high, known = _placed(low, high, sharp)
        # a change that is placed nowhere blurs more than it tells: its energy joins that of a known next one, if it can
        told = known | reset | ~np.append(known[1:] & ~reset[1:], False)
    at, err, new = ((low + high) / 2).astype(np.int64)[told], (high - low)[told] / 2, new[told]
    return _increasing(at, value[new], err)


def _placed(low: Floats, high: Floats, sharp: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Narrow the brackets of changes by the grid of the watched ones; and which are known then."""
    watched = np.flatnonzero(sharp)
    if watched.size > 2:  # what was read later was counted within the last period, however long nobody had looked
        period = np.median(np.diff((low + high)[watched] / 2)[-AROUND:] / np.diff(watched)[-AROUND:])
        low = np.where(np.arange(low.size) > watched[-1], np.maximum(low, high - period), low)
    wide = high - low
    low, high = on_grid(low, high, sharp)
    return low, high, sharp | (high - low < wide)


def updates(t: Ints, power: Floats, half: Floats, period_ns: float) -> tuple[Ints, Floats, Floats]:
    """Moments at which a power sensor renewed its value; where equal values hide one, a period before the next."""
    if t.size < 2:
        return t, power, half
    new = np.flatnonzero(np.diff(power) != 0) + 1
    if np.median(np.diff(t)) > 0.6 * period_ns or new.size == 0:  # read no faster than it is renewed: reads are knots
        return t, power, half
    low, high = t[new - 1] - half[new - 1], t[new] + half[new]
    at, err = ((low + high) / 2).astype(np.int64), (high - low) / 2
    early = at - np.int64(period_ns)
    hidden = early > np.concatenate([t[:1], at[:-1]]) + np.int64(0.5 * period_ns)
    times = np.concatenate([t[:1], early[hidden], at, t[-1:]])
    values = np.concatenate([power[:1], power[new - 1][hidden], power[new], power[-1:]])
    errors = np.concatenate([half[:1], err[hidden], err, half[-1:]])
    order = np.argsort(times, kind="stable")
    return _increasing(times[order], values[order], errors[order])


def _first_of_each(keys: Ints, values: Ints) -> tuple[list[int], list[int]]:
    found, at = np.unique(keys, return_index=True)
    return found.tolist(), values[at].tolist()


def _increasing(t: Ints, value: Floats, half: Floats) -> tuple[Ints, Floats, Floats]:
    keep = np.ones(t.size, bool)
    keep[1:] = t[1:] > np.maximum.accumulate(t)[:-1]
    return t[keep], value[keep], half[keep]


def between(t: Ints, start: int, end: int) -> Ints:
    """Indices of the knot intervals that overlap [start, end]."""
    first = max(int(np.searchsorted(t, start, "right")) - 1, 0)
    last = min(int(np.searchsorted(t, end, "left")), t.size - 1)
    return np.arange(first, last)
