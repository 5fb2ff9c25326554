"""Figures of one method from its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.runs.readings import is_estimate
from ipw.workloads.training.edges import PHASES
from ipw.workloads.training.learning import Bounded, LossCurve, energy_to, loss_at, reached

Floats = npt.NDArray[np.float64]
Metric = dict[str, Any]
Record = Mapping[str, Any]
UNMEASURED = "energy was not attributed"
NO_TEXT = "the data are no text"
MEMORY_PARTS = ("tensors", "weights", "optimizer", "gradients", "activations")
ON_HOST = "the device is the host"


class EnergySource(NamedTuple):
    """How joules were come by."""

    method: str | None
    gain_rel: float | None
    reason: str


class StepEnergy(NamedTuple):
    """Joules of a method's steps as a whole, with the interval of measurement: of all phases, and of each."""

    total: Bounded
    by_phase: dict[str, Bounded]


def method_metrics(
    steps: Sequence[Record], drawn: StepEnergy | None, curve: LossCurve, evaluations: Sequence[Record],
    energy: EnergySource, target: float | None, budget_j: float | None,
) -> dict[str, Metric]:  # fmt: skip
    """All metrics of one method's finished steps, at least one."""
    n = len(steps)
    seconds = np.array([step["end_ns"] - step["start_ns"] for step in steps]) / 1e9
    samples, tokens = (_total(steps, name) for name in ("samples", "tokens"))
    found = {"step_time_s": timed(_mean(seconds), "s", n)}
    found["samples_per_s"] = timed(_rate(samples, seconds), "1/s", n)
    found["tokens_per_s"] = timed(_rate(tokens, seconds) if tokens else Bounded(None, reason=NO_TEXT), "1/s", n)
    spread = _relative_error(curve.energy_j)
    per = {"step": n, "sample": samples, "token": tokens}
    for what, count in per.items():
        reason = NO_TEXT if what == "token" else "none was counted"
        found[f"energy_per_{what}_j"] = joules(_over(drawn and drawn.total, count, reason, energy), spread, n, energy)
    for phase in PHASES:
        mine = drawn and drawn.by_phase.get(phase, Bounded(None, reason=f"this method has no {phase} phase"))
        found[f"{phase}_energy_per_step_j"] = joules(_over(mine, n, "", energy), spread, n, energy)
    found |= _memory(steps)
    first, last = (_evaluation(evaluations, before=before) for before in (True, False))
    found["initial_loss"], found["final_loss"] = counted(first, "loss", n), counted(last, "loss", n)
    found |= _learning(curve, energy, target, budget_j, n)
    found["clipped_slopes"] = counted(_clipped(steps), "slopes", n)
    found["steps"] = counted(Bounded(float(n)), "steps", n)
    return found


def _learning(
    curve: LossCurve, energy: EnergySource, target: float | None, budget_j: float | None, n: int
) -> dict[str, Metric]:
    missing = Bounded(None, reason="no target: a method has too few steps")
    at = (None, None, None) if target is None else reached(curve.losses, target)
    value, low, high = (None if x is None else float(x) for x in at)
    steps = Bounded(value, low, high, "the loss did not come down to the target")
    to_target = missing if target is None else energy_to(curve, target)
    at_budget = Bounded(None, reason=energy.reason) if budget_j is None else loss_at(curve, budget_j)
    return {
        "steps_to_target_loss": counted(missing if target is None else steps, "steps", n),
        "energy_to_target_loss_j": joules(to_target, 0.0, n, energy),
        "loss_at_budget": counted(at_budget, "loss", n),
    }


def memory_parts(anatomy: Record | None) -> dict[str, Metric]:
    """What takes memory in a step, from the record of the step that was watched."""
    told = anatomy or {"reason": "no step of the warm-up was watched"}
    parts = {f"{part}_memory_bytes": told.get(f"{part}_bytes") for part in MEMORY_PARTS}
    reason = told.get("reason")
    return {name: counted(Bounded(None if x is None else float(x), reason=reason), "B", 1) for name, x in parts.items()}


def _clipped(steps: Sequence[Record]) -> Bounded:
    known = [step["clipped_slopes"] for step in steps if step.get("clipped_slopes") is not None]
    return Bounded(float(sum(known)) if known else None, reason="this method sends no slopes")


def _memory(steps: Sequence[Record]) -> dict[str, Metric]:
    def peak(name: str) -> float | None:
        values = [step[name] for step in steps if step.get(name) is not None]
        return float(max(values)) if values else None

    on_device, on_host, before = (
        peak(f"{name}_bytes") for name in ("peak_device_memory", "peak_host_memory", "host_memory_before")
    )
    own = on_device if on_device is not None else on_host - before if on_host and before else None
    n = len(steps)
    return {
        "peak_device_memory_bytes": counted(Bounded(on_device, reason=ON_HOST), "B", n),
        "peak_host_memory_bytes": counted(Bounded(on_host, reason="the system does not tell"), "B", n),
        "training_memory_bytes": counted(Bounded(own, reason="the system does not tell"), "B", n),
    }


def joules(amount: Bounded, spread: float, n: int, energy: EnergySource) -> Metric:
    """Make a metric in joules; `spread` is the relative half-width that the steps' variation adds.

    An estimate's interval also holds the error of its gain.
    """
    gain = (energy.gain_rel or 0.0) if is_estimate(energy.method) else 0.0
    value, low, high, reason = amount
    if value is not None:
        beyond = math.hypot(spread, gain) * value
        low = None if low is None else max(value - math.hypot(value - low, beyond), 0.0)
        high = None if high is None else value + math.hypot(high - value, beyond)
    entry = _metric(Bounded(value, low, high, reason), "J", n, energy.method, "sensor and spread of steps")
    return entry | {"gain_rel": energy.gain_rel}


def timed(amount: Bounded, unit: str, n: int) -> Metric:
    """Make a metric that a clock gave."""
    return _metric(amount, unit, n, "timed", "spread of steps")


def counted(amount: Bounded, unit: str, n: int) -> Metric:
    """Make a metric that the model or the system told."""
    return _metric(amount, unit, n, "told", "spread of steps")


def _metric(amount: Bounded, unit: str, n: int, method: str | None, interval: str) -> Metric:
    value, low, high, reason = amount
    known = value is not None
    return {
        "value": value,
        "low": low if known else None,
        "high": high if known else None,
        "unit": unit,
        "n": n,
        "method": method,
        "interval": interval if known and (low is not None or high is not None) else None,
        "reason": None if known else reason,
    }


def _mean(values: Floats) -> Bounded:
    mean = float(values.mean())
    half = _relative_error(values) * mean
    return Bounded(mean, mean - half, mean + half) if values.size > 1 else Bounded(mean)


def _rate(count: float, seconds: Floats) -> Bounded:
    mean = _mean(seconds)
    total = float(seconds.sum())
    if total <= 0:
        return Bounded(None, reason="no time passed")
    rate, share = count / total, _relative_error(seconds)
    return Bounded(rate, rate / (1 + share), rate / max(1 - share, 1e-3)) if mean.low is not None else Bounded(rate)


def _relative_error(values: Floats) -> float:
    """Half-width of the 95 % interval of a mean, over the mean; 0 where it cannot be told."""
    known = values[np.isfinite(values)]
    if known.size < 2 or known.mean() <= 0:
        return 0.0
    wider = 1 + 2.5 / (known.size - 1)  # about Student's t over the normal's 1.96
    return float(1.96 * wider * known.std(ddof=1) / math.sqrt(known.size) / known.mean())


def _over(total: Bounded | None, count: float, reason: str, energy: EnergySource) -> Bounded:
    if total is None or total.value is None:
        return Bounded(None, reason=energy.reason if total is None else total.reason)
    if not count:
        return Bounded(None, reason=reason)
    value, low, high = (None if x is None else x / count for x in total[:3])
    return Bounded(value, low, high)


def _total(steps: Sequence[Record], name: str) -> float:
    return float(sum(step.get(name) or 0 for step in steps))


def _evaluation(evaluations: Sequence[Record], *, before: bool) -> Bounded:
    """Held-out loss before the first step, or after the last one."""
    losses = [record.get("loss") for record in evaluations if (record.get("step") == 0) == before]
    loss = losses[-1] if losses else None
    return Bounded(float(loss) if isinstance(loss, int | float) else None, reason="it was not evaluated")
