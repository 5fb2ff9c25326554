"""A two-state linear Gaussian chain, filtered and smoothed exactly in time linear in its length, without a Python loop.

The state is (c, r): by how many joules the energy drawn so far, and by how many watts the power now, depart from the
model. The filter and the smoother are written as associative products of their steps (Särkkä and García-Fernández,
"Temporal parallelization of Bayesian smoothers", IEEE TAC 2021), so that neighbours combine pairwise in numpy.
Matrices of all steps stand in one array whose last axis is the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Floats, Ints

Element = tuple[Floats, ...]
CHUNK = 1 << 14
"""Steps that are combined at once, so that they stay in the processor's cache. The result does not depend on it."""


@dataclass(frozen=True, slots=True)
class Steps:
    """From event to event: first the power's departure changes, then it runs for a while, then there may be a knot.

    The last axis has length n - 1 for n events, but n for `knot_var`. An axis before it is of chains run side by side.
    """

    seconds: Floats
    keep: Floats
    """Factor on the departure of power at the start of the step: 1 if the same things go on, 0 if all are new."""
    fresh_var: Floats
    """W²: variance that the departure of power takes up anew."""
    drift_var: Floats
    """J²: variance of the energy over the step beside that."""
    knot_var: Floats
    """J²: variance of the energy observed at each event; infinite where there is no knot. The first event is one."""


@dataclass(frozen=True, slots=True)
class Smoothed:
    """Departure of cumulative energy at each event, given all observations."""

    mean: Floats
    """`[columns, events]`, one column for each series of observations."""
    innovations: Floats
    """`[columns, events]`: what each observation adds, in units of its standard deviation; 0 where there is none."""
    gain: Floats
    """`[2, 2, events - 1]`, of the smoother."""
    cov: Floats
    """`[2, 2, events]`, of both states."""

    @property
    def variance(self) -> Floats:
        """Of the energy departure at each event, J²."""
        variance: Floats = self.cov[0, 0]
        return variance

    def covariance(self, first: Ints, last: Ints) -> Floats:
        """Covariance of the energy departures at pairs of events, `first` <= `last`, by doubling steps."""
        row = np.zeros((1, 2, first.size))
        row[0, 0] = 1.0
        at, ahead, jump = first.copy(), last - first, self.gain
        while ahead.any():
            odd = np.flatnonzero(ahead & 1)
            stride = self.gain.shape[2] - jump.shape[2] + 1
            row[:, :, odd] = _times(row[:, :, odd], jump[:, :, at[odd]])
            at[odd] += stride
            ahead = ahead >> 1
            if ahead.any():
                jump = _times(jump[:, :, :-stride], jump[:, :, stride:])
        covariance: Floats = _times(row, self.cov[:, :, last])[0, 0]
        return covariance


@dataclass(frozen=True, slots=True)
class Filtered:
    """States at each event given the observations up to it, and what each observation added."""

    mean: Floats
    """`[2, columns, events]`."""
    cov: Floats
    """`[2, 2, events]`."""
    innovations: Floats
    """`[columns, events]`: surprise in units of its standard deviation; 0 where nothing is observed."""


def filtered(steps: Steps, observed: Floats) -> Filtered:
    """Filter one chain forward. `observed` is `[columns, events]`; events without a knot are not looked at.

    All columns share one covariance. At the first event the energy is known as well as its knot is.
    """
    columns, n = observed.shape
    mean, cov, innovations = np.zeros((2, columns, n)), np.zeros((2, 2, n)), np.zeros((columns, n))
    mean[0, :, 0], cov[0, 0, 0] = observed[:, 0], steps.knot_var[0]
    for start in range(0, n - 1, CHUNK):
        part = slice(start, min(start + CHUNK, n - 1))
        ends = slice(part.start + 1, part.stop + 1)
        f, q = _dynamics(steps, part)
        r = steps.knot_var[ends]
        seen = np.isfinite(r)
        z = np.where(seen, observed[:, ends], 0.0)
        _, mean[..., ends], cov[..., ends], _, _ = _scan(
            _combine_filter, _filter_elements(f, q, r, z, mean[..., start], cov[..., start])
        )
        ahead = _times(_times(f, cov[..., part]), _turned(f))[0, 0] + q[0, 0]
        scale = np.sqrt(np.where(seen, ahead + r, 1.0))
        innovations[:, ends] = np.where(seen, (z - _times(f, mean[..., part])[0]) / scale, 0.0)
    return Filtered(mean, cov, innovations)


def innovations(steps: Steps, observed: Floats) -> tuple[Floats, Floats]:
    """Filter many short chains `[chains, steps]` side by side, which all see `observed` `[columns, events]`.

    Returns what each observation but the first adds, `[columns, chains, observations]`, in units of its standard
    deviation, and the sum of the logarithms of those, `[chains]`.
    """
    keep, fresh, drift = (np.ascontiguousarray(x.T) for x in (steps.keep, steps.fresh_var, steps.drift_var))
    kept_var, knot_var = keep**2, steps.knot_var.T
    seconds, knots = steps.seconds[0].tolist(), np.isfinite(steps.knot_var[0]).tolist()
    columns, chains = observed.shape[0], keep.shape[1]
    surprises, scales = np.empty((sum(knots[1:]), columns, chains)), np.empty((sum(knots[1:]), chains))
    energy = np.repeat(observed[:, :1], chains, axis=1)
    state = np.zeros((columns + 1, chains))  # what changes alike: the power of each column, and …
    power, cross = state[:-1], state[-1]
    var, power_var = knot_var[0].copy(), np.zeros(chains)
    push_w, cross_w, grown_w = np.empty_like(energy), np.empty(chains), np.empty(chains)
    seen = 0
    for k, h in enumerate(seconds):
        state *= keep[k]
        power_var *= kept_var[k]
        power_var += fresh[k]
        energy += np.multiply(power, h, out=push_w)
        np.multiply(power_var, h, out=grown_w)
        np.multiply(cross, 2, out=cross_w)
        cross_w += grown_w
        cross_w *= h
        cross_w += drift[k]
        var += cross_w
        cross += grown_w
        if knots[k + 1]:
            total = var + knot_var[k + 1]
            scale, surprise = np.sqrt(total, out=scales[seen]), surprises[seen]
            gain, push = var / total, cross / total
            np.subtract(observed[:, k + 1, None], energy, out=surprise)
            energy += np.multiply(surprise, gain, out=push_w)
            power += np.multiply(surprise, push, out=push_w)
            surprise /= scale
            power_var -= push * cross
            left = 1 - gain
            cross *= left
            var *= left
            seen += 1
    return surprises.transpose(1, 2, 0), np.log(scales).sum(0)


def smooth(steps: Steps, observed: Floats) -> Smoothed:
    """Filter one chain forward, as `filtered` does, and smooth it backward."""
    forward = filtered(steps, observed)
    mean, cov = forward.mean, forward.cov
    n = cov.shape[-1]
    gain = np.empty((2, 2, n - 1))
    for stop in range(n - 1, 0, -CHUNK):
        part = slice(max(stop - CHUNK, 0), stop)
        (f, q), m, p = _dynamics(steps, part), mean[..., part], cov[..., part]
        ahead = _times(f, p)
        g = gain[..., part] = _times(_turned(ahead), _inverse(_times(ahead, _turned(f)) + q))
        elements = (g, m - _times(g, _times(f, m)), p - _times(g, ahead))
        product, shift, extra = (e[..., ::-1] for e in _scan(_combine_smoother, tuple(e[..., ::-1] for e in elements)))
        mean[..., part] = _times(product, mean[..., stop, None]) + shift
        cov[..., part] = _times(_times(product, cov[..., stop, None]), _turned(product)) + extra
    return Smoothed(mean[0].copy(), forward.innovations, gain, cov)


def _dynamics(steps: Steps, part: slice) -> tuple[Floats, Floats]:
    """Transition and noise of each step, `[2, 2, …, steps]`."""
    seconds, keep, fresh = steps.seconds[..., part], steps.keep[..., part], steps.fresh_var[..., part]
    transition = np.zeros((2, 2, *seconds.shape))
    transition[0, 0] = 1.0
    transition[0, 1] = keep * seconds
    transition[1, 1] = keep
    noise = np.empty((2, 2, *seconds.shape))
    noise[0, 0] = fresh * seconds**2 + steps.drift_var[..., part]
    noise[0, 1] = noise[1, 0] = fresh * seconds
    noise[1, 1] = fresh
    return transition, noise


def _filter_elements(
    transition: Floats, noise: Floats, knot_var: Floats, values: Floats, mean: Floats, cov: Floats
) -> Element:
    """Steps as elements (A, b, C, η, J) of the filter's product; the first starts from what is known before it."""
    known = 1.0 / (noise[0, 0] + knot_var)  # 0 where there is no knot
    push = noise[:, 0] * known  # the Kalman gain from the step's own noise
    row = transition[0]
    a = transition - push[:, None] * row
    b = push[:, None] * values
    c = noise - push[:, None] * noise[0]
    eta = (row * known)[:, None] * values
    j = row[:, None] * row * known
    step = transition[..., 0]
    predicted = _times(_times(step, cov), _turned(step)) + noise[..., 0]
    expected = _times(step, mean)
    first = predicted[:, 0] / (predicted[0, 0] + knot_var[..., 0])
    a[..., 0], eta[..., 0], j[..., 0] = 0.0, 0.0, 0.0
    b[..., 0] = expected + first[:, None] * (values[..., 0] - expected[0])
    c[..., 0] = predicted - first[:, None] * predicted[0]
    return a, b, c, eta, j


def _combine_filter(x: Element, y: Element) -> Element:
    a1, b1, c1, eta1, j1 = x
    a2, b2, c2, eta2, j2 = y
    middle = _times(c1, j2)
    middle[0, 0] += 1.0
    middle[1, 1] += 1.0
    middle = _inverse(middle)
    left = _times(a2, middle)
    right = _turned(_times(middle, a1))
    return (
        _times(left, a1),
        _times(left, b1 + _times(c1, eta2)) + b2,
        _times(_times(left, c1), _turned(a2)) + c2,
        _times(right, eta2 - _times(j2, b1)) + eta1,
        _times(_times(right, j2), a1) + j1,
    )


def _combine_smoother(x: Element, y: Element) -> Element:
    """Product of a later step `x` and an earlier one `y`, which is applied to what the later gives."""
    gain1, shift1, rest1 = x
    gain2, shift2, rest2 = y
    return (
        _times(gain2, gain1),
        _times(gain2, shift1) + shift2,
        _times(_times(gain2, rest1), _turned(gain2)) + rest2,
    )


def _scan(combine: Callable[[Element, Element], Element], elements: Element) -> Element:
    """Products of all prefixes under an associative operation."""
    n = elements[0].shape[-1]
    if n == 1:
        return elements
    odd = _scan(combine, combine(tuple(e[..., 0 : n - 1 : 2] for e in elements), tuple(e[..., 1::2] for e in elements)))
    even = combine(tuple(e[..., : (n - 1) // 2] for e in odd), tuple(e[..., 2::2] for e in elements))
    result = tuple(np.empty_like(e) for e in elements)
    for out, e, o, v in zip(result, elements, odd, even, strict=True):
        out[..., 0] = e[..., 0]
        out[..., 1::2] = o
        out[..., 2::2] = v
    return result


def _times(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Floats:
    """Matrix product over an inner dimension of two."""
    first: Floats = a[:, 0, None] * b[0]
    first += a[:, 1, None] * b[1]
    return first


def _turned(a: Floats) -> Floats:
    """Transpose of each matrix."""
    return np.swapaxes(a, 0, 1)


def _inverse(m: Floats) -> Floats:
    """Of 2 x 2 matrices."""
    out = np.empty_like(m)
    out[0, 0], out[1, 1] = m[1, 1], m[0, 0]
    out[0, 1], out[1, 0] = -m[0, 1], -m[1, 0]
    out /= m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    return out
