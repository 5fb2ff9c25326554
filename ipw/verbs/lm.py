"""`ipw run lm`: one model over one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipw.meter import Meter
from ipw.rundir import RunDir
from ipw.verbs.conclude import conclude
from ipw.verbs.progress import Bar
from ipw.workloads.lm.engines import serve
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.run import plan
from ipw.workloads.lm.run import run_lm as run_workload


def run_lm(*, sensors: str, idle_s: float, out: Path, as_json: bool, strict: bool, **options: Any) -> int:
    """Measure one model, derive, show."""
    run, interrupted = measure_lm(Parameters(**options), sensors, idle_s, out)
    return conclude(run, interrupted=interrupted, as_json=as_json, strict=strict)


def measure_lm(parameters: Parameters, sensors: str, idle_s: float, out: Path) -> tuple[RunDir, bool]:
    """Serve the model and ask it everything; returns the run, and whether it was interrupted."""
    planned = plan(parameters)
    with serve(parameters) as endpoint:
        label = str(endpoint.facts.get("name") or endpoint.model or "model")
        manifest = {
            "workload": {"kind": "lm", "parameters": parameters.as_dict() | {"idle_s": idle_s}},
            "model": endpoint.facts,
            "dataset": {
                "name": planned.dataset.name,
                "digest": planned.dataset.digest,
                "questions": len(planned.dataset.questions),
                "scorer": planned.scorer,
            },
        }
        run = RunDir.create(out, label)
        try:
            with Meter(run, manifest, sensors) as meter:
                bar = Bar(label, meter.live, estimated=meter.basis == "estimate")
                with bar.shown():
                    meter.idle("idle before", idle_s)
                    run_workload(meter, meter.journal, endpoint, planned, bar)
                    meter.idle("idle after", idle_s)
        except KeyboardInterrupt:
            return run, True
    return run, False
