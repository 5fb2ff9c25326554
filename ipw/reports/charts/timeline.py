"""Power over time with what the workload did meanwhile, small enough to draw."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ipw.energy.curve import Curve, Floats, Ints
from ipw.metrics.metric import number
from ipw.metrics.readings import mean_power
from ipw.runs.recorded import part_of
from ipw.runs.spans import RecordedSpans

COARSE, FINE = 600, 2400
"""Stretches of a timeline: as many as a chart has pixels, or enough to look at one part closely."""
RUN_PHASES = ("idle", "load", "warmup", "measure", "run")
"""Of the run as a whole; every other phase is of a query or a step, and gets a lane of its own."""


class Band(NamedTuple):
    """A stretch of one phase."""

    phase: str
    start_s: float
    end_s: float


class PowerTimeline(NamedTuple):
    """Total power in equal stretches; seconds count from the start of the measured window."""

    edges_s: Floats
    mean_w: Floats
    low_w: Floats
    """Least power between two knots that touch the stretch; NaN, like the others, where nothing was read."""
    high_w: Floats
    idle_w: float | None
    lanes: Sequence[Sequence[Band]]
    """The run's phases, then those of its queries or steps."""


def timeline(
    curve: Curve, attribution: Mapping[str, Any], spans: RecordedSpans, stretches: int = COARSE
) -> PowerTimeline | None:
    """Power over a whole run, from the `curve` of all that is in its total; `None` where it holds no two readings."""
    if curve.t_ns.size < 2:
        return None
    window = attribution.get("window_ns")
    origin = int(window[0]) if isinstance(window, list) and window else int(curve.t_ns[0])
    edges = np.unique(np.linspace(curve.t_ns[0], curve.t_ns[-1], stretches + 1).astype(np.int64))
    mean = mean_power(curve, edges)
    low, high = _extremes(curve, edges)
    work = tuple(phase for phase in spans.phases if phase not in RUN_PHASES)
    return PowerTimeline(
        (edges - origin) / 1e9,
        mean,
        np.fmin(low, mean),
        np.fmax(high, mean),
        number(part_of(attribution, "idle_power_w").get("value")),
        [_bands(spans, phases, edges, origin) for phases in (RUN_PHASES, work)],
    )


def coarser(data: PowerTimeline, most: int) -> PowerTimeline:
    """Join neighbouring stretches until there are at most so many, for a narrow chart."""
    count = len(data.mean_w)
    if count <= most:
        return data
    first = np.unique(np.linspace(0, count, most + 1).astype(np.int64))[:-1]
    known = np.isfinite(data.mean_w)
    sums = np.add.reduceat(np.where(known, data.mean_w, 0.0), first)
    counts = np.add.reduceat(known.astype(np.float64), first)
    mean = np.divide(sums, counts, out=np.full(len(first), np.nan), where=counts > 0)
    edges = np.append(data.edges_s[first], data.edges_s[-1])
    low, high = np.fmin.reduceat(data.low_w, first), np.fmax.reduceat(data.high_w, first)
    lanes = [_sampled(lane, edges) for lane in data.lanes]
    return data._replace(edges_s=edges, mean_w=mean, low_w=low, high_w=high, lanes=lanes)


def _sampled(bands: Sequence[Band], edges_s: Floats) -> list[Band]:
    """Give each stretch the phase in its middle, and join neighbours of one phase."""
    found: list[Band] = []
    starts = [band.start_s for band in bands]
    for left, right in pairwise(edges_s.tolist()):
        middle = (left + right) / 2
        band = bands[bisect(starts, middle) - 1] if starts and starts[0] <= middle else None
        if band is None or band.end_s < middle:
            continue
        if found and found[-1].phase == band.phase and found[-1].end_s == left:
            found[-1] = found[-1]._replace(end_s=right)
        else:
            found.append(Band(band.phase, left, right))
    return found


def _extremes(curve: Curve, edges: Ints) -> tuple[Floats, Floats]:
    """Least and greatest power of the knot intervals that begin in each stretch, NaN where none does."""
    power = np.diff(curve.energy_j) / np.diff(curve.t_ns) * 1e9
    power[np.searchsorted(curve.t_ns, curve.gaps_ns[:, 0])] = np.nan
    stretch = np.clip(np.searchsorted(edges, curve.t_ns[:-1], "right") - 1, 0, edges.size - 2)
    low, high = np.full(edges.size - 1, np.inf), np.full(edges.size - 1, -np.inf)
    np.fmin.at(low, stretch, power)
    np.fmax.at(high, stretch, power)
    return np.where(np.isinf(low), np.nan, low), np.where(np.isinf(high), np.nan, high)


def _bands(spans: RecordedSpans, phases: Sequence[str], edges: Ints, origin: int) -> list[Band]:
    """Join neighbouring stretches in which the same phase takes the most time: as many bands as can be seen."""
    if not phases:
        return []
    taken = np.stack([_time_within(spans.of(phase), edges) for phase in phases])
    most = np.where(taken.max(axis=0) > 0, taken.argmax(axis=0), -1)
    cuts = np.flatnonzero(np.diff(most)) + 1
    seconds = (edges - origin) / 1e9
    bands = []
    for a, b in zip([0, *cuts.tolist()], [*cuts.tolist(), len(most)], strict=True):
        if most[a] >= 0:
            bands.append(Band(phases[most[a]], float(seconds[a]), float(seconds[b])))
    return bands


def _time_within(spans: RecordedSpans, edges: Ints) -> Floats:
    """Time that spans spend in each stretch, added up: Σ clip(t - start) - Σ clip(t - end) is what went by at t."""
    passed = _passed(edges, spans.start_ns) - _passed(edges, spans.end_ns)
    within: Floats = np.diff(passed)
    return within


def _passed(edges: Ints, moments: Ints) -> Floats:
    ordered = np.sort(moments) - edges[0]  # small numbers, so that their sum fits
    since = edges - edges[0]
    count = np.searchsorted(ordered, since, "right")
    total: Floats = np.asarray(count * since - np.concatenate([[0], np.cumsum(ordered)])[count], np.float64)
    return total
