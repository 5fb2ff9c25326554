"""Least squares with few coefficients, some of which may not be negative, robust to outliers."""

from __future__ import annotations

import numpy as np

from ipw.energy.arrays import Bools, Floats

ROUNDS = 8
"""Of reweighting; the weights settle in fewer."""
OUTLIER = 3.0
"""Residuals beyond this many standard deviations weigh less (Huber)."""


def nonnegative(gram: Floats, target: Floats, held: Bools) -> Floats:
    """Minimiser of `x·gram·x/2 - target·x`, the `held` entries of `x` kept at 0 or above by dropping the lowest."""
    active = np.ones(target.size, bool)
    while True:
        x = np.zeros(target.size)
        x[active] = np.linalg.lstsq(gram[np.ix_(active, active)], target[active], rcond=1e-13)[0]
        below = np.where(held, x, 0.0)
        if below.min(initial=0.0) >= 0:
            return x
        active[np.argmin(below)] = False


def regress(columns: Floats, values: Floats, held: Bools, prior_sd: Floats) -> tuple[Floats, Floats]:
    """Coefficients of `columns` `[d, n]` for `values` of unit variance, and their covariance.

    The `held` coefficients are not negative, and `prior_sd` is their standard deviation around a common value, that of
    the others around 0: what keeps noise from telling apart columns that always come together.
    """
    weight = np.ones(values.size)
    together = columns[held].sum(0)
    precision = 1 / prior_sd**2
    for _ in range(ROUNDS):
        weighted = columns * weight
        power = float(together * weight @ together)
        common = max(float(together * weight @ values) / power, 0.0) if power > 0 else 0.0
        gram = weighted @ columns.T + np.diag(precision)
        x = nonnegative(gram, weighted @ values + np.where(held, common, 0.0) * precision, held)
        residual = np.abs(values - x @ columns)
        scale = max(1.4826 * float(np.median(residual)) if residual.size else 0.0, 1e-12)
        weight = np.minimum(1.0, OUTLIER * scale / np.maximum(residual, 1e-300))
    return x, np.asarray(np.linalg.pinv(gram, hermitian=True), np.float64)
