"""`ipw measure -- CMD`: the joules of any command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.pipeline import finish
from ipw.reports.tables.minds import minds
from ipw.runs.directory import RunDir
from ipw.runs.readings import is_estimate
from ipw.verbs.common.options import IDLE, JSON, LABEL, OTLP, OUT, SENSORS
from ipw.verbs.common.terminal import console, say
from ipw.verbs.common.traces import trace
from ipw.workloads.command import measure_command


def measure(
    *,
    command: Sequence[str],
    sensors: str,
    idle_s: float,
    out: Path,
    as_json: bool,
    label: str | None = None,
    otlp: str | None = None,
) -> int:
    """Run `command` between two stretches of idle and say what it drew. Returns the command's own exit code."""
    run, exit_code = measure_command(command, sensors, idle_s, out, quiet=as_json, label=label)
    summary = finish(run)
    if as_json:
        import json

        click.echo(json.dumps(answer(run, summary, exit_code)))
    else:
        _tell(run, summary)
    trace([run], otlp)
    return exit_code


def answer(run: RunDir, summary: dict[str, Any], exit_code: int) -> dict[str, Any]:
    """Make the JSON that `ipw measure --json` prints."""
    metrics = summary["metrics"]

    def triple(name: str) -> dict[str, Any]:
        return {key: metrics[name][key] for key in ("value", "low", "high", "reason")}

    return {
        "energy_j": triple("energy_j"),
        "net_energy_j": triple("net_energy_j"),
        "power_w": triple("mean_power_w"),
        "duration_s": metrics["duration_s"]["value"],
        "basis": summary["basis"],
        "method": summary["method"],
        "channels": (run.manifest()["attribution"] or {}).get("channels", {}),
        "valid": summary["valid"],
        "validity": [check for check in summary["validity"] if not check["ok"]],
        "exit_code": exit_code,
        "run": str(run),
    }


def _tell(run: RunDir, summary: dict[str, Any]) -> None:
    from ipw.reports.tables.runs import quantity

    estimated = " (estimated)" if is_estimate(summary["method"]) else ""
    for name, label in (
        ("energy_j", "energy"),
        ("net_energy_j", "above idle"),
        ("mean_power_w", "power"),
        ("idle_power_w", "idle power"),
        ("duration_s", "duration"),
    ):
        say(f"{label:>12}  {quantity(summary['metrics'][name])}{estimated if name != 'duration_s' else ''}", err=True)
    for told in minds([summary], [""]):
        console().print(told, markup=False)
    say(f"         run  {run}", err=True)


@click.command("measure", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@SENSORS
@IDLE
@LABEL
@OTLP
@OUT
@JSON
def command(**options: Any) -> int:
    """Any command: ipw measure -- CMD ARGS. Exits with the command's own code."""
    return measure(**options)
