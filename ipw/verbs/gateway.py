"""`ipw gateway -- CMD`: the joules of requests, turns, tools and tasks of any program that speaks to a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.errors import INVALID, OK
from ipw.pipeline import finish
from ipw.runs.directory import PAGE, RunDir
from ipw.verbs.common.options import IDLE, JSON, LABEL, OTLP, OUT, SENSORS, STRICT, defaults_of, served
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.terminal import console, show
from ipw.verbs.common.traces import trace
from ipw.workloads.agents.gateway.measure import GatewayParameters, measure_gateway


def gateway(
    *,
    command: Sequence[str],
    sensors: str,
    idle_s: float,
    out: Path,
    as_json: bool,
    strict: bool,
    label: str | None = None,
    otlp: str | None = None,
    **options: Any,
) -> int:
    """Measure what speaks through the gateway, derive, show. Returns the command's exit code."""
    parameters = GatewayParameters(command=tuple(command), **options)
    run, code = measure_gateway(parameters, sensors, idle_s, out, TERMINAL, quiet=as_json, label=label)
    summary = finish(run)
    if as_json:
        import json

        click.echo(json.dumps(summary | {"run": str(run), "exit_code": code}))
    else:
        _tell(run, summary)
    trace([run], otlp)
    return code or (INVALID if strict and not summary["valid"] else OK)


DEFAULTS = defaults_of(GatewayParameters)


@click.command("gateway", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--base-url", help="The model's server (or OPENAI_BASE_URL).")
@served(DEFAULTS["serve_timeout_s"])
@click.option("--model", help="Serve a GGUF file, a model's folder, or the bundled 'dense' or 'moe'.")
@click.option(
    "--slots",
    type=click.IntRange(1, 256),
    default=DEFAULTS["slots"],
    show_default=True,
    help="Requests that a served --model works on at once.",
)
@click.option(
    "--context",
    "context_tokens",
    type=click.IntRange(16),
    default=DEFAULTS["context_tokens"],
    show_default=True,
    help="Tokens of context of a served --model, for each request.",
)
@click.option(
    "--host", default=DEFAULTS["host"], show_default=True, help="Any address other than loopback needs a token."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULTS["port"],
    show_default=True,
    help="0 takes a free port.",
)
@click.option(
    "--tasks", help="A file that names tasks: JSON lines, CSV or Parquet with task, and prompt as their first message."
)
@click.option(
    "--scores", help="A file with task and score, which the command may write; also of SWE-bench, inspect_ai."
)
@SENSORS
@IDLE
@LABEL
@OTLP
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """A proxy before a model's server, and a program that speaks through it: joules by request, turn, tool and task.

    Examples: ipw gateway --base-url http://localhost:8080 -- python agent.py    ipw gateway --model dense
    """
    return gateway(**options)


def _tell(run: RunDir, summary: dict[str, Any]) -> None:
    """Show the run on standard error: standard output is the command's."""
    show([summary], run.path / PAGE, [run], out=console())
