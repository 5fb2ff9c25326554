"""`ipw export RUN… --format …`: stored runs for other programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.errors import UsageError
from ipw.interchange.exports import StoredRun, as_codecarbon, as_ml_energy, as_prometheus
from ipw.metrics.summary import stored_summary
from ipw.pipeline import derive
from ipw.reports.facts import NO_FACTS
from ipw.runs.directory import RunDir
from ipw.runs.files import replacing
from ipw.verbs.common.several import readable


def export(*, runs: Sequence[Path], format_: str, output: Path | None, grid_g_co2e_per_kwh: float | None) -> int:
    """Write all runs in one format, on stdout or into a file."""
    found, code = readable(runs, lambda path: _read(RunDir.open(path)))
    if format_ == "codecarbon":
        text = as_codecarbon(found, dataclasses.replace(NO_FACTS, grid_g_co2e_per_kwh=grid_g_co2e_per_kwh))
    elif grid_g_co2e_per_kwh is not None:
        raise UsageError(f"{format_} has no place for carbon", "--format codecarbon")
    else:
        text = {"ml-energy": as_ml_energy, "prometheus": as_prometheus}[format_](found)
    if output is None:
        click.echo(text.encode(errors="replace"), nl=False)
        return code
    with replacing(output, "give another file with -o") as file:
        file.write(text.encode(errors="replace"))
    return code


def _read(run: RunDir) -> StoredRun:
    stored = stored_summary(run)
    return StoredRun(run.manifest(), derive(run) if stored is None else stored)


@click.command("export")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(["codecarbon", "ml-energy", "prometheus"]), required=True)
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="Default: stdout.")
@click.option("--grid-intensity", "grid_g_co2e_per_kwh", type=click.FloatRange(0), help="Grams of CO2e per kWh.")
def command(**options: Any) -> int:
    """Stored runs in the formats of other programs."""
    return export(**options)
