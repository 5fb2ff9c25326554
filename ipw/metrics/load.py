"""What a run tells of its load: time between tokens, steady state, lateness, latency targets, retries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ipw.metrics import stats
from ipw.metrics.answered import Answered
from ipw.metrics.definitions import LATENESS, RETRIED
from ipw.metrics.inter_token import inter_token_metrics
from ipw.metrics.metric import Metric, metric, number
from ipw.metrics.steady import steady_metrics
from ipw.metrics.utilisation import utilisation
from ipw.runs.directory import RunDir
from ipw.runs.queries import Queries
from ipw.runs.recorded import Recorded, part_of

TIMES = {"ttft": "ttft_s", "itl": "itl_s", "e2e": "latency_s"}
"""Column of the queries that each latency target is about."""


def serving_metrics(of: Answered) -> dict[str, Metric]:
    """Time between tokens, steady state, lateness, and the share of the devices' peak rates."""
    recorded, queries = of.recorded, of.queries
    return {
        **inter_token_metrics(recorded.folder, of.seed),
        **steady_metrics(recorded, queries, of.energy),
        **_lateness(queries),
        **_with_retries(recorded.folder, queries),
        **utilisation(recorded.entries, queries, of.duration_s, of.metrics["output_tokens_per_s"]),
    }


def judged(queries: Queries, targets: Mapping[str, Any]) -> Queries:
    """Say which queries keep to all latency targets (seconds by the names in TIMES); a time that is not known fails."""
    limits = {TIMES[name]: limit for name, x in targets.items() if name in TIMES and (limit := number(x)) is not None}
    if not limits:
        return queries
    good = queries.ok.copy()
    for column, limit in limits.items():
        times = queries.numbers[column]
        single = (column == "itl_s") & (queries.numbers["completion_tokens"] <= 1)
        good &= (times <= limit) | single
    return Queries({**queries.numbers, "good": good.astype(np.float64)}, queries.texts, queries.sds)


def _lateness(queries: Queries) -> dict[str, Metric]:
    late = (queries.numbers["start_ns"] - queries.numbers["scheduled_ns"]) / 1e9
    late = np.maximum(late[np.isfinite(late)], 0.0)
    if not len(late):
        return {}
    return {
        definition.name: metric(
            definition,
            float(np.quantile(late, q)),
            stats.quantile_interval(late, q),
            n=len(late),
            method="timed",
            interval_by="order statistics",
        )
        for definition, q in zip(LATENESS, (0.5, 0.99), strict=True)
    }


def _with_retries(run: RunDir, queries: Queries) -> dict[str, Metric]:
    """Accuracy with the answers that failed queries got when they were asked again; none where none was."""
    again = list(run.journal("retry"))
    if not again or not len(queries) or np.isnan(queries.numbers["score"]).any():  # unscored: nothing to count
        return {}
    failed = set(queries.texts["query_id"][~queries.ok].tolist())  # what was resumed since may have been answered
    answered = {str(r["query_id"]): r for r in again if r.get("status") == "ok" and r.get("query_id") in failed}
    right = float(queries.numbers["score"].sum())
    right += sum(min(max(number(r.get("score")) or 0.0, 0.0), 1.0) for r in answered.values())
    n = len(queries)
    reason = f"{len(answered)} of {int((~queries.ok).sum())} failed queries were answered when asked again"
    interval = stats.wilson(right, n)
    return {
        RETRIED.name: metric(RETRIED, right / n, interval, n=n, method="scored", interval_by="Wilson", reason=reason)
    }


def slo_of(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The latency targets of a run, by name."""
    return part_of(Recorded(manifest).workload, "slo")
