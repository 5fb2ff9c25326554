"""Runs into an experiment tracker, through its own package and as that is set up: MLflow, Weights & Biases, trackio."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ipw.errors import IpwError, UsageError
from ipw.interchange.exports import StoredRun
from ipw.metrics.definitions import definitions_of
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.names import row_names
from ipw.runs.directory import PAGE

MOST_TEXT = 250
ENDS = {"value": "", "low": "_low", "high": "_high"}


class Tracked(NamedTuple):
    """What a tracker is given of a run."""

    name: str
    settings: Mapping[str, str | int | float | bool]
    metrics: Mapping[str, float]
    """Of an estimate, those that joules went into have names that begin with `estimated_`."""
    tags: Mapping[str, str]
    page: Path | None


def send(tracker: str, runs: Sequence[StoredRun], project: str) -> None:
    """Log every run. Raises UsageError where the package is not installed, IpwError where it refuses."""
    package, log = TRACKERS[tracker]
    try:
        module = importlib.import_module(package)
    except ImportError:
        raise UsageError(f"{package} is not installed", f"pip install {package}") from None
    names = row_names([run.summary for run in runs])
    for run, name in zip(runs, names, strict=True):
        told = tracked(run, name)
        try:
            log(module, told, project)
        except Exception as error:  # noqa: BLE001 - whatever the package of another raises
            raise IpwError(f"{package} did not take {told.name}: {type(error).__name__}: {clean(error, 300)}") from None


def tracked(run: StoredRun, name: str) -> Tracked:
    """Collect a run's settings, its metrics with the ends of their intervals, and what says whose joules these are."""
    derived = Derived(run.summary)
    definitions = definitions_of(derived.kind)
    metrics = {}
    for key, entry in derived.metrics.items():
        definition = definitions.get(key)
        estimated = "estimated_" if run.estimated and definition is not None and definition.is_energy else ""
        for end, suffix in ENDS.items():
            if (value := number(entry.get(end))) is not None:
                metrics[f"{estimated}{key}{suffix}"] = value
    settings = {f"model.{key}": value for key, value in derived.model.items()} | dict(derived.parameters)
    tags = {
        "run_id": run.summary.get("run_id"), "workload": derived.kind, "basis": derived.basis, "method": derived.method,
        "estimated": str(run.estimated).lower(), "valid": str(bool(run.summary.get("valid"))).lower(),
    }  # fmt: skip
    page = run.run.path / PAGE if run.run else None
    return Tracked(
        clean(name, MOST_TEXT),
        {key: _scalar(value) for key, value in settings.items() if value is not None},
        metrics,
        {key: clean(value, MOST_TEXT) for key, value in tags.items() if value is not None},
        page if page and page.is_file() else None,
    )


def _scalar(value: object) -> str | int | float | bool:
    return value if isinstance(value, bool | int | float) else clean(value, MOST_TEXT)


def _mlflow(mlflow: Any, told: Tracked, project: str) -> None:
    mlflow.set_experiment(project)
    with mlflow.start_run(run_name=told.name, tags=dict(told.tags)):
        mlflow.log_params(dict(told.settings))
        mlflow.log_metrics(dict(told.metrics))
        if told.page:
            mlflow.log_artifact(str(told.page))


def _wandb(wandb: Any, told: Tracked, project: str) -> None:
    run = wandb.init(project=project, name=told.name, config={**told.settings, **told.tags}, reinit="finish_previous")
    run.log(dict(told.metrics))
    run.finish()


def _trackio(trackio: Any, told: Tracked, project: str) -> None:
    trackio.init(project=project, name=told.name, config={**told.settings, **told.tags}, embed=False)
    trackio.log(dict(told.metrics))
    trackio.finish()


TRACKERS: dict[str, tuple[str, Callable[[Any, Tracked, str], None]]] = {
    "mlflow": ("mlflow", _mlflow),
    "wandb": ("wandb", _wandb),
    "trackio": ("trackio", _trackio),
}
"""By the name that the command line knows: the package, and what logs a run with it."""
