"""The measured part of a training run: each method in turn, from the same weights, over the same data."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ipw.clock import now_ns
from ipw.energy.curve import energy_between
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded
from ipw.workloads.base import Book, Counters, Progress
from ipw.workloads.terminable import terminable
from ipw.workloads.training.parameters import MOST_STEPS, Parameters
from ipw.workloads.training.processes import Processes, Record, follow
from ipw.workloads.training.resonance import periods

BETWEEN_S = 1.0
"""Idle between two methods, so that the idle power under each is known."""
BUDGET_EVERY_S = 0.25
ENDED_WELL = ("complete", "stopped")


class Measurer(Protocol):
    """What is needed of `ipw.metering.meter.Meter`."""

    def span(self, name: str, phase: str) -> Any:
        """Mark what is done inside as one interval of the given phase."""

    def idle(self, name: str, seconds: float) -> None:
        """Sit still."""

    def note(self, **facts: Any) -> None:
        """Add top-level entries to the manifest."""


class Ended(NamedTuple):
    """How one method ended."""

    method: str
    status: str
    reason: str | None


def run_training(
    meter: Measurer, book: Book, run: RunDir, parameters: Parameters, progress: Progress, *, idle_s: float = BETWEEN_S
) -> list[Ended]:
    """Train by each method in a process of its own, which journals every step as it finishes.

    Raises KeyboardInterrupt after SIGINT or SIGTERM; the method that was on is journalled as interrupted.
    """
    channels = run.manifest().get("sensors", [])
    most = parameters.most_steps()
    counters = Counters(total=len(parameters.methods) * most if most < MOST_STEPS else 1)
    ended = []
    with terminable(), meter.span("measure", "measure"):
        for number, method in enumerate(parameters.methods):
            if number:
                meter.idle("idle between", min(idle_s, BETWEEN_S))
            ended.append(_one(meter, book, run, parameters, method, channels, counters, progress))
            if most < MOST_STEPS:
                counters.done = most * (number + 1)
    return ended


def _one(
    meter: Measurer, book: Book, run: RunDir, parameters: Parameters, method: str,
    channels: Sequence[Mapping[str, Any]], counters: Counters, progress: Progress,
) -> Ended:  # fmt: skip
    start_ns = now_ns()
    end: Record = {"status": "interrupted", "reason": None}
    budget = Budget(run, parameters.budget_j)
    try:
        with Processes(run.path, method, parameters, periods(channels)) as processes:

            def on_step(record: Record) -> None:
                counters.done += 1
                counters.total = max(counters.total, counters.done)
                counters.tokens += record.get("tokens") or 0
                progress(counters)
                if budget.spent(int(record["start_ns"])):
                    processes.stop()

            def on_model(record: Record) -> None:
                meter.note(model={name: value for name, value in record.items() if name != "kind"})

            end = follow(processes, on_step, on_model)
    finally:
        facts = {name: end.get(name) for name in ("status", "reason", "jitter")}
        book.append("method", {"method": method, "start_ns": start_ns, "end_ns": now_ns(), **facts})
    return Ended(method, str(end["status"]), end.get("reason"))


class Budget:
    """Joules since a method's first step, looked at a few times a second."""

    def __init__(self, run: RunDir, budget_j: float | None) -> None:
        self._run, self._budget_j = run, budget_j
        self._first_ns: int | None = None
        self._looked = 0.0

    def spent(self, start_ns: int) -> bool:
        """Whether the budget is used up, at a step that started at `start_ns`."""
        self._first_ns = start_ns if self._first_ns is None else self._first_ns
        if self._budget_j is None or time.monotonic() - self._looked < BUDGET_EVERY_S:
            return False
        self._looked = time.monotonic()
        known = [curve for curve in Recorded.of(self._run).total_curves.values() if curve.t_ns.size]
        now = now_ns()
        return sum(float(energy_between(curve, self._first_ns, now)[0][0]) for curve in known) >= self._budget_j
