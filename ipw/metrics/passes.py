"""Metrics of how masked diffusion models write: forward passes, what they commit, and what they compute."""

from __future__ import annotations

import numpy as np

from ipw.metrics.answered import Answered
from ipw.metrics.definitions import DIFFUSION
from ipw.metrics.metric import Metric
from ipw.metrics.ratios import ratio_metrics


def passes_metrics(of: Answered) -> dict[str, Metric]:
    """Every metric of DIFFUSION, over the answers that came to their end."""
    found = ratio_metrics(of.queries, DIFFUSION, of.energy, of.error, of.seed)
    if np.isnan(of.queries.numbers["agrees"]).all():
        reference = of.recorded.workload.get("held_against")
        why = f"{reference} did not run beside it" if reference else "it is what the others are held against"
        found["agreement"] |= {"reason": why}
    return found
