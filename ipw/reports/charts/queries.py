"""Charts of queries and runs, each a pure function from numbers to one SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ipw.metrics.stats import Array
from ipw.printable import clean
from ipw.reports.charts.axes import (
    CHARACTER_PX,
    MUTED,
    Axis,
    Series,
    axis_over,
    figure,
    frame,
    label,
    line,
    marker,
    plain,
    polyline,
)
from ipw.reports.markup import Markup, join, tag
from ipw.reports.text import scale_for, shortened

WIDTH, LEFT, RIGHT = 760, 64, 740
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Value(NamedTuple):
    """A number with its 95 % interval; an end that is not known is the number."""

    value: float
    low: float
    high: float


class Spot(NamedTuple):
    """One run in the plane of accuracy and energy."""

    name: str
    energy_j: Value
    accuracy: Value
    series: Series
    estimated: bool
    valid: bool = True


class Sample(NamedTuple):
    """Times of one run, in seconds."""

    name: str
    values: Array
    series: Series


class SubjectRow(NamedTuple):
    """Accuracy in one subject, by run."""

    subject: str
    accuracies: Sequence[tuple[Value, Series]]


# --- accuracy against energy ----------------------------------------------------------------------------------------


def accuracy_energy(spots: Sequence[Spot], key: str, *, front: bool = True) -> Markup:
    """Accuracy against energy per query, both with intervals, and the Pareto front through what was measured."""
    top, bottom = 36.0, 340.0
    scale = scale_for("J", [s.energy_j.value for s in spots])
    factor = scale.factor
    x = axis_over([factor * end for s in spots for end in s.energy_j if end > 0], LEFT, RIGHT)
    percents = [100 * end for s in spots for end in s.accuracy]
    y = Axis(max(0.0, min(percents) - 4), min(100.0, max(percents) + 4), bottom, top)
    places = [(x.at(factor * s.energy_j.value), y.at(100 * s.accuracy.value)) for s in spots]
    parts: list[Markup | None] = [frame(x, y, f"energy per query, {scale.unit}", "accuracy, %")]
    best = [(x.at(factor * s.energy_j.value), y.at(100 * s.accuracy.value)) for s in pareto_front(spots)]
    if front and len(best) > 1:
        steps = [point for (x0, y0), (x1, y1) in pairwise(best) for point in ((x0, y0), (x1, y0), (x1, y1))]
        parts.append(polyline(steps, MUTED, 1.5, "5 4"))
    markers: list[Box] = [(at_x - 7, at_y - 7, at_x + 7, at_y + 7) for at_x, at_y in places]
    whiskers: list[Box] = []
    for s, (at_x, at_y) in zip(spots, places, strict=True):
        left, right = (x.at(factor * end) for end in s.energy_j[1:])
        low, high = (y.at(100 * end) for end in s.accuracy[1:])
        parts += [line(left, at_y, right, at_y, s.series[0], 1.5), line(at_x, low, at_x, high, s.series[0], 1.5)]
        whiskers += [(left, at_y - 1, right, at_y + 1), (at_x - 1, high, at_x + 1, low)]
    for s, (at_x, at_y) in zip(spots, places, strict=True):
        name = shortened(s.name, 28) + (" (estimated)" if s.estimated else "")
        parts.append(marker(at_x, at_y, s.series, hollow=s.estimated))
        parts.append(_beside(name, at_x, at_y, markers, whiskers, top))
    told = "; ".join(f"{s.name}: {100 * s.accuracy.value:.1f} % at {s.energy_j.value:.3g} J" for s in spots[:20])
    return figure(WIDTH, 390, "Accuracy against energy per query", told, parts, key)


def pareto_front(spots: Iterable[Spot]) -> list[Spot]:
    """Keep the measured ones that can be believed and that no other beats in energy and accuracy, by rising energy."""
    front: list[Spot] = []
    measured = (s for s in spots if s.valid and not s.estimated)
    for spot in sorted(measured, key=lambda s: (s.energy_j.value, -s.accuracy.value)):
        if not front or spot.accuracy.value > front[-1].accuracy.value:
            front.append(spot)
    return front


def _beside(name: str, x: float, y: float, taken: list[Box], thin: Sequence[Box], top: float) -> Markup | None:
    """Write a name near its point where nothing else is, across a whisker at worst; else the table has to do."""
    width = len(name) * CHARACTER_PX
    for avoided in ([*taken, *thin], taken):
        for base in (y - 8, y + 18, y - 24, y + 34):
            for left in (x + 11, x - 11 - width):
                box = (left, base - 11, left + width, base + 3)
                inside = left >= LEFT and box[2] <= WIDTH and box[1] >= top - 8
                if inside and not any(_overlap(box, other) for other in avoided):
                    taken.append(box)
                    return label(left, base, name, fill="currentColor")
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


# --- latency --------------------------------------------------------------------------------------------------------


def distributions(samples: Sequence[Sample], title: str, key: str) -> Markup:
    """One histogram a run on a common axis of time, with lines at the median and the 90th and 99th percentile."""
    row_px, top, name_px = 74.0, 20.0, 190
    samples = [s for s in samples if len(s.values)]
    ends = [float(end) for s in samples for end in np.quantile(s.values, [0.0, 0.995])]
    scale = scale_for("s", [float(np.median(s.values)) for s in samples])
    bottom = top + row_px * len(samples)
    x = axis_over([scale.factor * end for end in ends], name_px, RIGHT)
    parts = [_x_only(x, top, bottom, f"{title}, {scale.unit}")]
    for row, sample in enumerate(samples):
        base = top + row_px * (row + 1) - 8
        values = scale.factor * sample.values
        parts.append(_histogram(values, x, base, 38, sample.series))
        for q, length in ((0.5, 54), (0.9, 38), (0.99, 26)):
            at = x.at(float(np.quantile(values, q)))
            parts.append(line(at, base, at, base - length, "currentColor", 1.2))
            if q == 0.5:
                parts.append(label(at + 4, base - 44, f"p50 {float(np.quantile(values, q)):.3g}", fill="currentColor"))
        parts.append(marker(10, base - 16, sample.series, size=5))
        parts.append(label(22, base - 12, shortened(sample.name, 23), fill="currentColor"))
    told = "; ".join(f"{s.name}: median {np.median(s.values):.3g} s of {len(s.values)}" for s in samples[:20])
    return figure(WIDTH, int(bottom) + 46, title, told, parts, key)


def _x_only(x: Axis, top: float, bottom: float, title: str) -> Markup:
    parts = []
    for value in x.ticks(8):
        at = x.at(value)
        parts += [line(at, top, at, bottom), label(at, bottom + 17, plain(value), "middle")]
    return join([*parts, label((x.start_px + x.end_px) / 2, bottom + 37, title, "middle")])


def _histogram(values: Array, x: Axis, base: float, height: float, series: Series) -> Markup:
    bins = 60
    shares = np.linspace(0, 1, bins + 1)
    edges = x.low * (x.high / x.low) ** shares if x.log else x.low + (x.high - x.low) * shares
    counts, _ = np.histogram(np.clip(values, x.low, x.high), edges)
    most = max(int(counts.max()), 1)
    path = [f"M{x.start_px},{base:.1f}"]
    for count, (left, right) in zip(counts.tolist(), pairwise(edges.tolist()), strict=True):
        tall = base - height * count / most
        path.append(f"L{x.at(left)},{tall:.1f}L{x.at(right)},{tall:.1f}")
    path.append(f"L{x.end_px},{base:.1f}Z")
    return tag("path", d=Markup("".join(path)), fill=series[0], fill_opacity=0.35, stroke=series[0], stroke_width=1)


# --- by subject -----------------------------------------------------------------------------------------------------


def subjects(rows: Sequence[SubjectRow], key: str) -> Markup:
    """Accuracy by subject as dots with intervals, the runs below one another within a subject."""
    name_px, top, between = 190, 12.0, 13.0
    heights = [max(1, len(row.accuracies)) * between + 12 for row in rows]
    bottom = top + sum(heights)
    x = Axis(0, 100, name_px, RIGHT)
    parts = [_x_only(x, top, bottom, "accuracy, %")]
    at_y = top
    for row, height in zip(rows, heights, strict=True):
        parts.append(label(name_px - 12, at_y + height / 2 + 4, clean(row.subject, 24), "end", "currentColor"))
        parts.append(line(0, at_y + height, RIGHT, at_y + height))
        for place, (accuracy, series) in enumerate(row.accuracies):
            y = at_y + 12 + place * between
            parts.append(line(x.at(100 * accuracy.low), y, x.at(100 * accuracy.high), y, series[0], 2))
            parts.append(marker(x.at(100 * accuracy.value), y, series, size=4.5))
        at_y += height
    told = f"{len(rows)} subjects: {', '.join(row.subject for row in rows[:20])}"
    return figure(WIDTH, int(bottom) + 46, "Accuracy by subject", told, parts, key)
