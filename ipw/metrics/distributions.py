"""Tails of Student's t, of F and of the binomial, all by one incomplete beta function: what the gate's tests need."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

LARGEST_DF = 1000
"""Beyond, Student's t is taken as for so many degrees of freedom: the difference is in the fourth digit."""
_TINY = 1e-300


def beta_cdf(x: float, a: float, b: float) -> float:
    """Give the regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    fraction, c, d = 1.0, 1.0, 0.0
    for step in range(1, 10_000):
        m = step // 2
        if step == 1:
            term = 1.0
        elif step % 2:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        d = 1 / ((1 + term * d) or _TINY)
        c = (1 + term / c) or _TINY
        fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return math.exp(log_front) * (fraction - 1) / a


def t_survival(t: float, df: float) -> float:
    """Probability that Student's t exceeds `t`; `df` may be a fraction, or infinite for the normal."""
    if math.isinf(t) or math.isinf(df):
        return 0.5 * math.erfc(t / math.sqrt(2))
    tail = 0.5 * beta_cdf(df / (df + t * t), df / 2, 0.5)
    return tail if t >= 0 else 1 - tail


def t_quantile(tail: float, df: float) -> float:
    """Student's t that is exceeded with probability `tail`, for the whole degrees of freedom in `df`, at least one."""
    if math.isinf(df):
        return -NormalDist().inv_cdf(tail)
    return _t_quantile(tail, max(1, min(int(df), LARGEST_DF)))


@lru_cache(maxsize=4096)
def _t_quantile(tail: float, df: int) -> float:
    if tail > 0.5:
        return -_t_quantile(1 - tail, df)
    low, high = 0.0, 1.0
    while t_survival(high, df) > tail:
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_survival(middle, df) > tail else (low, middle)
    return high


def f_survival(f: float, df_above: float, df_below: float) -> float:
    """Probability that F with these degrees of freedom exceeds `f`."""
    return beta_cdf(df_below / (df_below + df_above * f), df_below / 2, df_above / 2)


def coin_survival(heads: int, tosses: int) -> float:
    """Probability of at least `heads` in so many tosses of a fair coin."""
    return 1.0 if heads <= 0 else 0.0 if heads > tosses else beta_cdf(0.5, heads, tosses - heads + 1)


def chi2_quantile(tail: float, df: float) -> float:
    """Chi-squared that is exceeded with probability `tail`, within 1 % from three degrees of freedom on.

    Wilson and Hilferty 1931; coarser below.
    """
    z = -NormalDist().inv_cdf(tail)
    return df * max(1 - 2 / (9 * df) + z * math.sqrt(2 / (9 * df)), 0.0) ** 3
