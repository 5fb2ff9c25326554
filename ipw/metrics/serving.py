"""Metrics of a server under load: what `ipw run lm` has beside accuracy, joules and latency."""

from __future__ import annotations

from ipw.metrics.answered import Answered
from ipw.metrics.load import load_metrics
from ipw.metrics.metric import Metric
from ipw.metrics.utilisation import utilisation


def serving_metrics(of: Answered) -> dict[str, Metric]:
    """Time between tokens, steady state, lateness, and the share of the devices' peak rates."""
    found = load_metrics(of.recorded, of.queries, of.energy, of.seed)
    return found | utilisation(of.recorded.entries, of.queries, of.duration_s, of.metrics["output_tokens_per_s"])
