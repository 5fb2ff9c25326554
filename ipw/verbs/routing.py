"""`ipw run routing`: how local the expert routing of a mixture-of-experts model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

import click

from ipw.errors import UsageError
from ipw.metering.meter import Meter
from ipw.runs.directory import RunDir
from ipw.verbs.conclude import conclude
from ipw.verbs.options import IDLE, JSON, OUT, SENSORS, STRICT
from ipw.verbs.progress import Bar
from ipw.workloads.routing.imports import import_run
from ipw.workloads.routing.parameters import OnlinePolicy, Parameters
from ipw.workloads.routing.run import run_routing as run_workload
from ipw.workloads.routing.subject import load_subject


def run_routing(*, sensors: str, idle_s: float, out: Path, as_json: bool, strict: bool, **options: Any) -> int:
    """Capture one model's routing, derive, show."""
    run, interrupted = measure_routing(routing_parameters(**options), sensors, idle_s, out)
    return conclude(run, interrupted=interrupted, as_json=as_json, strict=strict)


def routing_parameters(*, offload: str | None, **options: Any) -> Parameters:
    """Read the options of the command line. Raises UsageError."""
    return Parameters(offload=_policies(offload or ""), **options)


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


def _policies(names: str) -> tuple[OnlinePolicy, ...]:
    """Read policies that a loader can follow: those that need no look into the future."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in get_args(OnlinePolicy)]:
        raise UsageError(f"no loader follows {', '.join(unknown)}", f"--offload {','.join(get_args(OnlinePolicy))}")
    return cast("tuple[OnlinePolicy, ...]", tuple(wanted))


@click.command("routing")
@click.option("--model", default="moe", show_default=True, help="The bundled 'moe', a folder, or a hub name.")
@click.option("--corpus", default="bundled", show_default=True, help="'bundled', a text or data-set file, or a folder.")
@click.option("--limit", type=click.IntRange(1), help="Read at most so many sequences.")
@click.option("--sequence-length", type=click.IntRange(1), default=512, show_default=True, help="Tokens a sequence.")
@click.option("--write", type=click.IntRange(0), default=0, show_default=True, help="Let the model go on for so many.")
@click.option("--trace", type=click.Path(), help="Look at routing that was recorded elsewhere, and run no model.")
@click.option("--num-experts", type=click.IntRange(1), help="Experts of each layer, for a trace that does not say.")
@click.option(
    "--offload", help="Policies (lru,lfu,lfru,slru,static,…) under which to keep only some experts in fast memory."
)
@click.option("--seed", type=int, default=0, show_default=True)
@SENSORS
@IDLE
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """Expert-routing consistency of a mixture-of-experts model: SRP, SCH, and what cache of experts it asks for."""
    return run_routing(**options)
