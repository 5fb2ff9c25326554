"""Metrics of how masked diffusion models write: forward passes, what they commit, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ipw.metrics.definitions import DIFFUSION
from ipw.metrics.metric import EnergyFacts, Metric
from ipw.metrics.ratios import SharedError, ratio_metrics
from ipw.runs.queries import Queries
from ipw.runs.recorded import Recorded

DECODING = "diffusion"
"""The kind of workload."""


def passes_metrics(
    queries: Queries, manifest: Mapping[str, Any], energy: EnergyFacts, error: SharedError, seed: int
) -> dict[str, Metric]:
    """Every metric of DIFFUSION, over the answers that came to their end."""
    found = ratio_metrics(queries, DIFFUSION, energy, error, seed)
    if np.isnan(queries.numbers["agrees"]).all():
        reference = Recorded(manifest).workload.get("held_against")
        why = f"{reference} did not run beside it" if reference else "it is what the others are held against"
        found["agreement"] |= {"reason": why}
    return found
