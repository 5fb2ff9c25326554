"""Training as the house sees it: what measures and what derives it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipw.errors import IpwError
from ipw.runs.directory import RunDir
from ipw.workloads.base import Audience, split


def measure(options: Mapping[str, Any], *, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    """Measure one cell of a study; returns the run, and whether it was interrupted. Raises IpwError."""
    from ipw.workloads.training.measure import measure_training, train_parameters
    from ipw.workloads.training.run import ENDED_WELL

    own, common = split(options)
    run, ended, interrupted = measure_training(train_parameters(**own), out=out, audience=audience, **common)
    for each in ended:
        if each.status not in ENDED_WELL:
            raise IpwError(f"{each.method}: {each.reason}", f"what was measured: {run}")
    return run, interrupted


def derive(run: RunDir) -> dict[str, Any]:
    """Write the tables, and return the metrics by method; those of a single method are the run's too."""
    from ipw.workloads.training.derive import derive_training

    by_method = derive_training(run)
    alone = next(iter(by_method.values()))["metrics"] if len(by_method) == 1 else {}
    return {"metrics": alone, "by_method": by_method}
