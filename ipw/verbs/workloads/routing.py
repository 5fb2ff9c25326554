"""`ipw run routing`: how local the expert routing of a mixture-of-experts model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.options import IDLE, JSON, LABEL, OTLP, OUT, SENSORS, STRICT, defaults_of
from ipw.verbs.common.progress import TERMINAL
from ipw.workloads.routing.measure import measure_routing, routing_parameters
from ipw.workloads.routing.parameters import Parameters


def run_routing(
    *,
    sensors: str,
    idle_s: float,
    out: Path,
    as_json: bool,
    strict: bool,
    label: str | None = None,
    otlp: str | None = None,
    **options: Any,
) -> int:
    """Capture one model's routing, derive, show."""
    run, interrupted = measure_routing(routing_parameters(**options), sensors, idle_s, out, TERMINAL, label)
    return conclude(run, interrupted=interrupted, as_json=as_json, strict=strict, otlp=otlp)


DEFAULTS = defaults_of(Parameters)


@click.command("routing")
@click.option(
    "--model", default=DEFAULTS["model"], show_default=True, help="The bundled 'moe', a folder, or a hub name."
)
@click.option(
    "--corpus", default=DEFAULTS["corpus"], show_default=True, help="'bundled', a text or data-set file, or a folder."
)
@click.option("--limit", type=click.IntRange(1), help="Read at most so many sequences.")
@click.option(
    "--sequence-length",
    type=click.IntRange(1),
    default=DEFAULTS["sequence_length"],
    show_default=True,
    help="Tokens a sequence.",
)
@click.option(
    "--write",
    type=click.IntRange(0),
    default=DEFAULTS["write"],
    show_default=True,
    help="Let the model go on for so many.",
)
@click.option("--trace", type=click.Path(), help="Look at routing that was recorded elsewhere, and run no model.")
@click.option("--num-experts", type=click.IntRange(1), help="Experts of each layer, for a trace that does not say.")
@click.option(
    "--offload", help="Policies (lru,lfu,lfru,slru,static,…) under which to keep only some experts in fast memory."
)
@click.option("--seed", type=int, default=DEFAULTS["seed"], show_default=True)
@SENSORS
@IDLE
@LABEL
@OTLP
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """Expert-routing consistency of a mixture-of-experts model: SRP, SCH, and what cache of experts it asks for."""
    return run_routing(**options)
