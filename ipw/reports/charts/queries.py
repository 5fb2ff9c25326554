"""Charts of the page alone: distributions of times and accuracy by subject, a row each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ipw.metrics.stats import Array
from ipw.printable import clean
from ipw.reports.charts.axes import CHARACTER_PX, WIDE, Axis, Series, axis_over, figure, label, line, marker, plain
from ipw.reports.charts.plot import Sample, Value
from ipw.reports.markup import Markup, join, tag
from ipw.reports.text import scale_for, shortened


class SubjectRow(NamedTuple):
    """Accuracy in one subject, by run."""

    subject: str
    accuracies: Sequence[tuple[Value, Series]]


# --- latency --------------------------------------------------------------------------------------------------------


def distributions(samples: Sequence[Sample], title: str, key: str, width: int = WIDE) -> Markup:
    """One histogram a run on a common axis of time, with lines at the median and the 90th and 99th percentile."""
    wide = width >= WIDE
    row_px, top, name_px = (74.0, 20.0, 190) if wide else (96.0, 20.0, 12)
    ends = [float(end) for s in samples for end in np.quantile(s.values, [0.0, 0.995])]
    scale = scale_for("s", [float(np.median(s.values)) for s in samples])
    bottom = top + row_px * len(samples)
    x = axis_over([scale.factor * end for end in ends], name_px, width - 20)
    parts = [_x_only(x, top, bottom, f"{title}, {scale.unit}")]
    for row, sample in enumerate(samples):
        base = top + row_px * (row + 1) - 8
        values = scale.factor * sample.values
        parts.append(_histogram(values, x, base, 38, sample.series))
        at = {q: x.at(float(np.quantile(values, q / 100))) for q in (50, 90, 99)}
        for q, length in ((50, 54), (90, 38), (99, 26)):
            parts.append(line(at[q], base, at[q], base - length, "currentColor", 1.2))
        median = f"p50 {float(np.quantile(values, 0.5)):.3g} {scale.unit}"
        parts.append(label(at[50] + 4, base - 44, median, fill="currentColor"))
        parts += _named(at, base, x)
        name_y = base - 12 if wide else base - 62
        parts.append(marker(10, name_y - 4, sample.series, size=5))
        parts.append(label(22, name_y, shortened(sample.name, 23 if wide else 40), fill="currentColor"))
    told = "; ".join(f"{s.name}: median {np.median(s.values):.3g} s of {len(s.values)}" for s in samples[:20])
    return figure(width, int(bottom) + 46, title, told, parts, key)


def _named(at: dict[int, float], base: float, x: Axis) -> Iterator[Markup]:
    """Name the lines of the 90th and the 99th percentile, each above the top of the next."""
    for q, before, up in ((90, 50, 28), (99, 90, 16)):
        if at[q] - at[before] > 4:
            side, shift = ("start", 3) if at[q] + 4 * CHARACTER_PX < x.end_px else ("end", -3)
            yield label(at[q] + shift, base - up, f"p{q}", side, "currentColor")


def _x_only(x: Axis, top: float, bottom: float, title: str) -> Markup:
    parts = []
    for value in x.ticks(max(3, int((x.end_px - x.start_px) / 70))):
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


def subjects(rows: Sequence[SubjectRow], key: str, width: int = WIDE) -> Markup:
    """Accuracy by subject as dots with intervals, the runs below one another within a subject."""
    wide = width >= WIDE
    name_px, top, between = 190 if wide else 110, 12.0, 13.0
    heights = [max(1, len(row.accuracies)) * between + 12 for row in rows]
    bottom = top + sum(heights)
    x = Axis(0, 100, name_px, width - 20)
    parts = [_x_only(x, top, bottom, "accuracy, %")]
    at_y = top
    for row, height in zip(rows, heights, strict=True):
        parts.append(
            label(name_px - 12, at_y + height / 2 + 4, clean(row.subject, 24 if wide else 13), "end", "currentColor")
        )
        parts.append(line(0, at_y + height, width - 20, at_y + height))
        for place, (accuracy, series) in enumerate(row.accuracies):
            y = at_y + 12 + place * between
            parts.append(line(x.at(100 * accuracy.low), y, x.at(100 * accuracy.high), y, series[0], 2))
            parts.append(marker(x.at(100 * accuracy.value), y, series, size=4.5))
        at_y += height
    told = f"{len(rows)} subjects: {', '.join(row.subject for row in rows[:20])}"
    return figure(width, int(bottom) + 46, "Accuracy by subject", told, parts, key)
