"""Metrics of a set of queries: means over means, percentiles, rates and counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.curve import Z95
from ipw.metrics import stats
from ipw.metrics.definitions import COUNTS, ENERGY_COLUMNS, PERPLEXITY, QUANTILES, RATES, RATIOS, UNPARSED, Definition
from ipw.metrics.metric import BELOW_RESOLUTION, EnergyFacts, Estimate, Metric, metric
from ipw.metrics.stats import Array, Interval
from ipw.runs.queries import Queries

Mask = npt.NDArray[np.bool_]

UNSCORED = "the answers were not scored (ipw score RUN --scorer NAME)"
ABSENT = {
    "score": UNSCORED,
    "right": UNSCORED,
    "tokens": "no token counts",
    "uncached_tokens": "no token counts",
    "completion_tokens": "no token counts",
    "latency_s": "no times",
    "good": "no latency target was given (--slo)",
    "prefill_energy_j": "prefill was not told apart from decode",
    "decode_energy_j": "prefill was not told apart from decode",
}


PARTS = {"prefill_energy_j", "decode_energy_j"}


class Term(NamedTuple):
    """Numerator or denominator of a ratio: one column, summed over the queries."""

    total: float
    width: float
    """Of the 95 % interval of the measurement of `total`, gain apart."""
    draws: Array
    """`total` in every replicate."""

    @property
    def resolved(self) -> bool:
        """Whether the measurement tells more than that there was something."""
        return self.width <= abs(self.total)


class SharedError(NamedTuple):
    """How the energies of a run's queries err together: what one has too much, its neighbour has too little."""

    apart_j2: float
    """Sum of the variances of all queries, each by itself."""
    together_j2: float
    """Variance of the sum of all queries."""

    def sd_of_sum(self, sds: Array, energy_sds: Array) -> float:
        """Standard deviation of a sum of terms that err by `sds` where the queries' energies err by `energy_sds`.

        For independent errors e of variances v, whose sum over all queries is held to the variance T instead of V:
        var Σ w e = Σ w² v - (Σ w v)² / V (1 - T / V).
        """
        variance = float((sds**2).sum())
        if self.apart_j2 > 0:
            common = float((sds * energy_sds).sum())
            variance -= common**2 / self.apart_j2 * (1 - self.together_j2 / self.apart_j2)
        return math.sqrt(max(variance, 0.0))


def shared_error(queries: Queries, measured: Estimate | None, idle_j: float | None) -> SharedError:
    """Bound the error of all queries together by the window's own, and by all that was charged to no query."""
    apart = float((queries.sds["energy_j"] ** 2).sum())
    if measured is None or measured.below is None or measured.above is None or idle_j is None:
        return SharedError(apart, apart)
    window_sd = (measured.below + measured.above) / (2 * Z95)
    return SharedError(apart, min(apart, window_sd**2 + (idle_j / Z95) ** 2))


def query_metrics(queries: Queries, energy: EnergyFacts, error: SharedError, seed: int) -> dict[str, Metric]:
    """Every metric that a set of queries has by itself."""
    counts = zip(COUNTS, (len(queries), int((~queries.ok).sum())), strict=True)
    return (
        ratio_metrics(queries, RATIOS, energy, error, seed)
        | perplexity_metrics(queries, energy, error, seed)
        | quantiles(queries)
        | unparsed(queries)
        | {definition.name: metric(definition, count, n=len(queries), method="counted") for definition, count in counts}
    )


def perplexity_metrics(queries: Queries, energy: EnergyFacts, error: SharedError, seed: int) -> dict[str, Metric]:
    """Perplexity, PPW and PPJ over the queries in which both parts are known; nothing where no perplexity is."""
    if np.isnan(queries.numbers["perplexity"]).all():
        return {}
    plain, *products = PERPLEXITY
    found = ratio_metrics(queries, [plain], energy, error, seed)
    for definition in products:
        mask = np.isfinite(queries.numbers["perplexity"]) & np.isfinite(queries.numbers[definition.denominator])
        n = int(mask.sum())
        if n == 0:
            found[definition.name] = metric(definition, None, reason=energy.absent, energy=energy)
            continue
        columns = [("perplexity", mask), (definition.denominator, mask)]
        perplexity, cost = _terms(queries, columns, error, energy.widening, seed)
        part = Term(float(n) ** 2 / perplexity.total, 0.0, float(n) ** 2 / perplexity.draws)
        value, interval, reason = _ratio(definition.denominator, part, cost, n)
        found[definition.name] = metric(
            definition, value, interval, n=n, interval_by="bootstrap over queries", reason=reason, energy=energy
        )
    return found


def unparsed(queries: Queries) -> dict[str, Metric]:
    """Count answers in which there was nothing to judge, where the scorer looks for something."""
    parsed = queries.numbers["parsed"]
    n = int(np.isfinite(parsed).sum())
    return {UNPARSED.name: metric(UNPARSED, int((parsed == 0).sum()), n=n, method="counted")} if n else {}


def quantiles(queries: Queries) -> dict[str, Metric]:
    """Percentiles of latency and time to first token over the queries that were answered."""
    answered = queries.where(queries.ok)
    found = {}
    for definition in QUANTILES:
        column, _, percent = definition.name.removesuffix("_s").partition("_p")
        q = int(percent) / 100
        values = answered.numbers[f"{column}_s"]
        values = values[np.isfinite(values)]
        found[definition.name] = metric(
            definition,
            float(np.quantile(values, q)) if len(values) else None,
            stats.quantile_interval(values, q),
            n=len(values),
            method="timed",
            interval_by="order statistics",
            reason=None if len(values) else "no answered query has this time",
        )
    return found


def rates(queries: Queries, duration_s: float | None, seed: int) -> dict[str, Metric]:
    """Tokens and queries over the window's length, which spread as the same sums over the queries' latency do."""
    found = ratio_metrics(queries, RATES, EnergyFacts(None, "", None), SharedError(0, 0), seed)
    for definition in RATES:
        rate = found[definition.name]
        if rate["value"] and duration_s:
            total = float(np.nansum(queries.numbers[definition.numerator]))
            scale = total / duration_s / rate["value"]
            rate |= {key: None if rate[key] is None else rate[key] * scale for key in ("value", "low", "high")}
        found[definition.name] = rate | {"method": "timed"}
    return found


def ratio_metrics(
    queries: Queries, definitions: Sequence[Definition], energy: EnergyFacts, error: SharedError, seed: int
) -> dict[str, Metric]:
    """Means over means, each over the queries in which both are known, with one resampling for all of them."""
    pairs = [(d.numerator, d.denominator) for d in definitions]
    known = [np.isfinite(queries.numbers[a]) & np.isfinite(queries.numbers[b]) for a, b in pairs]
    columns = [(name, mask) for pair, mask in zip(pairs, known, strict=True) for name in pair]
    terms = _terms(queries, columns, error, energy.widening, seed)
    found = {}
    for index, definition in enumerate(definitions):
        n = int(known[index].sum())
        source = {"energy": energy} if definition.is_energy else {"method": "scored"}
        if n == 0:
            found[definition.name] = metric(definition, None, reason=_absent(definition, queries, energy), **source)
            continue
        value, interval, reason = _ratio(definition.denominator, terms[2 * index], terms[2 * index + 1], n)
        interval_by = "bootstrap over queries"
        if definition.name == "accuracy" and bool(np.isin(queries.numbers["score"][known[index]], (0.0, 1.0)).all()):
            interval, interval_by = stats.wilson(terms[2 * index].total, n), "Wilson"
        if reason is None and n < len(queries):
            whose = "turns are left out, which have no answer in the data set"
            ungraded = definition.numerator == "score" and n == int((queries.numbers["graded"] != 0).sum())
            left_out = whose if ungraded else "queries are left out: not known for them"
            reason = f"{len(queries) - n} of {len(queries)} {left_out}"
        found[definition.name] = metric(
            definition, value, interval, n=n, interval_by=interval_by, reason=reason, **source
        )
    return found


def _terms(
    queries: Queries, columns: Sequence[tuple[str, Mask]], error: SharedError, gain_rel: float, seed: int
) -> list[Term]:
    values = np.stack([np.where(mask, queries.numbers[name], 0.0) for name, mask in columns], axis=1)
    draws = stats.resampled_sums(values, seed)
    gain, erring = stats.gain_draws(gain_rel, seed), stats.error_draws(seed)
    terms = []
    for index, (name, mask) in enumerate(columns):
        n, total, drawn = int(mask.sum()), float(values[:, index].sum()), draws[:, index]
        if name in {"score", "right"} and n and total in {0.0, float(n)}:
            drawn = n * stats.proportion_draws(total, n, seed)
        sd = _sd_of_sum(queries, name, mask, error)
        drawn = (drawn + sd * erring) * gain if name in ENERGY_COLUMNS else drawn
        terms.append(Term(total, 2 * Z95 * sd, drawn))
    return terms


def _sd_of_sum(queries: Queries, name: str, mask: Mask, error: SharedError) -> float:
    if name not in ENERGY_COLUMNS:
        return 0.0
    sds = queries.sds[name][mask]
    if name in PARTS:  # the edge between prefill and decode moves while the whole query stays
        return float(np.sqrt((sds**2).sum()))
    return error.sd_of_sum(sds, queries.sds["energy_j"][mask])


def _ratio(
    denominator_name: str, numerator: Term, denominator: Term, n: int
) -> tuple[float | None, Interval, str | None]:
    if denominator.total == 0:
        return None, (None, None), "no answer was right" if denominator_name == "right" else "nothing to divide by"
    value = numerator.total / denominator.total
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.where(denominator.draws > 0, numerator.draws / denominator.draws, np.inf)
    low, high = stats.percentile_interval(draws, value, n)
    if not numerator.resolved:
        return None, (None, high), BELOW_RESOLUTION
    if not denominator.resolved:
        return None, (low, None), BELOW_RESOLUTION
    return value, (low, high), None


def _absent(definition: Definition, queries: Queries, energy: EnergyFacts) -> str:
    if len(queries) == 0:
        return "no query was finished"
    for name in (definition.numerator, definition.denominator):
        if np.isnan(queries.numbers[name]).all():
            no_energy = name in ENERGY_COLUMNS and np.isnan(queries.numbers["energy_j"]).all()
            return energy.absent if no_energy else ABSENT.get(name, energy.absent)
    return "its parts are never known for the same query"
