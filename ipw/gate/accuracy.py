"""The verdict on accuracy: the same questions asked of both, judged question by question."""

from __future__ import annotations

import math

import numpy as np

from ipw.gate.verdict import Answer, GateError, Numbers, Verdict, check_alpha, further_pairs
from ipw.metrics.distributions import coin_survival
from ipw.metrics.paired_scores import difference_bounds, is_binary, upper_normal
from ipw.metrics.stats import Array

FLIPS = 9_999
SEED = 9


def judge_accuracy(
    base_scores: Numbers, candidate_scores: Numbers, *, margin_points: float, alpha: float = 0.05
) -> Verdict:
    """Judge the scores (0 to 1) of the same items, in the same order, against a margin in percentage points.

    Only items whose two scores differ tell anything, so the test is exact on those: for right and wrong McNemar's, one
    coin an item; for other scores the signs of the differences are flipped at random. The verdict is

    - `ok` where a loss of `margin_points` is ruled out: the upper bound of the loss is below it;
    - `regressed` where a loss is shown and one of `margin_points` cannot be ruled out;
    - else `inconclusive`.

    So a loss that is real and surely smaller than the margin passes. `estimate`, `low` and `high` are candidate less
    base as a fraction; the bounds are Tango's (1998) score bounds for right and wrong, Student's for other scores.
    """
    base, candidate = _checked(base_scores, candidate_scores, margin_points, alpha)
    gain = candidate - base
    n, margin = len(gain), margin_points / 100
    low, high = difference_bounds(gain, alpha)
    p_loss = _mcnemar(gain) if is_binary(gain) else _sign_flips(gain)
    verdict: Answer = "ok" if -low < margin else "regressed" if p_loss < alpha else "inconclusive"
    mean = float(gain.mean())
    further = reason = None
    if verdict == "inconclusive":
        half = mean - low
        further = further_pairs((margin + mean) / half if half else 0.0, 1.0, n)
        reason = "no loss is shown, and one of the margin is not ruled out; more items would tell"
    p_ok = 0.5 * math.erfc((margin + mean) * upper_normal(alpha) / (mean - low) / math.sqrt(2)) if mean > low else 1.0
    return Verdict(verdict, mean, low, high, further, reason, p_loss, p_ok, n, None)


def _mcnemar(gain: Array) -> float:
    """Probability of at least so many losses among the items that differ if losses and gains were as likely."""
    lost, differ = int((gain < 0).sum()), int((gain != 0).sum())
    return coin_survival(lost, differ)


def _sign_flips(gain: Array) -> float:
    """Probability, by seeded random flips of the signs, of a mean as low as this one."""
    differ = gain[gain != 0]
    rng = np.random.default_rng(SEED)
    least, as_low = float(differ.sum()) + 1e-12, 0
    for first in range(0, FLIPS, 333):
        signs = rng.integers(2, size=(min(333, FLIPS - first), len(differ)), dtype=np.int8) * 2 - 1
        as_low += int((signs @ differ <= least).sum())
    return (1 + as_low) / (1 + FLIPS)


def _checked(
    base_scores: Numbers, candidate_scores: Numbers, margin_points: float, alpha: float
) -> tuple[Array, Array]:
    try:
        base, candidate = np.asarray(base_scores, np.float64), np.asarray(candidate_scores, np.float64)
    except (TypeError, ValueError):
        raise GateError("scores must be numbers") from None
    if base.ndim != 1 or base.shape != candidate.shape:
        raise GateError(f"{base.size} and {candidate.size} scores: the same items must be asked of both")
    if base.size == 0:
        raise GateError("there are no items to judge")
    both = np.concatenate([base, candidate])
    if not ((both >= 0) & (both <= 1)).all():
        raise GateError("a score is not between 0 and 1")
    if not (math.isfinite(margin_points) and margin_points > 0):
        raise GateError(f"margin {margin_points} must be above 0 points", "1.0 tolerates one percentage point")
    check_alpha(alpha)
    return base, candidate
