"""What evaluation harnesses tell alike: how much of a task was right, and of how many questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ipw.energy.curve import Z95
from ipw.errors import UsageError
from ipw.interchange.imported import AS_TOLD, OF_MODELS, Imported, metrics_of
from ipw.metrics.definitions import DEFINITIONS, Definition
from ipw.metrics.metric import metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One task. Absent is what its tool does not tell."""

    source: str
    version: str | None
    model: str
    task: str
    asked: int | None
    accuracy: float | None
    """From 0 to 1."""
    stderr: float | None
    """Standard error of the accuracy."""
    scorer: str | None
    why_none: str
    """Why there is no accuracy, where there is none."""
    failed: int | None = None
    failed_because: str | None = None
    stopped: str | None = None
    tokens: tuple[float | None, float | None] = (None, None)
    duration_s: float | None = None
    started: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)


def as_run(task: Scored, caveat: str) -> Imported:
    """Make the run of a task. Raises UsageError where its accuracy is none."""
    if task.accuracy is not None and task.accuracy > 1:
        raise UsageError(f"{task.task}: the accuracy {task.accuracy:g} is more than 1", "was the file copied whole?")
    values = {"accuracy": task.accuracy, "queries": task.asked, "errors": task.failed, "duration_s": task.duration_s}

    def why(definition: Definition) -> str:
        if definition.name == "accuracy":
            return task.why_none
        if definition.is_energy:
            return f"{task.source} measures no energy: join a run's joules with --joules RUN"
        return f"the file of {task.source} does not tell it"

    metrics = metrics_of(OF_MODELS, values, why, n=task.asked)
    if task.accuracy is not None and task.stderr is not None:
        bounds = (max(task.accuracy - Z95 * task.stderr, 0.0), min(task.accuracy + Z95 * task.stderr, 1.0))
        told_by = f"standard error of {task.source}"
        metrics["accuracy"] = metric(
            DEFINITIONS["accuracy"], task.accuracy, bounds, n=task.asked, method=AS_TOLD, interval_by=told_by
        )
    given = {"dataset": task.task, "scorer": task.scorer, **task.parameters}
    return Imported(
        source=task.source,
        version=task.version,
        kind="lm",
        name=task.model,
        metrics=metrics,
        caveat=caveat,
        started=task.started,
        model={"name": task.model},
        parameters={key: value for key, value in given.items() if value is not None},
        told=task.told,
        tokens=task.tokens,
        asked=task.asked,
        failed=task.failed,
        failed_because=task.failed_because,
        stopped=task.stopped,
    )
