"""`ipw run routing`: how local the expert routing of a mixture-of-experts model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ipw.errors import INTERRUPTED, INVALID, OK
from ipw.meter import Meter
from ipw.pipeline import finish
from ipw.rundir import PAGE, RunDir
from ipw.verbs.progress import Bar
from ipw.verbs.terminal import show
from ipw.workloads.routing.imports import import_run
from ipw.workloads.routing.parameters import Parameters
from ipw.workloads.routing.run import run_routing as run_workload
from ipw.workloads.routing.subject import load_subject


def run_routing(*, sensors: str, idle_s: float, out: Path, as_json: bool, strict: bool, **options: Any) -> int:
    """Capture, derive, show. What an interrupted run had captured is kept and counted."""
    options["offload"] = tuple(name for name in (options.pop("offload") or "").split(",") if name)
    run, interrupted = measure_routing(Parameters(**options), sensors, idle_s, out)
    summary = finish(run)
    if as_json:
        click.echo(json.dumps(summary | {"run": str(run.path)}))
    else:
        show([summary], run.path / PAGE)
    if interrupted:
        return INTERRUPTED
    return INVALID if strict and not summary["valid"] else OK


def measure_routing(parameters: Parameters, sensors: str, idle_s: float, out: Path) -> tuple[RunDir, bool]:
    """Load the model and read the corpus; returns the run, and whether it was interrupted."""
    if parameters.trace:
        run = RunDir.create(out, f"{Path(parameters.trace).stem}-routing")
        import_run(run, parameters)
        return run, False
    subject = load_subject(parameters.model)
    label = f"{subject.facts['name']}-routing"
    manifest = {
        "workload": {"kind": "routing", "parameters": parameters.as_dict() | {"idle_s": idle_s}},
        "model": subject.facts,
    }
    run = RunDir.create(out, label)
    try:
        with Meter(run, manifest, sensors) as meter:
            bar = Bar(label, meter.live, estimated=meter.basis == "estimate")
            with bar.shown():
                meter.idle("idle before", idle_s)
                run_workload(meter, meter.journal, run.path, subject, parameters, bar)
                meter.idle("idle after", idle_s)
    except KeyboardInterrupt:
        return run, True
    return run, False
