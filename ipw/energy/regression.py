"""Least squares with few coefficients, some of which may not be negative, robust to outliers."""

from __future__ import annotations

import numpy as np

from ipw.energy.arrays import MEDIAN_SD, Bools, Floats

ROUNDS = 8
"""Of reweighting, at most."""
SETTLED = 1e-3
"""It ends when no weight changes by more."""
OUTLIER = 3.0
"""Residuals beyond this many standard deviations weigh less (Huber)."""
ROUNDING = 1e-12
"""Parts of a whole that are as good as nothing."""
BLOCK = 512
"""Rows that are factored at once: few enough for the processor's cache, and for one thread."""


def triangle(rows: Floats) -> Floats:
    """Triangular factor `[…, d, d]` of tall matrices `[…, n, d]`, from the factors of their blocks."""
    *side, n, d = rows.shape
    while n > 2 * BLOCK:
        blocks = -(-n // BLOCK)
        padded = np.zeros((*side, blocks * BLOCK, d))
        padded[..., :n, :] = rows
        rows = np.asarray(np.linalg.qr(padded.reshape(*side, blocks, BLOCK, d), mode="r"))
        n = blocks * d
        rows = rows.reshape(*side, n, d)
    return np.asarray(np.linalg.qr(rows, mode="r"))


def nonnegative(a: Floats, b: Floats, held: Bools) -> Floats:
    """Minimiser of `|a·x - b|`, the `held` entries of `x` 0 or more (Lawson and Hanson's active set)."""
    length = np.maximum(np.sqrt((a**2).sum(0)), 1e-300)
    unit, active, x = a / length, ~held, np.zeros(a.shape[1])
    for _ in range(3 * x.size):
        best = _on(active, unit, b)
        while np.any(below := active & held & (best <= 0)):  # go towards it until the first would turn negative
            x += (best - x) * np.min(x[below] / np.maximum(x[below] - best[below], 1e-300))
            active &= ~held | (x > ROUNDING * np.abs(x).max())
            x[~active] = 0.0
            best = _on(active, unit, b)
        x = best
        gain = np.where(active, 0.0, unit.T @ (b - unit @ x))
        if gain.max(initial=0.0) <= ROUNDING * float(np.linalg.norm(b)):
            break
        active[np.argmax(gain)] = True
    scaled: Floats = x / length
    return scaled


def _on(active: Bools, a: Floats, b: Floats) -> Floats:
    """Least squares with the active columns alone."""
    x = np.zeros(a.shape[1])
    x[active] = np.linalg.lstsq(a[:, active], b, rcond=1e-14)[0]
    return x


def regress(columns: Floats, values: Floats, held: Bools, prior_sd: Floats) -> tuple[Floats, Floats]:
    """Coefficients of `columns` `[d, n]` for `values` of unit variance, and their covariance.

    The `held` coefficients are not negative, and `prior_sd` is their standard deviation around a common value, that of
    the others around 0: what keeps noise from telling apart columns that always come together. Works on the triangular
    factor and not on squares, so that a weak prior still counts beside precise readings.
    """
    weight = np.ones(values.size)
    together = np.vstack([columns, values]).T
    for _ in range(ROUNDS):
        factor = triangle(together * np.sqrt(weight)[:, None])
        a, b = factor[:, :-1], factor[:, -1]
        usual = a[:, held].sum(1)
        power = float(usual @ usual)
        common = max(float(usual @ b) / power, 0.0) if power > 0 else 0.0
        a = np.vstack([a, np.diag(1 / prior_sd)])
        x = nonnegative(a, np.concatenate([b, np.where(held, common, 0.0) / prior_sd]), held)
        residual = np.abs(values - x @ columns)
        scale = max(MEDIAN_SD * float(np.median(residual)) if residual.size else 0.0, 1e-12)
        before, weight = weight, np.minimum(1.0, OUTLIER * scale / np.maximum(residual, 1e-300))
        if np.abs(weight - before).max(initial=0.0) <= SETTLED:
            break
    inverse = np.linalg.pinv(a)
    return x, inverse @ inverse.T
