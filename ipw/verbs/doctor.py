"""`ipw doctor`: which sensors this machine has, how they behave, why the others are missing, and what to run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ipw.errors import OK, install_hint
from ipw.host import host_facts, software_versions
from ipw.profilers.base import Channel
from ipw.profilers.discovery import choose_basis, close, find, known
from ipw.profilers.losses import Loss, losses
from ipw.verbs.common.numbers import FloatRange
from ipw.verbs.common.options import JSON, SENSORS
from ipw.verbs.common.terminal import output

EXTRAS = {"llamacpp": "xllamacpp", "torch": "torch"}


def doctor(sensors: str, *, probe: bool, seconds: float, as_json: bool) -> int:
    """Open every sensor (or those named), and tell what each channel is or lacks; with `probe`, how it behaves."""
    opened = find(",".join(known()) if sensors == "auto" else sensors)
    channels = [channel for sensor in opened for channel in sensor.channels]
    probed: dict[str, Any] = {}
    if probe:
        from ipw.verbs.common.probe import probe_sensors

        probed = probe_sensors(opened, seconds, as_json=as_json)
    close(opened)
    basis, in_total, reason = choose_basis(channels)
    left_out = losses(channels, sensors)
    extras = {extra: find_spec(module) is not None for extra, module in EXTRAS.items()}
    if as_json:
        answer = {
            "basis": basis,
            "basis_reason": reason,
            "left_out": [loss.as_dict() for loss in left_out],
            "channels": [channel.as_dict() | {"in_total": channel.name in in_total} for channel in channels],
            "extras": extras,
            "warnings": warnings(),
            "host": host_facts(),
            "software": software_versions(),
        }
        click.echo(json.dumps(answer | probed))
    else:
        _tell(channels, in_total, basis, left_out, extras)
    return OK


def warnings() -> list[str]:
    """Name what is installed here and is known to get in the way."""
    found = []
    if find_spec("amdsmi") and find_spec("ray"):
        found.append("amdsmi keeps ray from starting in one environment: give ray (or zeus) an environment of its own")
    return found


def _tell(
    channels: list[Channel],
    in_total: frozenset[str],
    basis: str | None,
    left_out: Sequence[Loss],
    extras: dict[str, bool],
) -> None:
    out = output()
    readable = [channel for channel in channels if channel.status == "ok"]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("channel", "unit", "scope", "device"):
        table.add_column(column, overflow="fold")
    for channel in readable:
        device = "\n".join(fact for fact in (channel.device, channel.note) if fact)
        name = Text(channel.name, style="bold" if channel.name in in_total else "")
        table.add_row(name, channel.unit, channel.scope, Text(device))
    out.print(table)
    _tell_basis(basis, in_total, left_out)
    out.print("\n[bold]not readable[/]")
    for channel in channels:
        if channel.status != "ok":
            told = f"{channel.name} ({channel.status}): {channel.reason}"
            out.print(Text(told))
            if channel.hint:  # whole, so that it can be copied
                out.print(Text(f"    try: {channel.hint}"), soft_wrap=True)
    for extra, installed in extras.items():
        if not installed:
            out.print(f"extra {extra} (absent)\n    try: {install_hint(extra)}", markup=False)
    for warning in warnings():
        out.print(f"warning: {warning}", markup=False)
    out.print(
        "\nFor a report of a bug: attach what `ipw doctor --json` prints (this, the host and versions).", markup=False
    )


def _tell_basis(basis: str | None, in_total: frozenset[str], left_out: Sequence[Loss]) -> None:
    out = output()
    if basis == "estimate":
        out.print("\nNo sensor can be read: every joule will be [bold]estimated[/] (±50 %) and labelled so.")
    elif basis:
        out.print(f"\nEnergy of a run: [bold]{basis}[/] = {' + '.join(sorted(in_total))}")
    for loss in left_out:
        level = {"error": "not valid: ", "warning": "mind: ", "info": "another channel holds its joules: "}[loss.level]
        out.print(Text(f"{level}{loss.channel} is left out: {loss.reason}"))


@click.command("doctor")
@SENSORS
@click.option("--probe", is_flag=True, help="Measure how each channel behaves here, and keep that for later runs.")
@click.option("--seconds", type=FloatRange(1, 600), default=10.0, show_default=True, help="Of each stage of the probe.")
@JSON
def command(**options: Any) -> int:
    """Which sensors this machine has, and what to run for those that cannot be read."""
    return doctor(**options)
