"""From the journal and the readings of a training run to `steps.parquet`, `spans.parquet`, and metrics by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipw.attribution.run import MEASURED, Attributed, attribute_run, straight_energy, unread
from ipw.energy.division import Share
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded
from ipw.runs.unseen import unseen
from ipw.workloads.training.edges import PHASES
from ipw.workloads.training.learning import Bounded, LossCurve, common_budget, common_target
from ipw.workloads.training.metrics import (
    UNMEASURED,
    EnergySource,
    Metric,
    StepEnergy,
    joules,
    memory_parts,
    method_metrics,
)
from ipw.workloads.training.resonance import CONCENTRATION, concentration, periods
from ipw.workloads.training.steps import AROUND, REPLAY, Phased, methods_of, read_steps, step_spans

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Record = Mapping[str, Any]


def derive_training(run: RunDir) -> dict[str, dict[str, Any]]:
    """Write the tables; returns by method: how it ended, why, and its metrics. Methods without a step have none."""
    recorded = Recorded.of(run)
    steps, marked = read_steps(run), list(run.journal("span"))
    around = [span for span in marked if span.get("phase") in AROUND]
    window = _window(marked, steps)
    spans, phases = step_spans(steps, around)
    attributed = attribute_run(recorded, spans, window) if window and steps else None
    run.update_manifest(
        attribution=attributed.facts if attributed else None,
        attribution_reason=None if attributed else unread(recorded) if steps else "no step was finished",
    )
    manifest = run.manifest()
    theirs = None if unseen(manifest) else attributed
    energy = step_energy(steps, phases, theirs)
    run.write_table("steps", _steps_table(steps, energy))
    run.write_table("spans", _spans_table(recorded, marked, steps, known=theirs is not None))
    ended = {str(record.get("method")): record for record in run.journal("method")}
    run.update_manifest(resonance=_resonance(steps, manifest, ended))
    found = _by_method(run, manifest, steps, energy, theirs.owners if theirs else None)
    how = _how(manifest)
    watched = {record.get("method"): record for record in run.journal("anatomy")}
    for name, joined in _replays(steps, around, phases, theirs, how).items():
        found[name]["metrics"] |= {"replay_energy_j": joined} | memory_parts(watched.get(name))
    _same_memory([entry["metrics"] for entry in found.values() if entry["metrics"]])
    return found


def step_energy(steps: Sequence[Record], phases: Phased, attributed: Attributed | None) -> dict[str, Floats]:
    """Columns of `steps.parquet` in joules; NaN where readings do not surround the step, or it has no such phase.

    Errors of a step's phases are added as if they were independent: what one has too much the next one often has too
    little, so this is on the wide side.
    """
    unknown = np.full(len(steps), np.nan)
    names = ("energy_j", "energy_low_j", "energy_high_j")
    columns = {name: unknown.copy() for name in (*names, *(f"{phase}_energy_j" for phase in PHASES))}
    if attributed is None:
        return columns
    count, known = phases.step.size, np.ones(len(steps), bool)
    np.logical_and.at(known, phases.step, attributed.covered[:count])

    def summed(values: Floats) -> Floats:
        return np.bincount(phases.step, values, len(steps)).astype(np.float64)

    share = attributed.spans
    value, low, high = (x[:count] for x in (share.energy_j, share.low_j, share.high_j))
    total = summed(value)
    columns["energy_j"] = total
    columns["energy_low_j"] = np.maximum(total - np.sqrt(summed((value - low) ** 2)), np.minimum(total, 0.0))
    columns["energy_high_j"] = total + np.sqrt(summed((high - value) ** 2))
    for number, phase in enumerate(PHASES):
        mine = phases.phase == number
        sums = np.bincount(phases.step[mine], attributed.spans.energy_j[:count][mine], len(steps))
        there = np.bincount(phases.step[mine], minlength=len(steps)) > 0
        columns[f"{phase}_energy_j"] = np.where(there, sums, np.nan)
    return {name: np.where(known, column, np.nan) for name, column in columns.items()}


def _by_method(
    run: RunDir, manifest: Mapping[str, Any], steps: Sequence[Record], energy: Mapping[str, Floats], share: Share | None
) -> dict[str, dict[str, Any]]:
    names = np.array([step["method"] for step in steps])
    methods = methods_of(steps)
    curves = {name: _curve(steps, names == name, energy) for name in methods}
    parameters = (manifest.get("workload") or {}).get("parameters") or {}
    known = list(curves.values())
    target = parameters.get("target_loss") or common_target(known)
    budget_j = parameters.get("budget_j") or common_budget(known)
    how = _how(manifest)
    evaluations = list(run.journal("evaluation"))
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(methods):
        mine = [step for step in steps if step["method"] == name]
        covered = bool(np.isfinite(energy["energy_j"][names == name]).all())
        drawn = _drawn(share, number, mine) if share is not None and covered else None
        told = [record for record in evaluations if record.get("method") == name]
        metrics = method_metrics(mine, drawn, curves[name], told, how, target, budget_j)
        found[name] = _entry("interrupted", None, metrics, target, budget_j)
    for record in run.journal("method"):
        name = str(record.get("method"))
        entry = found.setdefault(name, _entry("", None, {}, target, budget_j))
        entry |= {"status": str(record.get("status")), "reason": record.get("reason")}
    return found


def _same_memory(methods: Sequence[dict[str, Metric]]) -> None:
    """Where every method on a CPU was watched, let their memory be that of tensors, as it is on a GPU."""
    known = all(metrics["tensors_memory_bytes"]["value"] is not None for metrics in methods)
    if known and all(metrics["peak_device_memory_bytes"]["value"] is None for metrics in methods):
        for metrics in methods:
            metrics["training_memory_bytes"] = metrics["tensors_memory_bytes"]


def _how(manifest: Mapping[str, Any]) -> EnergySource:
    attribution = manifest.get("attribution") or {}
    absent = unseen(manifest) or manifest.get("basis_reason") or UNMEASURED
    return EnergySource(manifest.get("method"), attribution.get("gain_rel"), str(absent))


def _replays(
    steps: Sequence[Record], around: Sequence[Record], phases: Phased, attributed: Attributed | None, how: EnergySource
) -> dict[str, Metric]:
    """Energy in which late peers made the weights of the steps before them, by method; for methods with steps."""
    found = {}
    methods = methods_of(steps)
    for name in methods:
        mine = [k for k, span in enumerate(around) if span["phase"] == REPLAY and span.get("method") == name]
        total = Bounded(None, reason="nobody joined late")
        if mine and attributed is None:
            total = Bounded(None, reason=how.reason)
        elif mine and attributed is not None:
            place = np.array(mine) + phases.step.size
            share = attributed.spans
            known = bool(attributed.covered[place].all())
            value, low, high = (float(x[place].sum()) for x in (share.energy_j, share.low_j, share.high_j))
            total = Bounded(value, low, high) if known else Bounded(None, reason=UNMEASURED)
        found[name] = joules(total, 0.0, len(mine), how)
    return found


def _entry(
    status: str, reason: str | None, metrics: dict[str, Metric], target: float | None, budget_j: float | None
) -> dict[str, Any]:
    return {"status": status, "reason": reason, "target_loss": target, "budget_j": budget_j, "metrics": metrics}


def _curve(steps: Sequence[Record], mine: npt.NDArray[np.bool_], energy: Mapping[str, Floats]) -> LossCurve:
    losses = np.array([np.nan if step.get("loss") is None else step["loss"] for step in steps], np.float64)
    margin = (energy["energy_high_j"] - energy["energy_low_j"]) / 2
    return LossCurve(losses[mine], energy["energy_j"][mine], margin[mine])


def _drawn(share: Share, method: int, steps: Sequence[Record]) -> StepEnergy:
    first = method * len(PHASES)
    used = {phase for step in steps for phase in step["phases"]}
    by_phase = {
        phase: Bounded(float(share.energy_j[first + k]), float(share.low_j[first + k]), float(share.high_j[first + k]))
        for k, phase in enumerate(PHASES)
        if phase in used
    }
    # What one phase has too much another has too little, so that the sum is known better than its parts; the largest
    # part's error bounds that of the sum from above well enough where phases follow one another thousands of times.
    value = sum(part.value or 0.0 for part in by_phase.values())
    below = max((part.value or 0.0) - (part.low or 0.0) for part in by_phase.values())
    above = max((part.high or 0.0) - (part.value or 0.0) for part in by_phase.values())
    return StepEnergy(Bounded(value, max(value - below, 0.0), value + above), by_phase)


def _resonance(
    steps: Sequence[Record], manifest: Mapping[str, Any], ended: Mapping[str, Record]
) -> list[dict[str, Any]]:
    """How much the steps of each method kept time with each sensor, and how many pauses were made to break that."""
    found = []
    for method in methods_of(steps):
        mine = [step for step in steps if step["method"] == method]
        pauses = ((ended.get(method) or {}).get("jitter") or {}).get("pauses", 0)
        starts, ends = ([step["edges_ns"][end] for step in mine] for end in (0, -1))
        for channel, period_s in periods(manifest.get("sensors") or []).items():
            share = concentration(starts, ends, period_s)
            if share is not None:
                found.append({
                    "method": method, "channel": channel, "period_s": period_s, "concentration": share,
                    "in_time": share > CONCENTRATION, "pauses": pauses,
                })  # fmt: skip
    return found


def _window(marked: Sequence[Record], steps: Sequence[Record]) -> tuple[int, int] | None:
    """All methods, one after another; where a crash left no mark, the steps that finished."""
    measured = [span for span in marked if span.get("phase") == MEASURED]
    if measured:
        return int(measured[0]["start_ns"]), int(measured[0]["end_ns"])
    edges = [t for step in steps for t in (step["edges_ns"][0], step["edges_ns"][-1])]
    return (min(edges), max(edges)) if edges else None


def _steps_table(steps: Sequence[Record], energy: Mapping[str, Floats]) -> pa.Table:
    import pyarrow as pa

    whole, real, text = pa.int64(), pa.float64(), pa.string()
    kinds = {"method": text, "step": whole, "start_ns": whole, "end_ns": whole, "loss": real, "samples": whole}
    kinds |= {"tokens": whole, "peak_device_memory_bytes": whole, "peak_host_memory_bytes": whole, "status": text}
    kinds |= {"machines": whole, "clipped_slopes": whole}
    columns = {name: pa.array([step.get(name) for step in steps], kind) for name, kind in kinds.items()}
    peaks = [step.get("peak_device_memory_bytes") or step.get("peak_host_memory_bytes") for step in steps]
    columns["peak_memory_bytes"] = pa.array(peaks, whole)
    return pa.table(columns | {name: pa.array(x, real, from_pandas=True) for name, x in energy.items()})


def _spans_table(recorded: Recorded, marked: Sequence[Record], steps: Sequence[Record], *, known: bool) -> pa.Table:
    """What was marked, then below the measured window each step, and below each step its phases."""
    import pyarrow as pa

    parent = next((k for k, span in enumerate(marked) if span.get("phase") == MEASURED), None)
    rows = [(None if span.get("phase") not in AROUND else parent, span.get("name"), span["phase"], span["start_ns"],
             span["end_ns"]) for span in marked]  # fmt: skip
    for step in steps:
        number = len(rows)
        edges = step["edges_ns"]
        rows.append((parent, f"{step['method']} {step['step']}", "step", edges[0], edges[-1]))
        rows += [(number, phase, phase, start, end)
                 for phase, start, end in zip(step["phases"], edges, edges[1:], strict=False)]  # fmt: skip
    names = ("parent_id", "name", "phase", "start_ns", "end_ns")
    kinds = (pa.int64(), pa.string(), pa.string(), pa.int64(), pa.int64())
    columns = {name: pa.array([row[k] for row in rows], kinds[k]) for k, name in enumerate(names)}
    columns = {"span_id": pa.array(range(len(rows)), pa.int64())} | columns
    joules = ("energy_j", "energy_low_j", "energy_high_j")
    empty = [pa.nulls(len(rows), pa.float64())] * len(joules)
    bounds = straight_energy(recorded, [row[3] for row in rows], [row[4] for row in rows]) if known and rows else empty
    return pa.table(columns | dict(zip(joules, bounds, strict=True)))
