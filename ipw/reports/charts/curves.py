"""Charts of expert routing, each a pure function from numbers to one SVG that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ipw.printable import clean
from ipw.reports.charts.axes import (
    MUTED,
    SERIES,
    Axis,
    Series,
    axis_over,
    figure,
    frame,
    label,
    legend,
    line,
    marker,
    plain,
    polyline,
)
from ipw.reports.markup import Markup, tag

WIDTH, LEFT, RIGHT = 760, 64, 740
MAP_WIDTH = 1120
"""The routing map is wider: text needs room."""


class Point(NamedTuple):
    """One point of a curve; an end of the interval that is not known is `None`."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


class CurveLine(NamedTuple):
    """One line of a chart."""

    name: str
    points: Sequence[Point]
    series: Series
    dashed: bool = False


class Bar(NamedTuple):
    """One bar; `x` of its value is not used."""

    name: str
    value: Point


class Mark(NamedTuple):
    """A value of x that a chart points at."""

    x: float
    text: str


class Texts(NamedTuple):
    """What a chart says in words."""

    title: str
    x: str
    y: str
    told: str
    """The chart in a sentence, for those who do not see it."""


class WholeAxis(Axis):
    """Counts: no ticks between whole numbers."""

    def ticks(self, most: int = 7) -> list[float]:
        """Round values from end to end, at most about `most` of them."""
        return [value for value in super().ticks(most) if value == int(value)]


def curves(
    shown: Sequence[CurveLine], texts: Texts, key: str, *, log_x: bool = False, mark: Mark | None = None
) -> Markup:
    """Lines with markers where points are few, whiskers or a band for 95 % intervals, and a legend above."""
    names = [(_swatch(curve), curve.name) for curve in shown]
    above, height = legend(names, LEFT, 14, RIGHT - LEFT)
    top, bottom = 34 + height, 330 + height
    points = [point for curve in shown for point in curve.points]
    xs = [point.x for point in points]
    x = Axis(min(xs) / 1.15, max(xs) * 1.15, LEFT, RIGHT, log=True) if log_x else _even(xs)
    y = axis_over([v for p in points for v in (p.y, p.low, p.high) if v is not None], bottom, top)
    parts: list[Markup] = [above, frame(x, y, texts.x, texts.y)]
    if mark is not None:
        at = x.at(mark.x)
        anchor = "start" if at < (LEFT + RIGHT) / 2 else "end"
        parts.append(line(at, bottom, at, top, MUTED, 1.2, "3 3"))
        parts.append(label(at + (6 if anchor == "start" else -6), bottom - 8, mark.text, anchor, "currentColor"))
    for curve in shown:
        parts += _drawn(curve, x, y)
    return figure(WIDTH, int(bottom) + 50, texts.title, texts.told, parts, key)


def _even(xs: Sequence[float]) -> Axis:
    low, high = min(xs), max(xs)
    return WholeAxis(low, high if high > low else low + 1, LEFT, RIGHT)


def _drawn(curve: CurveLine, x: Axis, y: Axis) -> list[Markup]:
    colour = curve.series[0]
    parts = []
    few = len(curve.points) <= 24
    known = [(p.x, p.low, p.high) for p in curve.points if p.low is not None and p.high is not None]
    if few:
        parts += [line(x.at(at), y.at(low), x.at(at), y.at(high), colour, 1.5) for at, low, high in known]
    elif known:
        there = [f"{x.at(at)},{y.at(high)}" for at, _, high in known]
        back = [f"{x.at(at)},{y.at(low)}" for at, low, _ in reversed(known)]
        parts.append(tag("polygon", points=" ".join(there + back), fill=colour, opacity=0.15))
    dash = "5 4" if curve.dashed else None
    parts.append(polyline([(x.at(p.x), y.at(p.y)) for p in curve.points], colour, 1.8, dash))
    if few:
        parts += [marker(x.at(p.x), y.at(p.y), curve.series, hollow=curve.dashed, size=4) for p in curve.points]
    return parts


def _swatch(curve: CurveLine) -> Markup:
    return line(0, 0, 13, 0, curve.series[0], 2.5, "4 3" if curve.dashed else None)


def bars(shown: Sequence[Bar], texts: Texts, key: str) -> Markup:
    """Bars from 0 with whiskers for 95 % intervals, one below the other."""
    left, top, between = 170, 12.0, 24.0
    bottom = top + between * len(shown)
    x = axis_over([v for bar in shown for v in (bar.value.y, bar.value.high) if v is not None], left, RIGHT, zero=True)
    parts: list[Markup] = []
    for value in x.ticks(8):
        at = x.at(value)
        parts += [line(at, top, at, bottom), label(at, bottom + 17, plain(value), "middle")]
    parts.append(label((left + RIGHT) / 2, bottom + 37, texts.x, "middle"))
    for row, bar in enumerate(shown):
        y = top + between * row + between / 2
        parts.append(label(left - 10, y + 4, clean(bar.name, 22), "end", "currentColor"))
        parts.append(
            tag("rect", x=left, y=y - 7, width=round(x.at(bar.value.y) - left, 1), height=14, fill=SERIES[0][0], rx=2)
        )
        if bar.value.low is not None and bar.value.high is not None:
            parts.append(line(x.at(bar.value.low), y, x.at(bar.value.high), y, "currentColor", 1.5))
    return figure(WIDTH, int(bottom) + 48, texts.title, texts.told, parts, key)


def routing_map(
    pieces: Sequence[str], chosen: Sequence[Sequence[int]], num_experts: int, title: str, key: str
) -> Markup:
    """Which experts (rows) each token of a text (columns) uses; darker where the router ranks them higher."""
    left, top, most = 46.0, 20.0, 110.0
    wide = (MAP_WIDTH - left - 10) / max(len(pieces), 1)
    tall = min(14.0, 420 / num_experts)
    bottom = top + tall * num_experts
    parts: list[Markup] = [
        tag("rect", x=left, y=top, width=MAP_WIDTH - left - 10, height=bottom - top, fill="none", stroke=MUTED)
    ]
    for column, experts in enumerate(chosen):
        for rank, expert in enumerate(experts):
            shade = 1 - 0.6 * rank / max(len(experts) - 1, 1)
            parts.append(
                tag(
                    "rect",
                    x=round(left + column * wide, 2),
                    y=round(top + expert * tall, 2),
                    width=round(wide, 2),
                    height=round(tall, 2),
                    fill=SERIES[0][0],
                    opacity=round(shade, 2),
                )
            )
    step = max(1, math.ceil(num_experts / 16))
    parts += [label(left - 6, top + e * tall + tall / 2 + 4, str(e), "end") for e in range(0, num_experts, step)]
    parts.append(label(0, top - 6, "expert"))
    for column, piece in enumerate(pieces):
        at_x, at_y = round(left + (column + 0.5) * wide + 4, 1), round(bottom + 8, 1)
        text = clean(piece, 14).strip() or "␣"
        parts.append(tag("text", text, transform=f"rotate(90 {at_x - 8} {at_y})", x=at_x - 8, y=at_y, font_size=11))
    told = f"{len(pieces)} tokens; experts of each: " + "; ".join(
        f"{clean(piece, 14)}: {', '.join(map(str, experts))}"
        for piece, experts in zip(pieces[:40], chosen, strict=False)
    )
    return figure(MAP_WIDTH, int(bottom + most), title, told, parts, key)
