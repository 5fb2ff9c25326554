"""From the runs of two arms to verdicts: one metric, one rule at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ipw.errors import UsageError, near
from ipw.gate.accuracy import judge_accuracy
from ipw.gate.observed import ArmName, Observed
from ipw.gate.policy import Rule
from ipw.gate.verdict import Verdict, judge
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.metrics.stats import Array
from ipw.metrics.validity.check import Check

Ratios = tuple[list[float], list[int]]
"""Log of candidate over base, one a pair in running order, and the start of each pair."""


def values(observed: Sequence[Observed], arm: ArmName, metric: str) -> list[float | None]:
    """Give the metric of every run of one arm, by pair."""
    runs = sorted((each for each in observed if each.arm == arm), key=lambda each: each.pair)
    return [number(Derived(each.summary).metric(metric).get("value")) for each in runs]


def check_metrics(observed: Sequence[Observed], rules: Collection[Rule]) -> Check:
    """Check that every run has every metric as a number that a ratio can be made of.

    Raises UsageError for a metric that runs of this workload never have.
    """
    faults = []
    for each in observed:
        metrics = Derived(each.summary).metrics
        for rule in rules:
            if rule.metric not in metrics:
                raise UsageError(f"these runs have no metric {rule.metric!r}", near(rule.metric, metrics))
            found = metrics[rule.metric]
            value = number(found.get("value"))
            if value is None:
                faults.append(f"{each.label}: {rule.metric}: {found.get('reason') or 'absent'}")
            elif not rule.points and value <= 0:
                faults.append(f"{each.label}: {rule.metric} is {value:g}, which makes no ratio")
    told = "; ".join([*faults[:3], *([f"{len(faults) - 3} more"] if len(faults) > 3 else [])])
    return {"check": "metrics", "ok": not faults, "detail": told or "in every run", "level": "error"}


def log_ratios(observed: Sequence[Observed], metric: str) -> Ratios | None:
    """Make the log-ratios of a metric; `None` where a run lacks it."""
    base, candidate = (values(observed, arm, metric) for arm in ("base", "candidate"))
    starts = [each.start for each in sorted(observed, key=lambda each: each.pair) if each.arm == "base"]
    both = list(zip(base, candidate, strict=True))
    known = [(a, b) for a, b in both if a is not None and b is not None and a > 0 and b > 0]
    return ([math.log(b / a) for a, b in known], starts) if both and len(known) == len(both) else None


def judge_rules(
    observed: Sequence[Observed], rules: Sequence[Rule], start_sd: Mapping[str, float], alpha: float
) -> dict[str, Verdict]:
    """Judge every rule on all pairs so far, at `alpha` each. Every run must have every metric."""
    found = {}
    for rule in rules:
        if rule.points:
            base, candidate = paired_scores(observed)
            found[rule.metric] = judge_accuracy(base, candidate, margin_points=100 * rule.margin, alpha=alpha)
        else:
            ratios = log_ratios(observed, rule.metric)
            assert ratios is not None
            sd = start_sd.get(rule.metric, 0.0)
            found[rule.metric] = judge(*ratios, margin=rule.margin, harm=rule.harm, start_sd=sd, alpha=alpha)
    return found


def paired_scores(observed: Sequence[Observed]) -> tuple[Array, Array]:
    """Give the mean score of every question that both arms were asked, or of every task that both did, in one order."""
    base, candidate = (_scores(observed, arm) for arm in ("base", "candidate"))
    both = [query for query in base if query in candidate]
    return np.array([base[query] for query in both]), np.array([candidate[query] for query in both])


def _scores(observed: Sequence[Observed], arm: ArmName) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for each in observed:
        if each.arm == arm:
            items = each.queries if each.tasks is None else each.tasks
            ids, scores = items.texts["query_id"].tolist(), items.numbers["score"].tolist()
            for query, score in zip(ids, scores, strict=True):
                if math.isfinite(score):  # a run that was not scored has no accuracy to judge
                    found.setdefault(query, []).append(score)
    return {query: sum(scores) / len(scores) for query, scores in found.items()}
