"""Metrics of the measured window as a whole: what every workload has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ipw.metrics.definitions import WINDOW, Definition
from ipw.metrics.metric import BELOW_RESOLUTION, EnergyFacts, Estimate, Metric, metric, number
from ipw.metrics.others import OtherLoad
from ipw.metrics.stats import in_quadrature
from ipw.runs.directory import RunDir
from ipw.runs.queries import Queries
from ipw.runs.recorded import Recorded, part_of

LEAST_COVERAGE = 0.99
"""Of the window, by readings: with less there is no energy of the whole."""
NO_IDLE = "idle power was not measured (--idle SECONDS)"


def measured_windows(manifest: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Start and end of each stretch whose energy was attributed: one, and one more each time that a run was resumed."""
    attribution = Recorded(manifest).attribution
    listed = attribution.get("windows_ns") or [attribution.get("window_ns")]
    pairs = [pair for pair in listed if isinstance(pair, list) and len(pair) == 2] if isinstance(listed, list) else []
    known = [(int(a), int(b)) for a, b in pairs if number(a) is not None and number(b) is not None]
    return [(start, end) for start, end in known if end > start]


def window_s(manifest: Mapping[str, Any], queries: Queries) -> float | None:
    """Seconds in the measured windows: as attributed, or else from the first query's start to the last end."""
    if windows := measured_windows(manifest):
        return sum(end - start for start, end in windows) / 1e9
    starts, ends = queries.numbers["start_ns"], queries.numbers["end_ns"]
    known = np.isfinite(starts) & np.isfinite(ends)
    return float(ends[known].max() - starts[known].min()) / 1e9 if known.any() else None


def window_metrics(
    run: RunDir,
    measured: Estimate | None,
    energy: EnergyFacts,
    duration_s: float | None,
    load: OtherLoad | None = None,
) -> dict[str, Metric]:
    """Energy, net energy, power over time, idle power and length of the measured window, beside others' load."""
    attribution = Recorded(run.manifest()).attribution
    idle = _estimate(part_of(attribution, "idle_power_w"))
    partly = _partly(attribution)
    power = _mean_power(measured, attribution, duration_s)
    whole = measured.with_lost(attribution) if measured else None
    net = whole.minus(idle.scaled(duration_s)) if whole and idle and duration_s and not partly else None
    if load is not None and duration_s:
        idle, net = load.widened_floor(idle), load.widened_net(net, duration_s)
    found = {
        "energy_j": (whole, energy.absent),
        "net_energy_j": (net, partly or NO_IDLE if measured else energy.absent),
        "mean_power_w": (power, partly or energy.absent),
        "idle_power_w": (idle, NO_IDLE if measured else energy.absent),
    }
    metrics = {d.name: measured_metric(d, *found[d.name], energy) for d in WINDOW if d.name in found}
    if measured and partly:
        seen = None if measured.below is None else max(measured.value - measured.below, 0.0)
        metrics["energy_j"] |= {"value": None, "low": seen, "high": None, "reason": partly}
    duration = next(d for d in WINDOW if d.name == "duration_s")
    reason = None if duration_s is not None else "nothing was measured"
    metrics["duration_s"] = metric(duration, duration_s, method="timed", reason=reason)
    windows = len(measured_windows(run.manifest())) or None
    return {name: entry | {"n": windows} for name, entry in metrics.items()}


def _mean_power(measured: Estimate | None, attribution: Mapping[str, Any], duration_s: float | None) -> Estimate | None:
    """Joules that were seen over the time in which they were; where that is not known, over all of the window."""
    mean_w = number(attribution.get("mean_power_w"))
    if measured is None or not duration_s:
        return None
    if _partly(attribution):
        return measured.scaled(mean_w / measured.value) if mean_w and measured.value > 0 else None
    over_all = measured.with_lost(attribution).scaled(1 / duration_s)
    covered = number(attribution.get("coverage"))
    if not mean_w or covered is None or covered >= 1:
        return over_all
    return over_all.moved(mean_w - over_all.value)  # between the bounds: nothing more was drawn, or as much as ever


def _partly(attribution: Mapping[str, Any]) -> str | None:
    """Say how much of the window the readings cover, where that is not all of it."""
    covered = number(attribution.get("coverage"))
    if covered is None or covered >= LEAST_COVERAGE:
        return None
    return f"readings cover only {math.floor(100 * covered)} % of the window"


def measured_energy(manifest: Mapping[str, Any]) -> Estimate | None:
    """Take the energy of the measured window, and how far it may be off either way."""
    attribution = Recorded(manifest).attribution
    measured_j, errors = number(attribution.get("measured_j")), attribution.get("measured_error_j")
    if measured_j is None:
        return None
    below, above = (
        (number(error) for error in errors) if isinstance(errors, list) and len(errors) == 2 else (None, None)
    )
    return Estimate(measured_j, below, above)


def _estimate(x: Mapping[str, Any]) -> Estimate | None:
    value, low, high = (number(x.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return None
    return Estimate(value, None, None) if low is None or high is None else Estimate(value, value - low, high - value)


def measured_metric(definition: Definition, estimate: Estimate | None, absent: str, energy: EnergyFacts) -> Metric:
    """Make the metric of a measured quantity, or say why it is absent."""
    if estimate is None:
        return metric(definition, None, energy=energy, reason=absent)
    value, below, above = estimate
    if below is None or above is None:
        return metric(definition, value, energy=energy)
    low, high = in_quadrature(value, below, above, energy.widening)
    if low is not None and definition.name != "net_energy_j":
        low = max(low, 0.0)  # a device that draws nothing is the least
    if below + above > abs(value) and definition.name != "idle_power_w":
        return metric(definition, None, (None, high), energy=energy, interval_by="sensor", reason=BELOW_RESOLUTION)
    return metric(definition, value, (low, high), energy=energy, interval_by="sensor")
