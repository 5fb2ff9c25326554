"""What is known of the answers of a run when a workload's own metrics are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ipw.metrics.metric import EnergyFacts, Metric
from ipw.metrics.ratios import SharedError
from ipw.runs.queries import Queries
from ipw.runs.recorded import Recorded


class Answered(NamedTuple):
    """A run whose questions were answered."""

    recorded: Recorded
    queries: Queries
    energy: EnergyFacts
    error: SharedError
    duration_s: float | None
    metrics: Mapping[str, Metric]
    """Those that every such workload has."""
    seed: int
