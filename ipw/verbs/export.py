"""`ipw export RUN… --format …` or `--to …`: stored runs for other programs, and for trackers of experiments."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.errors import UsageError
from ipw.interchange.exports import StoredRun, as_codecarbon, as_ml_energy, as_prometheus
from ipw.interchange.otlp_send import endpoint, send_traces
from ipw.interchange.to_model_card import as_hub_results, as_model_card
from ipw.interchange.to_otlp import as_otlp, traces_of
from ipw.interchange.trackers import TRACKERS, send
from ipw.metrics.summary import called, stored_summary
from ipw.pipeline import derive
from ipw.reports.facts import NO_FACTS, Facts
from ipw.reports.names import row_names
from ipw.runs.directory import RunDir
from ipw.runs.files import replacing
from ipw.studies.chosen import chosen
from ipw.verbs.common import terminal
from ipw.verbs.common.numbers import FloatRange
from ipw.verbs.common.options import OTLP
from ipw.verbs.common.several import readable

FORMATS = ("codecarbon", "ml-energy", "prometheus", "model-card", "hub-results", "otlp")
WITH_CARBON = {"codecarbon", "model-card"}
WITH_SOURCE = {"model-card"}
PROJECT = "ipw"


def export(
    *,
    runs: Sequence[Path],
    format_: str | None,
    tracker: str | None,
    project: str,
    otlp: str | None,
    output: Path | None,
    grid_g_co2e_per_kwh: float | None,
    grid_source: str | None,
) -> int:
    """Write all runs in one format, on stdout or into a file; or log them to a tracker."""
    _check(format_, tracker, otlp, output, grid_g_co2e_per_kwh, grid_source)
    found, code = readable(chosen(runs), lambda one: _read(one.open()))
    found = _named(found)
    if otlp is not None:
        terminal.say(f"{send_traces(traces_of(found), otlp)} spans sent to {endpoint(otlp)}")
        return code
    if tracker is not None:
        send(tracker, found, project)
        terminal.say(f"{len(found)} run{'s' * (len(found) != 1)} logged to {tracker}, project {project}")
        return code
    facts = dataclasses.replace(NO_FACTS, grid_g_co2e_per_kwh=grid_g_co2e_per_kwh, grid_source=grid_source)
    text = _written(str(format_), found, facts)
    if output is None:
        click.echo(text.encode(errors="replace"), nl=False)
        return code
    with replacing(output, "give another file with -o") as file:
        file.write(text.encode(errors="replace"))
    return code


def _check(
    format_: str | None,
    tracker: str | None,
    otlp: str | None,
    output: Path | None,
    grid_g_co2e_per_kwh: float | None,
    grid_source: str | None,
) -> None:
    """Refuse options that do not go together, before anything is read."""
    if sum(each is not None for each in (format_, tracker, otlp)) != 1:
        given = f"--format {FORMATS[0]}, --to {next(iter(TRACKERS))}, or --otlp URL"
        raise UsageError("give a format or a tracker, or a collector of traces", given)
    if otlp is not None:
        endpoint(otlp)
    if grid_g_co2e_per_kwh is not None and format_ not in WITH_CARBON:
        raise UsageError(f"{format_ or tracker or 'otlp'} has no place for carbon", "--format codecarbon")
    if grid_source is not None and grid_g_co2e_per_kwh is None:
        raise UsageError("--grid-source says where a number comes from that is not given", "--grid-intensity GRAMS")
    if grid_source is not None and format_ not in WITH_SOURCE:
        raise UsageError(f"{format_} has no place for the source of that number", "leave out --grid-source")
    if otlp is not None and output is not None:
        raise UsageError("a collector keeps what it is given by itself", "leave out -o, or take --format otlp")
    if tracker is not None and output is not None:
        raise UsageError(f"{tracker} keeps what it is given by itself", "leave out -o")


def _written(format_: str, runs: Sequence[StoredRun], facts: Facts) -> str:
    if format_ == "codecarbon":
        return as_codecarbon(runs, facts)
    if format_ == "model-card":
        return as_model_card(runs, facts)
    write = {"ml-energy": as_ml_energy, "prometheus": as_prometheus, "hub-results": as_hub_results, "otlp": as_otlp}
    return write[format_](runs)


def _named(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Give each run the name that it has beside the others, as tables do."""
    names = row_names([run.summary for run in runs])
    return [run._replace(summary={**run.summary, "label": name}) for run, name in zip(runs, names, strict=True)]


def _read(run: RunDir) -> StoredRun:
    stored = stored_summary(run)
    return StoredRun(run.manifest(), called(derive(run), run) if stored is None else stored, run)


@click.command("export")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(FORMATS))
@click.option(
    "--to", "tracker", type=click.Choice(list(TRACKERS)), help="Log the runs through the tracker's own package."
)
@click.option("--project", default=PROJECT, show_default=True, help="Of the tracker.")
@OTLP
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="Default: stdout.")
@click.option("--grid-intensity", "grid_g_co2e_per_kwh", type=FloatRange(0), help="Grams of CO2e per kWh.")
@click.option("--grid-source", help="Where that number comes from.")
def command(**options: Any) -> int:
    """Stored runs in the formats of other programs, or into a tracker.

    RUN may also be the folder of a study, or a folder of runs; NAME=RUN gives a run a name.
    """
    return export(**options)
