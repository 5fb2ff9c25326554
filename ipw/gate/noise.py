"""How noisy a runner is, from pairs in which both arms are the same; and the smallest change that a gate could see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipw.gate.pairs import ASSUMED_START_SD, CALIBRATION_DF, without_spikes
from ipw.gate.verdict import GateError, Numbers
from ipw.metrics.distributions import chi2_quantile, t_quantile
from ipw.metrics.stats import Array

BOUND = 0.2
"""The true spread between starts lies above its upper bound this seldom."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of the log of one metric, in one arm. `None` where there was nothing to learn them from."""

    repetition_sd: float | None
    """From one pair to the next, within a start."""
    start_sd: float | None
    """From start to start, over what the repetitions explain."""
    start_sd_high: float | None
    """Upper bound of 80 % on it, never 0: what a gate takes as `start_sd`."""
    job_sd: float | None
    """From job to job, over what the starts explain, in what pairs cannot cancel."""
    pairs: int
    starts: int
    jobs: int


def noise(
    log_ratio: Numbers, start: Sequence[int] | npt.NDArray[np.int64], job: Sequence[int] | npt.NDArray[np.int64]
) -> Noise:
    """Split the spread of A/A pairs by level: repetition in start in job (nested analysis of variance).

    `log_ratio` as for `judge`; `start` and `job` are indices, and a start belongs to one job. Each arm is taken to
    have half the variance of the ratio. Single spikes are pulled back as `judge` does. Raises GateError for lengths
    that differ, nothing at all or no numbers.
    """
    ratios = np.asarray(log_ratio, np.float64)
    labels = np.stack([np.asarray(job), np.asarray(start)]) if len(start) == len(job) == len(ratios) else None
    if labels is None or ratios.ndim != 1 or ratios.size == 0:
        raise GateError("noise needs one log-ratio, one start and one job a pair")
    if not np.isfinite(ratios).all():
        raise GateError("a log-ratio is not a finite number", "was a metric 0, negative or absent in one arm?")
    keys, codes = np.unique(labels, axis=1, return_inverse=True)
    members = without_spikes([ratios[codes.ravel() == each] for each in range(keys.shape[1])], 0.0)[1]
    sizes = np.array([len(each) for each in members], np.float64)
    means = np.array([each.mean() for each in members])
    jobs = [means[keys[0] == each] for each in np.unique(keys[0])]
    repetition = _pooled_variance(members)
    between_df = len(means) - len(jobs)
    between = _pooled_variance(jobs)
    start_variance = high = None
    if between is not None and repetition is not None:
        per_start = repetition * float(np.mean(1 / sizes))
        start_variance = max(between - per_start, 0.0)
        upper = between * between_df / chi2_quantile(1 - BOUND, between_df) - per_start
        high = math.sqrt(max(upper, between / 100, 1e-12) / 2)
    job_variance = None
    if between is not None and len(jobs) > 1:
        of_jobs = float(np.var([each.mean() for each in jobs], ddof=1))
        job_variance = max(of_jobs - between * float(np.mean([1 / len(each) for each in jobs])), 0.0)
    return Noise(_sd(repetition), _sd(start_variance), high, _sd(job_variance), len(ratios), len(means), len(jobs))


def smallest_effect(
    found: Noise, *, pairs: int, starts: int, margin: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Give the smallest true harm, a fraction, that so many pairs in so many starts call `regressed` with `power`.

    With `margin=0` it is also the smallest margin at which no change at all is called `ok` with `power`. Where starts
    could not be calibrated, 0.5 % is assumed between them. Raises GateError where repetitions were not calibrated.
    """
    if found.repetition_sd is None:
        raise GateError("the calibration has fewer than two pairs a start", "run `ipw calibrate` with more pairs")
    between = 2 * (found.start_sd_high or ASSUMED_START_SD) ** 2 / starts
    within = 2 * found.repetition_sd**2 / pairs
    total = between + within
    df = total**2 / (within**2 / max(pairs - starts, 1) + between**2 / CALIBRATION_DF) + starts - 1
    reach = (t_quantile(alpha, df) + t_quantile(1 - power, df)) * math.sqrt(total)
    return math.expm1(math.log1p(margin) + reach)


def _pooled_variance(groups: Sequence[Array]) -> float | None:
    df = sum(len(each) - 1 for each in groups)
    return sum(float(((each - each.mean()) ** 2).sum()) for each in groups) / df if df else None


def _sd(variance_of_ratio: float | None) -> float | None:
    return None if variance_of_ratio is None else math.sqrt(variance_of_ratio / 2)
