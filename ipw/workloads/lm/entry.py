"""A language model as the house sees it: measured once, or again and again on a server that stays up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ipw.runs.directory import RunDir
from ipw.workloads.base import Audience, Up, split


def measure(options: Mapping[str, Any], *, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    """Measure one cell of a study; returns the run, and whether it was interrupted."""
    with stays_up(options, audience=audience) as server:
        return server.measure(out)


@contextmanager
def stays_up(options: Mapping[str, Any], *, audience: Audience) -> Iterator[Up]:
    """Bring a server up, on which a cell can be measured many times."""
    from ipw.workloads.lm.measure import measure_served
    from ipw.workloads.lm.parameters import Parameters
    from ipw.workloads.lm.plan import plan
    from ipw.workloads.lm.servers.engines import serve

    own, common = split(options)
    planned = plan(Parameters(**own))
    with serve(planned.parameters) as endpoint:
        yield Up(
            lambda out: measure_served(endpoint, planned, out=out, audience=audience, **common),
            ours=endpoint.pid is not None,
        )
