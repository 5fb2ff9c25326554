"""Decoding of diffusion models as the house sees it: what measures it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipw.errors import IpwError, UsageError
from ipw.runs.directory import RunDir
from ipw.workloads.base import Audience, split


def measure(options: Mapping[str, Any], *, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    """Measure one cell of a study; returns the run, and whether it was interrupted. Raises IpwError."""
    from ipw.workloads.diffusion.measure import diffusion_parameters, measure_diffusion

    own, common = split(options)
    parameters, methods = diffusion_parameters(**own)
    if len(methods) > 1:
        raise UsageError("a cell is one run", '[matrix] with method = ["greedy", "local-leap"]')
    runs, failed, interrupted = measure_diffusion(parameters, methods, out=out, audience=audience, **common)
    if failed:
        raise IpwError(failed[0], f"what was measured: {runs[0]}")
    return runs[0], interrupted
