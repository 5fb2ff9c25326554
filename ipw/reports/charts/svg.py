"""Draws plots and bars as SVG that needs nothing else, at any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from ipw.reports.charts.axes import (
    CHARACTER_PX,
    MUTED,
    SERIES,
    WIDE,
    Axis,
    figure,
    frame,
    label,
    legend,
    line,
    marker,
    plain,
    polyline,
)
from ipw.reports.charts.plot import Bars, CurveLine, Plot
from ipw.reports.markup import Markup, join, tag
from ipw.reports.text import shortened

FEW = 24
"""So many points of a line have markers and whiskers of their own; more have a band."""
TALL = 300.0
LAYERS = 6
"""Clouds of points are drawn in turns, so that none hides another."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def plot_svg(plot: Plot, key: str, width: int = WIDE) -> Markup:
    """Draw lines and points, with a legend above and 95 % intervals as whiskers or bands."""
    left, right = (64, width - 20) if width >= WIDE else (46, width - 8)
    above, height = _legend(plot, left, right)
    top = 34 + height
    x, y = plot.x.between(left, right), plot.y.between(top + TALL, top)
    parts: list[Markup | None] = [above, frame(x, y, plot.x.title, plot.y.title)]
    if plot.mark is not None:
        at = x.at(plot.mark.x)
        side, shift = ("start", 6) if at < (left + right) / 2 else ("end", -6)
        parts.append(line(at, top + TALL, at, top, MUTED, 1.2, "3 3"))
        parts.append(label(at + shift, top + TALL - 8, plot.mark.text, side, "currentColor"))
    clouds = [curve for curve in plot.curves if curve.look == "dots"]
    parts += [_dots(curve, layer, x, y) for layer in range(LAYERS) for curve in clouds]
    for curve in plot.curves:
        parts += _drawn(curve, x, y)
    names, below = _names(plot, x, y, width)
    parts += names
    bottom = top + TALL + 50
    if below:
        entries, more = legend(below, left, bottom + 6, right - left)
        parts.append(entries)
        bottom += more + 6
    return figure(width, int(bottom), plot.title, plot.told, parts, key)


def _legend(plot: Plot, left: float, right: float) -> tuple[Markup | None, float]:
    listed = [] if plot.named_beside else [curve for curve in plot.curves if curve.listed]
    if not listed or (len(listed) == 1 and not listed[0].more):
        return None, 0.0
    entries = [(_swatch(curve), curve.name + (f": {curve.more}" if curve.more else "")) for curve in listed]
    return legend(entries, left, 14, right - left)


def _swatch(curve: CurveLine) -> Markup:
    if curve.look in {"spots", "dots"}:
        return marker(7, 0, curve.series, hollow=curve.estimated, size=5)
    drawn = line(0, 0, 13, 0, curve.series[0], 2.5, "4 3" if curve.dashed else None)
    if curve.look == "steps" or len(curve.points) > FEW:
        return drawn
    return join([drawn, marker(6.5, 0, curve.series, hollow=curve.estimated or curve.dashed, size=4)])


def _dots(curve: CurveLine, layer: int, x: Axis, y: Axis) -> Markup:
    path = "".join(f"M{x.at(p.x):.1f},{y.at(p.y):.1f}h0" for p in curve.points[layer::LAYERS])
    return tag("path", d=Markup(path), stroke=curve.series[0], stroke_width=4, stroke_linecap="round", opacity=0.35)


def _drawn(curve: CurveLine, x: Axis, y: Axis) -> list[Markup]:
    if curve.look == "dots":
        return []
    colour, few = curve.series[0], len(curve.points) <= FEW
    parts = list(_whiskers(curve, x, y) if few else _band(curve, x, y))
    places = [(x.at(p.x), y.at(p.y)) for p in curve.points]
    if curve.look == "steps":
        corners = [c for (x0, y0), (x1, y1) in pairwise(places) for c in ((x0, y0), (x1, y0), (x1, y1))]
        return [*parts, polyline(corners, colour, 1.5, "5 4" if curve.dashed else None)]
    if curve.look == "line" and len(places) > 1:
        parts.append(polyline(places, colour, 1.8, "5 4" if curve.dashed else None))
    if few and not (curve.look == "line" and len(places) == 2 and not curve.listed):
        size, hollow = (5.5, curve.estimated) if curve.look == "spots" else (4, curve.estimated or curve.dashed)
        parts += [marker(*place, curve.series, hollow=hollow, size=size) for place in places]
    return parts


def _whiskers(curve: CurveLine, x: Axis, y: Axis) -> Iterator[Markup]:
    colour = curve.series[0]
    for p in curve.points:
        if p.left is not None and p.right is not None:
            yield line(x.at(p.left), y.at(p.y), x.at(p.right), y.at(p.y), colour, 1.5)
        if p.low is not None and p.high is not None:
            yield line(x.at(p.x), y.at(p.low), x.at(p.x), y.at(p.high), colour, 1.5)


def _band(curve: CurveLine, x: Axis, y: Axis) -> Iterator[Markup]:
    known = [(p.x, p.low, p.high) for p in curve.points if p.low is not None and p.high is not None]
    if known:
        there = [f"{x.at(at)},{y.at(high)}" for at, _, high in known]
        back = [f"{x.at(at)},{y.at(low)}" for at, low, _ in reversed(known)]
        yield tag("polygon", points=" ".join(there + back), fill=curve.series[0], opacity=0.15)


# --- names beside points --------------------------------------------------------------------------------------------


def _names(plot: Plot, x: Axis, y: Axis, width: int) -> tuple[list[Markup], list[tuple[Markup | str, str]]]:
    """Write what stands beside points where nothing else is; names that find no place go into a legend below."""
    labels = [
        (text, x.at(p.x), y.at(p.y), curve)
        for curve in plot.curves
        for p, text in zip(curve.points, [curve.name] if plot.named_beside else curve.beside, strict=False)
        if text and (curve.listed or curve.beside)
    ]
    taken: list[Box] = [(at_x - 7, at_y - 7, at_x + 7, at_y + 7) for _, at_x, at_y, _ in labels]
    thin = [box for curve in plot.curves if curve.look != "dots" for box in _thin(curve, x, y)]
    written: list[Markup] = []
    left_over: list[tuple[Markup | str, str]] = []
    for text, at_x, at_y, curve in labels:
        placed = _beside(shortened(text, 28), at_x, at_y, taken, thin, (x, y, width))
        if placed is not None:
            written.append(placed)
        else:
            left_over.append((_swatch(curve), shortened(text, 40)))
    return written, left_over if plot.named_beside else []


def _thin(curve: CurveLine, x: Axis, y: Axis) -> Iterator[Box]:
    for p in curve.points:
        if p.left is not None and p.right is not None:
            yield x.at(p.left), y.at(p.y) - 1, x.at(p.right), y.at(p.y) + 1
        if p.low is not None and p.high is not None:
            yield x.at(p.x) - 1, y.at(p.high), x.at(p.x) + 1, y.at(p.low)


def _beside(
    name: str, x: float, y: float, taken: list[Box], thin: Sequence[Box], within: tuple[Axis, Axis, int]
) -> Markup | None:
    """Write a name near its point where nothing else is, across a whisker at worst."""
    wide = len(name) * CHARACTER_PX
    across, up, width = within
    for avoided in ([*taken, *thin], taken):
        for base in (y - 8, y + 18, y - 24, y + 34):
            for left in (x + 11, x - 11 - wide):
                box = (left, base - 11, left + wide, base + 3)
                inside = left >= across.start_px and box[2] <= width and up.end_px - 8 <= box[1] and base <= up.start_px
                if inside and not any(_overlap(box, other) for other in avoided):
                    taken.append(box)
                    return label(left, base, name, fill="currentColor")
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


# --- bars -----------------------------------------------------------------------------------------------------------


def bars_svg(chart: Bars, key: str, width: int = WIDE) -> Markup:
    """Draw bars from 0 with whiskers for 95 % intervals; their parts in the colours of the legend above."""
    letters = max((len(bar.name) for bar in chart.bars), default=0)
    most = 26 if width >= WIDE else 16
    left = 16 + min(letters, most) * CHARACTER_PX
    right, tall = width - 20, 28.0
    swatches = [(tag("rect", y=-9, width=12, height=12, fill=colour), name) for name, colour in chart.parts]
    above, height = legend(swatches, 0, 14, right) if swatches else (None, 0.0)
    top = 10 + height
    bottom = top + tall * len(chart.bars)
    x = chart.x.between(left, right)
    parts: list[Markup | None] = [above]
    for value in x.ticks(8 if width >= WIDE else 4):
        at = x.at(value)
        parts += [line(at, top, at, bottom), label(at, bottom + 17, plain(value), "middle")]
    parts.append(label((left + right) / 2, bottom + 37, chart.x.title, "middle"))
    colours = [colour for _, colour in chart.parts] or [SERIES[0][0]]
    for row, bar in enumerate(chart.bars):
        y = top + tall * row + tall / 2
        parts.append(label(left - 8, y + 4, shortened(bar.name, most), "end", "currentColor"))
        edges = [x.at(end) for end in np.concatenate([[0.0], np.cumsum(bar.parts)]).tolist()]
        for colour, (start, end) in zip(colours, pairwise(edges), strict=False):
            if end > start:
                size = {"x": start, "y": y - 8, "width": round(end - start, 2), "height": 16}
                parts.append(tag("rect", **size, fill=colour, opacity=0.45 if chart.estimated else None))
        if bar.low is not None and bar.high is not None:
            parts.append(line(x.at(bar.low), y, x.at(bar.high), y, "currentColor", 1.5))
    return figure(width, int(bottom) + 48, chart.title, chart.told, parts, key)
