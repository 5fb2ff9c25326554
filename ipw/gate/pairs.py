"""What pairs of one session say together: an estimate, and how far it may be off, from pair, start and calibration."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.metrics.distributions import f_survival
from ipw.metrics.stats import Array

Indices = npt.NDArray[np.int64]

ASSUMED_START_SD = 0.005
"""Taken where no calibration tells how far apart two starts of the same server lie: a few starts cannot show it."""
CALIBRATION_DF = 8.0
"""How much a calibrated spread is trusted: as one that was estimated from nine starts."""
SPIKE = 4.0
"""A pair so many standard deviations from the others of its start is left out: a hiccup, not the candidate."""
SURPRISE = 0.01
"""Where starts lie apart so far as calibration would allow this seldom, the calibration is set aside."""


class RatioEstimate(NamedTuple):
    """Mean log-ratio of a session, and its standard error."""

    mean: float
    standard_error: float
    df: float


def estimate(log_ratio: Array, start: Indices, start_sd: float) -> RatioEstimate:
    """Estimate the mean of pairs within starts (counted from 0), at least two pairs.

    A pair is the mean plus what its two servers' starts brought (variance τ² = 2 `start_sd`², since either arm was
    started) plus its own noise (σ²). Starts are weighted by 1 / (τ² + σ²/pairs). The variance of the mean comes from
    two sources: τ² as calibrated with σ² from within the starts, and the spread of the starts' means (Hartung and
    Knapp 2001). They are pooled by their degrees of freedom (Satterthwaite; as Smyth 2004 moderates variances), never
    below the first; where they contradict each other the second stands alone, with its few degrees of freedom.
    """
    tau2 = 2 * start_sd**2
    members = [log_ratio[start == each] for each in range(int(start.max()) + 1)]
    kept, tamed = without_spikes(members, math.sqrt(tau2))
    sizes = np.array([each.size for each in kept], np.float64)
    means = np.array([each.mean() for each in kept])
    between_df = len(kept) - 1
    within_df = float(sizes.sum()) - len(kept)
    if within_df < max(between_df, 1):  # too little within starts to tell a pair's noise from a start's
        variance = _squares(np.array([each.mean() for each in tamed])) / max(between_df, 1) / len(means)
        return RatioEstimate(float(means.mean()), math.sqrt(max(variance, tau2 / len(means))), between_df)
    noise = sum(map(_squares, tamed)) / within_df / sizes
    weights = 1 / (tau2 + noise)
    expected = 1 / float(weights.sum())
    mean = float(weights @ means) * expected
    from_pairs = float(weights**2 @ noise) * expected**2
    df = expected**2 / (from_pairs**2 / within_df + (expected - from_pairs) ** 2 / CALIBRATION_DF)
    if between_df == 0:
        return RatioEstimate(mean, math.sqrt(expected), df)
    spread = float(weights @ (means - mean) ** 2)
    if spread > between_df and f_survival(spread / between_df, between_df, df) < SURPRISE:
        return RatioEstimate(mean, math.sqrt(expected * spread / between_df), between_df)
    pooled = max(1.0, (df + spread) / (df + between_df))
    return RatioEstimate(mean, math.sqrt(expected * pooled), df + between_df)


def without_spikes(members: list[Array], least: float) -> tuple[list[Array], list[Array]]:
    """Leave out pairs that stand far from the other pairs of their start; starts of which nothing is left go too.

    Also returned are all starts with all pairs, the odd ones pulled back to the farthest that was kept: their spread
    is what a mean of the kept ones has to be judged by (Yuen 1974). Where a start has fewer than three pairs, none of
    them can be told to be the odd one, and all starts are taken together. The scale is the median distance from the
    medians, without the one distance a start that is zero by construction; it is at least `least`.
    """
    together = min(each.size for each in members) < 3
    parts = [np.concatenate(members)] if together else members
    centres = [_median(np.sort(part)) for part in parts]
    distances = [np.abs(part - centre) for part, centre in zip(parts, centres, strict=True)]
    reach = SPIKE * max(1.4826 * _median(np.sort(np.concatenate(distances))[len(parts) :]), least)
    near = [part[distance <= reach] for part, distance in zip(parts, distances, strict=True)]
    ends = [(part.min(), part.max()) if part.size else (-math.inf, math.inf) for part in near]
    tamed = [np.clip(each, *end) for each, end in zip(members, ends * len(members) if together else ends, strict=False)]
    kept = [each[each == pulled] for each, pulled in zip(members, tamed, strict=True)] if together else near
    return [each for each in kept if each.size], tamed


def _median(ordered: Array) -> float:
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _squares(values: Array) -> float:
    """Sum of squared deviations from the mean."""
    return float(((values - values.mean()) ** 2).sum())
