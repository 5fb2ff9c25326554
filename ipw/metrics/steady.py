"""The part of a run in which its load is what was asked for, and what the machine did in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.energy.curve import coverage, energy_between
from ipw.metrics.definitions import STEADY
from ipw.metrics.metric import EnergyFacts, Estimate, Metric, metric, number
from ipw.metrics.readings import total_channels
from ipw.metrics.stats import Interval, student_t975
from ipw.metrics.window import LEAST_COVERAGE, measured_metric, measured_windows
from ipw.runs.queries import Queries
from ipw.runs.recorded import Recorded

Window = tuple[int, int]
SLICES = 10
"""Of the steady state: how its throughput varies among them says how well it is known (batch means)."""
SHORT = "the load was never steady: too few questions for so many in flight"


def steady_windows(manifest: Mapping[str, Any], queries: Queries) -> list[Window]:
    """Find the steady part of each measured window; none where there are too few queries."""
    parameters = Recorded(manifest).parameters
    open_loop, in_flight = parameters.get("rate") is not None, int(number(parameters.get("concurrency")) or 1)
    found = []
    for start, end in measured_windows(manifest):
        starts, ends = (np.sort(queries.numbers[name]) for name in ("start_ns", "end_ns"))
        starts, ends = starts[(starts >= start) & (starts <= end)], ends[(ends >= start) & (ends <= end)]
        if len(starts) <= (1 if open_loop else in_flight) or not len(ends):
            continue
        if open_loop:
            first, last = ends[0], starts[-1]
        else:
            first, last = starts[in_flight - 1], ends[min(np.searchsorted(ends, starts[-1], "right"), len(ends) - 1)]
        if last > first:
            found.append((int(first), int(last)))
    return found


def steady_metrics(recorded: Recorded, queries: Queries, energy: EnergyFacts) -> dict[str, Metric]:
    """Length, throughput, power and joules per output token of the steady state."""
    windows = steady_windows(recorded.entries, queries)
    length, throughput, power, per_token = STEADY
    if not windows:
        return {definition.name: metric(definition, None, reason=SHORT) for definition in STEADY}
    seconds = sum(end - start for start, end in windows) / 1e9
    tokens, interval = _throughput(queries, windows)
    drawn = None if recorded.unseen else _energy(recorded, windows)
    absent = energy.absent if recorded.unseen or not total_channels(recorded.entries) else "readings do not cover it"
    found = {
        length.name: metric(length, seconds, method="timed"),
        throughput.name: metric(
            throughput, tokens / seconds, interval, n=SLICES, method="timed", interval_by="batch means"
        ),
        power.name: measured_metric(power, drawn and drawn.scaled(1 / seconds), absent, energy),
    }
    per_token_j = drawn.scaled(1 / tokens) if drawn and tokens else None
    return found | {per_token.name: measured_metric(per_token, per_token_j, absent, energy)}


def _throughput(queries: Queries, windows: Sequence[Window]) -> tuple[float, Interval]:
    """Output tokens in the windows, and the interval of their number per second."""
    edges = [np.linspace(start, end, SLICES + 1) for start, end in windows]
    counts = np.sum([np.diff(_tokens_until(queries, each)) for each in edges], axis=0)
    seconds = sum(end - start for start, end in windows) / 1e9
    mean = float(counts.sum()) / seconds
    half = student_t975(SLICES - 1) * float(np.std(counts * SLICES / seconds, ddof=1)) / math.sqrt(SLICES)
    return float(counts.sum()), (max(mean - half, 0.0), mean + half)


def _tokens_until(queries: Queries, moments_ns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Output tokens up to each moment, each query's spread evenly from its first to its last."""
    first, last = queries.numbers["first_token_ns"], queries.numbers["last_token_ns"]
    first = np.where(np.isfinite(first), first, queries.numbers["start_ns"])
    last = np.where(np.isfinite(last), last, queries.numbers["end_ns"])
    count = np.nan_to_num(queries.numbers["completion_tokens"])
    until = [count @ np.clip((moment - first) / np.maximum(last - first, 1.0), 0.0, 1.0) for moment in moments_ns]
    return np.array(until)


def _energy(recorded: Recorded, windows: Sequence[Window]) -> Estimate | None:
    """Joules of all devices in the windows; `None` where readings do not cover them."""
    value, below, above = 0.0, 0.0, 0.0
    curves = recorded.total_curves.values()
    for curve in curves:
        if curve.t_ns.size < 2 or any(coverage(curve, *window)[0] < LEAST_COVERAGE for window in windows):
            return None
        joules, low, high = energy_between(curve, [start for start, _ in windows], [end for _, end in windows])
        value += float(joules.sum())
        below = math.hypot(below, *(joules - low))
        above = math.hypot(above, *(high - joules))
    return Estimate(value, below, above) if curves else None
