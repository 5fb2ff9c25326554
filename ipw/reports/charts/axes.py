"""Scales, ticks and the frame that every chart stands in."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ipw.reports.markup import Markup, join, tag

Series = tuple[str, str]
SERIES: tuple[Series, ...] = (
    ("var(--s1,#0072b2)", "circle"),
    ("var(--s2,#d55e00)", "square"),
    ("var(--s3,#009e73)", "triangle"),
    ("var(--s4,#cc79a7)", "diamond"),
    ("var(--s5,#56b4e9)", "cross"),
    ("var(--s6,#e69f00)", "star"),
)
"""Colour and shape of each row: Okabe and Ito's palette, told apart without colour too."""


def series_of(index: int) -> Series:
    """Look of the run at a place: the colours come back with other shapes, so that 36 runs differ."""
    count = len(SERIES)
    return SERIES[index % count][0], SERIES[(index + index // count) % count][1]


WIDE, NARROW = 760, 350
"""Widths of a chart: for a window, and for a phone; text is of one size in both."""
GRID, MUTED = "var(--grid,#8884)", "var(--muted,#777)"
TURNS, TOOLS, PAUSES = "var(--s1,#0072b2)", "var(--s6,#e69f00)", "var(--idle,#999)"
"""Of what an agent does."""
CHARACTER_PX = 7.3
MOST_DECADES = 30
"""Width of a character of the charts' 12-pixel text, on the generous side."""


class Axis(NamedTuple):
    """From values to pixels, linear or logarithmic."""

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False
    marks: tuple[float, ...] = ()
    """Where ticks stand; without, at round values."""

    def at(self, value: float) -> float:
        """Pixel of a value; what lies beyond the axis is held at its end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start_px + share * (self.end_px - self.start_px), 2)

    def ticks(self, most: int = 7) -> list[float]:
        """Round values from end to end, at most about `most` of them."""
        if self.marks:
            return list(self.marks)
        if self.log:
            return _log_ticks(self.low, self.high, most)
        step = _nice_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


class WholeAxis(Axis):
    """Counts: no ticks between whole numbers."""

    def ticks(self, most: int = 7) -> list[float]:
        """Whole values from end to end, at most about `most` of them."""
        rough = max((self.high - self.low) / most, 1.0)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * step for step in (1, 2, 5, 10) if power * step >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def axis_over(values: Iterable[float], start_px: float, end_px: float, *, zero: bool = False) -> Axis:
    """Choose an axis that holds all values with some air; logarithmic where they span more than a factor of 10.

    A span beyond MOST_DECADES is no physical quantity's, and its ratio overflows: that axis is linear.
    """
    known = [x for x in values if math.isfinite(x)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if not zero and low > 0 and 1 < math.log10(high) - math.log10(low) < MOST_DECADES:
        return Axis(low / 1.2, high * 1.2, start_px, end_px, log=True)
    if zero or low <= 0.35 * high:
        low = min(low, 0.0)
    air = 0.08 * ((high - low) or abs(high)) or 0.08
    return Axis(low if low == 0 else low - air, high + air, start_px, end_px)


def frame(x: Axis, y: Axis, x_title: str, y_title: str) -> Markup:
    """Grid lines, tick labels and titles."""
    bottom, left = y.start_px, x.start_px
    parts = []
    for value in y.ticks(6):
        at = y.at(value)
        parts += [line(left, at, x.end_px, at), label(left - 8, at + 4, plain(value), "end")]
    ticks = []
    for value in x.ticks(max(3, int((x.end_px - left) / 85))):
        at = x.at(value)
        ticks += [line(at, bottom, at, bottom + 4), label(at, bottom + 18, plain(value), "middle")]
    parts += [
        tag("g", *ticks, class_="ticks", data_y=bottom),
        line(left, bottom, x.end_px, bottom, MUTED),
        label((left + x.end_px) / 2, bottom + 38, x_title, "middle"),
        label(left, y.end_px - 12, y_title, "start"),
    ]
    return join(parts)


def plain(value: float) -> str:
    """Write a tick's value without needless digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def figure(
    width: int, height: int, title: str, description: str, parts: Iterable[object], key: str, **attributes: object
) -> Markup:
    """Make one chart; `key` is unique on its page, so that a screen reader finds title and description."""
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", description, id=f"{key}-desc"),
        *parts,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
        font_size=12,
        fill="currentColor",
        **attributes,
    )


def line(
    x1: float, y1: float, x2: float, y2: float, stroke: str = GRID, width: float = 1, dash: str | None = None
) -> Markup:
    """Draw a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, stroke_width=width, stroke_dasharray=dash)


def label(x: float, y: float, text: str, anchor: str = "start", fill: str = MUTED) -> Markup:
    """Write text."""
    return tag("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor, fill=fill)


def polyline(points: Iterable[tuple[float, float]], stroke: str, width: float = 1.5, dash: str | None = None) -> Markup:
    """Draw a line through points."""
    path = Markup(" ".join(f"{x:.2f},{y:.1f}" for x, y in points))
    return tag("polyline", points=path, fill="none", stroke=stroke, stroke_width=width, stroke_dasharray=dash,
               stroke_linejoin="round")  # fmt: skip


def marker(x: float, y: float, series: Series, *, hollow: bool = False, size: float = 5.5) -> Markup:
    """Draw one point in the colour and shape of its series; hollow ones stand for estimates."""
    colour, shape = series
    look = {"fill": "var(--surface,#fff)" if hollow else colour, "stroke": colour, "stroke_width": 2}
    if shape == "circle":
        return tag("circle", cx=x, cy=y, r=size, **look)
    corners = {
        "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
        "triangle": ((0, -1.2), (1.1, 0.8), (-1.1, 0.8)),
        "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        "cross": ((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4), (0.4, 1.2), (-0.4, 1.2),
                  (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
        "star": tuple((math.sin(i * math.pi / 5) * (1.4, 0.65)[i % 2], -math.cos(i * math.pi / 5) * (1.4, 0.65)[i % 2])
                      for i in range(10)),
    }[shape]  # fmt: skip
    return tag("polygon", points=" ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners), **look)


def legend(entries: Sequence[tuple[Markup | str, str]], x: float, y: float, width: float) -> tuple[Markup, float]:
    """Lay out swatches with their names from left to right, in as many rows as they need; also return their height.

    A text that is longer than a row goes on in the next.
    """
    parts, at, row = [], x, 0
    for swatch, name in entries:
        lines = textwrap.wrap(name, max(int((width - 20) / CHARACTER_PX), 12)) or [""]
        needs = 36 + max(map(len, lines)) * CHARACTER_PX
        if at > x and at + needs > x + width + 18:
            at, row = x, row + 1
        text = (label(18, 4 + 16 * k, line) for k, line in enumerate(lines))
        parts.append(tag("g", swatch, *text, transform=f"translate({at:.0f},{y + row * 20:.0f})"))
        at += needs
        if len(lines) > 1:
            at, row = x + width, row + len(lines) - 1
    return join(parts), (row + 1) * 20.0


def _nice_step(rough: float) -> float:
    if not (1e-300 < rough < math.inf):  # a damaged run: its values are all one, or beyond all numbers
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= rough * 0.999)


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [10.0**d * step for d in decades for step in steps if low <= 10.0**d * step <= high]
        if len(ticks) <= most + 2:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]
