"""Measures the routing of a model: its corpus read under a meter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

from ipw.errors import UsageError
from ipw.metering.meter import Meter
from ipw.runs.directory import RunDir
from ipw.workloads.base import NOBODY, Audience, labelled
from ipw.workloads.routing.imports import import_run
from ipw.workloads.routing.parameters import OnlinePolicy, Parameters
from ipw.workloads.routing.run import run_routing as run_workload
from ipw.workloads.routing.subject import load_subject


def routing_parameters(*, offload: str | None, **options: Any) -> Parameters:
    """Read the options of the command line. Raises UsageError."""
    return Parameters(offload=_policies(offload or ""), **options)


def measure_routing(
    parameters: Parameters,
    sensors: str,
    idle_s: float,
    out: Path,
    audience: Audience = NOBODY,
    label: str | None = None,
) -> tuple[RunDir, bool]:
    """Load the model and read the corpus; returns the run, and whether it was interrupted."""
    if parameters.trace:
        run = RunDir.create(out, f"{Path(parameters.trace).stem}-routing")
        import_run(run, parameters, label)
        return run, False
    subject = load_subject(parameters.model)
    slug = f"{subject.facts['name']}-routing"
    manifest = {
        "workload": {"kind": "routing", "parameters": parameters.as_dict() | {"idle_s": idle_s}},
        "model": subject.facts,
        **labelled(label),
    }
    run = RunDir.create(out, slug)
    try:
        with (
            Meter(run, manifest, sensors) as meter,
            audience.show(slug, meter.live, estimated=meter.basis == "estimate") as progress,
        ):
            meter.idle("idle before", idle_s)
            run_workload(meter, meter.journal, run.path, subject, parameters, progress)
            meter.idle("idle after", idle_s)
    except KeyboardInterrupt:
        return run, True
    return run, False


def _policies(names: str) -> tuple[OnlinePolicy, ...]:
    """Read policies that a loader can follow: those that need no look into the future."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in get_args(OnlinePolicy)]:
        raise UsageError(f"no loader follows {', '.join(unknown)}", f"--offload {','.join(get_args(OnlinePolicy))}")
    return cast("tuple[OnlinePolicy, ...]", tuple(wanted))
