"""The verdict on one metric: is the candidate worse than the base by more than a margin?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.gate.pairs import ASSUMED_START_SD, estimate
from ipw.metrics.distributions import t_quantile, t_survival
from ipw.metrics.stats import Array

Answer = Literal["ok", "regressed", "inconclusive"]
Harm = Literal["higher", "lower"]
Numbers = Sequence[float] | Array
MOST_PAIRS = 1000
"""More further pairs than this are no advice."""


class GateError(UsageError, ValueError):
    """What is to be judged cannot be: nothing there, not numbers, lengths that differ, a margin that is none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the pairs of one metric say."""

    verdict: Answer
    """`regressed`: harm beyond the margin is shown. `ok`: harm of the margin is ruled out. Else `inconclusive`."""
    estimate: float
    """Log of candidate over base (accuracy: candidate less base)."""
    low: float | None
    """One-sided bound of 1 - alpha on the estimate; so is `high`. `None` where one pair shows no spread."""
    high: float | None
    pairs_needed: int | None
    """Further pairs, in fresh starts of as many pairs each, that would decide if the estimate stays; `None` where it
    is decided, or where no number within reach would decide (`reason` says so)."""
    reason: str | None
    p_regressed: float
    """Of the one-sided test that harm is at most the margin."""
    p_ok: float
    """Of the one-sided test that harm is at least the margin."""
    n: int
    """Pairs; items where it is about accuracy."""
    df: int | None
    """Degrees of freedom of Student's t behind the bounds; `None` where there is no t."""


def judge(
    log_ratio: Numbers,
    start: Sequence[int] | npt.NDArray[np.int64],
    *,
    margin: float,
    harm: Harm = "higher",
    start_sd: float = 0.0,
    alpha: float = 0.05,
) -> Verdict:
    """Judge the pairs of one session against a margin.

    `log_ratio` is log(candidate/base), one a pair; `start` the index of the server start that the pair's arms came
    from; `margin` the harm that is tolerated, as a fraction: with `harm="higher"` the candidate may be up to
    (1 + margin) times the base, with `"lower"` the base up to (1 + margin) times the candidate. `start_sd` is the
    calibrated spread between starts of one arm, as a log; at 0 it is not known, and 0.5 % is assumed. `alpha` bounds
    the probability of either wrong call, that of `regressed` at the margin and that of `ok` at the margin.

    Raises GateError (a UsageError and a ValueError) for what cannot be judged.
    """
    ratios, starts = _checked(log_ratio, start, margin, harm, start_sd, alpha)
    worse = 1.0 if harm == "higher" else -1.0
    if len(ratios) == 1:
        alone = "one pair shows no spread; run more"
        return Verdict("inconclusive", float(ratios[0]), None, None, None, alone, 1.0, 1.0, 1, None)
    found = estimate(ratios, starts, start_sd or ASSUMED_START_SD)
    df = max(1, int(found.df))
    needed = t_quantile(alpha, df)
    t = (worse * found.mean - math.log1p(margin)) / found.standard_error
    verdict: Answer = "regressed" if t > needed else "ok" if t < -needed else "inconclusive"
    p = t_survival(abs(t), df)
    further = further_pairs(abs(t), needed, len(ratios)) if verdict == "inconclusive" else None
    return Verdict(
        verdict=verdict,
        estimate=found.mean,
        low=found.mean - needed * found.standard_error,
        high=found.mean + needed * found.standard_error,
        pairs_needed=further,
        reason=_reason(further, int(starts.max()) + 1, start_sd) if verdict == "inconclusive" else None,
        p_regressed=p if t > 0 else 1 - p,
        p_ok=1 - p if t > 0 else p,
        n=len(ratios),
        df=df,
    )


def further_pairs(t: float, needed: float, pairs: int) -> int | None:
    """How many more pairs bring a t of `t` to `needed` if the estimate and the spread stay; `None` for too many."""
    more = math.inf if t <= 0 else math.ceil(pairs * ((needed / t) ** 2 - 1))
    return max(1, int(more)) if more <= MOST_PAIRS else None


def _reason(further: int | None, starts: int, start_sd: float) -> str:
    if further is None:
        return f"too close to the margin: more than {MOST_PAIRS} further pairs would be needed"
    fresh = "; all pairs are from one start, the further ones must come from fresh starts" if starts == 1 else ""
    guessed = "" if start_sd else "; the spread between starts is not calibrated, 0.5 % is assumed"
    return f"about {further} further pairs would decide{fresh}{guessed}"


def _checked(
    log_ratio: Numbers, start: object, margin: float, harm: str, start_sd: float, alpha: float
) -> tuple[Array, npt.NDArray[np.int64]]:
    try:
        ratios, starts = np.asarray(log_ratio, np.float64), np.asarray(start)
    except (TypeError, ValueError):
        raise GateError("log-ratios must be numbers") from None
    if ratios.ndim != 1 or ratios.shape != starts.shape:
        raise GateError(f"{ratios.size} log-ratios and {starts.size} starts: one of each belongs to a pair")
    if ratios.size == 0:
        raise GateError("there are no pairs to judge")
    if not np.isfinite(ratios).all():
        raise GateError("a log-ratio is not a finite number", "was a metric 0, negative or absent in one arm?")
    if not (math.isfinite(margin) and margin > 0):
        raise GateError(f"margin {margin} must be a fraction above 0", "0.02 tolerates 2 %")
    if harm not in {"higher", "lower"}:
        raise GateError(f"harm {harm!r} is neither 'higher' nor 'lower'")
    if not (math.isfinite(start_sd) and start_sd >= 0):
        raise GateError(f"start_sd {start_sd} must be at least 0", "it is a standard deviation of logs")
    check_alpha(alpha)
    return ratios, np.unique(starts, return_inverse=True)[1].astype(np.int64)


def check_alpha(alpha: float) -> None:
    """Raise GateError unless `alpha` is a level that a one-sided test can have."""
    if not 0 < alpha < 0.5:
        raise GateError(f"alpha {alpha} must lie between 0 and 0.5")
