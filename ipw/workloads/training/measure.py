"""Measures training: each method in a process of its own, under one meter."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ipw.errors import MissingExtraError, UsageError, near
from ipw.metering.meter import Meter
from ipw.runs.directory import RunDir
from ipw.workloads.base import NOBODY, Audience, labelled
from ipw.workloads.training.parameters import METHODS, Parameters
from ipw.workloads.training.run import Ended
from ipw.workloads.training.run import run_training as run_workload


def train_parameters(*, method: str, **options: Any) -> Parameters:
    """Read the options of the command line. Raises UsageError."""
    methods = tuple(dict.fromkeys(name.strip() for name in method.split(",") if name.strip()))
    for name in methods:
        if name not in METHODS:
            raise UsageError(f"there is no method {name!r}", near(name, METHODS))
    if not methods:
        raise UsageError("no method is named", f"--method {','.join(METHODS)}")
    if options.get("peers", 1) > 1 and "zeroth-order" not in methods:
        raise UsageError("--peers is for zeroth order", "--method zeroth-order")
    parameters = Parameters(methods=methods, **options)
    if parameters.join_at is not None and not parameters.peers > 1:
        raise UsageError("--join-at is for several peers", "--method zeroth-order --peers 2")
    if parameters.join_at is not None and parameters.join_at >= parameters.most_steps():
        raise UsageError(f"a peer that joins after {parameters.join_at:,} steps comes when all is done",
                         "a smaller --join-at, or more --steps")  # fmt: skip
    return parameters


def measure_training(
    parameters: Parameters,
    sensors: str,
    idle_s: float,
    out: Path,
    audience: Audience = NOBODY,
    label: str | None = None,
) -> tuple[RunDir, list[Ended], bool]:
    """Train; returns the run, how each method ended, and whether it was interrupted."""
    if not find_spec("torch"):
        raise MissingExtraError("training", "torch")
    if "lora" in parameters.methods and not find_spec("peft"):
        raise MissingExtraError("the method lora", "lora")
    slug = f"{Path(parameters.model).name}-training"
    workload = {"kind": "train", "parameters": parameters.as_dict() | {"idle_s": idle_s}}
    manifest = {"workload": workload, "model": {"name": parameters.model}, **labelled(label)}
    run = RunDir.create(out, slug)
    ended: list[Ended] = []
    try:
        with Meter(run, manifest, sensors) as meter:
            if parameters.budget_j is not None and meter.basis is None:
                raise UsageError("a budget of joules needs a sensor, and none can be read", "ipw doctor")
            with audience.show(slug, meter.live, estimated=meter.basis == "estimate") as progress:
                meter.idle("idle before", idle_s)
                ended = run_workload(meter, meter.journal, run, parameters, progress, idle_s=idle_s)
                meter.idle("idle after", idle_s)
    except KeyboardInterrupt:
        return run, ended, True
    return run, ended, False
