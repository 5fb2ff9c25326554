"""Routing as the house sees it: what measures and what derives it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipw.runs.directory import RunDir
from ipw.workloads.base import Audience, split


def measure(options: Mapping[str, Any], *, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    """Measure one cell of a study; returns the run, and whether it was interrupted."""
    from ipw.workloads.routing.measure import measure_routing, routing_parameters

    own, common = split(options)
    return measure_routing(routing_parameters(**own), out=out, audience=audience, **common)


def derive(run: RunDir) -> dict[str, Any]:
    """Write the tables, and return the metrics."""
    from ipw.workloads.routing.derive import derive_routing

    return {"metrics": derive_routing(run)}
