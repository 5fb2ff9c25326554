"""The journalled steps of a training run as columns, and as spans that energy is attributed to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.timeline import Spans
from ipw.runs.directory import RunDir
from ipw.workloads.training.edges import PHASES

Record = Mapping[str, Any]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
REPLAY = "replay"
AROUND = ("load", "warmup", "evaluation", REPLAY)
"""Phases that are journalled as spans: all that draws power beside the steps."""


class Phased(NamedTuple):
    """Phases of all steps as arrays of one length."""

    start_ns: Ints
    end_ns: Ints
    phase: Ints
    """Index into PHASES."""
    step: Ints
    """Index into the steps."""


def read_steps(run: RunDir) -> list[dict[str, Any]]:
    """Finished steps in the order of the journal; a record without its times is left out."""
    return [record for record in run.journal("step") if _whole(record)]


def phased(steps: Sequence[Record]) -> Phased:
    """Lay out the phases of every step."""
    rows = [
        (start, end, PHASES.index(phase), number)
        for number, step in enumerate(steps)
        for phase, start, end in zip(step["phases"], step["edges_ns"], step["edges_ns"][1:], strict=False)
    ]
    return Phased(*np.array(rows, np.int64).reshape(-1, 4).T)


def step_spans(steps: Sequence[Record], around: Sequence[Record]) -> tuple[Spans, Phased]:
    """Spans of the steps' phases first, then of what goes on around them, which own themselves.

    Owners are the phases of each method, 3 · method + phase: their energy as a whole is known better than that of a
    step. They have levels of power of their own.
    """
    phases = phased(steps)
    methods = methods_of(steps)
    method = np.array([methods.index(step["method"]) for step in steps], np.int64)
    level = method[phases.step] * len(PHASES) + phases.phase
    owners = len(methods) * len(PHASES)
    names = tuple(f"{name} {phase}" for name in methods for phase in PHASES)
    extra = [(s["start_ns"], s["end_ns"], len(names) + AROUND.index(s["phase"])) for s in around]
    extra += [(*step["data_ns"], len(names) + len(AROUND)) for step in steps]
    more = np.array(extra, np.int64).reshape(-1, 3).T
    return Spans(
        start_ns=np.concatenate([phases.start_ns, more[0]]),
        end_ns=np.concatenate([phases.end_ns, more[1]]),
        phase=np.concatenate([level, more[2]]),
        phases=(*names, *AROUND, "data"),
        owner=np.concatenate([level, owners + np.arange(more.shape[1])]),
        work=np.concatenate([phases.end_ns - phases.start_ns, more[1] - more[0]]).astype(np.float64) / 1e9,
    ), phases


def methods_of(steps: Sequence[Record]) -> list[str]:
    """Methods that finished a step, in order."""
    return list(dict.fromkeys(str(step["method"]) for step in steps))


def _whole(record: Record) -> bool:
    edges, phases, data = record.get("edges_ns"), record.get("phases"), record.get("data_ns")
    return (
        isinstance(record.get("method"), str)
        and isinstance(edges, list)
        and isinstance(phases, list)
        and isinstance(data, list)
        and len(data) == 2
        and len(edges) == len(phases) + 1 > 1
        and all(isinstance(t, int) for t in (*edges, *data))
        and sorted(edges) == edges
        and set(phases) <= set(PHASES)
    )
