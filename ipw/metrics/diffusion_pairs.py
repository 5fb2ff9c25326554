"""Two methods over the same questions: what the second gets right and draws against the first, question by question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ipw.energy.curve import Z95
from ipw.metrics.distributions import coin_survival
from ipw.metrics.metric import number
from ipw.metrics.paired_scores import difference_bounds
from ipw.metrics.stats import Array, Interval, error_draws, percentile_interval, resampled_sums
from ipw.runs.recorded import Recorded

SEED = 19


class Difference(NamedTuple):
    """The second method against the first."""

    questions: int
    lost: int
    """Questions that the first gets right and the second does not."""
    won: int
    points: float
    """Accuracy of the second less that of the first, as a fraction."""
    interval: Interval
    """Of `points`: Tango's score interval, or Student's for scores between right and wrong."""
    p: float
    """McNemar's exact test, two-sided."""
    ratio: float | None
    """Joules of the second over those of the first; `None` where one is not known."""
    ratio_interval: Interval


def difference(
    first: tuple[Array, Array, float], second: tuple[Array, Array, float], *, seed: int = SEED
) -> Difference | None:
    """Compare two methods, each with scores and joules of the same questions, and the error of its joules together.

    That is a standard deviation, relative. `None` where no question is shared.
    """
    (scores, joules, error), (other_scores, other_joules, other_error) = first, second
    if not scores.size:
        return None
    gain = (other_scores - scores).astype(np.float64)
    lost, won = int((gain < 0).sum()), int((gain > 0).sum())
    p = min(1.0, 2 * coin_survival(max(lost, won), lost + won)) if lost + won else 1.0
    ratio, interval = _ratio(joules.astype(np.float64), other_joules.astype(np.float64), error, other_error, seed)
    return Difference(len(gain), lost, won, float(gain.mean()), difference_bounds(gain, 0.025), p, ratio, interval)


def _ratio(base: Array, other: Array, error: float, other_error: float, seed: int) -> tuple[float | None, Interval]:
    known = np.isfinite(base) & np.isfinite(other)
    if not known.any() or base[known].sum() <= 0 or other[known].sum() <= 0:
        return None, (None, None)
    sums = resampled_sums(np.stack([base[known], other[known]], axis=1), seed)
    noise = [1 + sd * error_draws(seed + k) for k, sd in enumerate((error, other_error))]
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = (sums[:, 1] * noise[1]) / (sums[:, 0] * noise[0])
    value = float(other[known].sum() / base[known].sum())
    return value, percentile_interval(np.where(draws > 0, draws, np.nan), value, int(known.sum()))


def energy_error(manifest: Mapping[str, Any]) -> float:
    """Relative standard deviation of a run's joules, but for the gain, which two runs on one device share."""
    attribution = Recorded(manifest).attribution
    measured, errors = number(attribution.get("measured_j")), attribution.get("measured_error_j")
    if not measured or not isinstance(errors, list) or len(errors) != 2:
        return 0.0
    return sum(number(each) or 0.0 for each in errors) / (2 * Z95 * measured)
