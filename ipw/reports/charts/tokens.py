"""Energy and latency of queries against their tokens, with a straight line through each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ipw.metrics.stats import Array, student_t975
from ipw.printable import clean
from ipw.reports.charts.axes import Series, axis_over, figure, frame, label, marker, polyline
from ipw.reports.charts.queries import LEFT, RIGHT, WIDTH
from ipw.reports.markup import Markup, tag
from ipw.reports.text import scale_for

MOST_POINTS = 300
"""Of a run: more cannot be told apart. They are spread evenly over the run."""
TOP, BOTTOM = 36.0, 300.0


class Cloud(NamedTuple):
    """Queries of one run: tokens and what they took."""

    name: str
    tokens: Array
    values: Array
    series: Series
    estimated: bool


class Line(NamedTuple):
    """Least squares through a cloud: `values ≈ base + slope · tokens`."""

    base: float
    slope: float
    half_width: float
    """Of the slope's 95 % interval, with errors that may grow with the tokens (White 1980, HC1)."""


def fit(tokens: Array, values: Array) -> Line | None:
    """Lay a straight line through the points; `None` with fewer than three, or where all have the same tokens."""
    n = len(tokens)
    centred = tokens - tokens.mean() if n else tokens
    spread = float(centred @ centred)
    if n < 3 or spread <= 0:
        return None
    slope = float(centred @ values) / spread
    base = float(values.mean()) - slope * float(tokens.mean())
    left = values - base - slope * tokens
    sd = math.sqrt(float((centred**2) @ (left**2)) * n / (n - 2)) / spread
    return Line(base, slope, student_t975(n - 2) * sd)


def against_tokens(clouds: Sequence[Cloud], unit: str, title: str, x_title: str, key: str) -> Markup:
    """Draw a point a query and a line a run."""
    scale = scale_for(unit, [float(np.median(c.values)) for c in clouds])
    shown = [_thinned(cloud) for cloud in clouds]
    x = axis_over([0.0, *(float(c.tokens.max()) for c in shown)], LEFT, RIGHT, zero=True)
    y = axis_over([0.0, *(scale.factor * float(np.quantile(c.values, 0.995)) for c in shown)], BOTTOM, TOP, zero=True)
    parts = [frame(x, y, x_title, f"{title}, {scale.unit}")]
    for cloud in shown:
        points = zip(cloud.tokens.tolist(), (scale.factor * cloud.values).tolist(), strict=True)
        dots = "".join(f"M{x.at(a):.1f},{y.at(b):.1f}h0" for a, b in points)
        parts.append(
            tag("path", d=Markup(dots), stroke=cloud.series[0], stroke_width=4, stroke_linecap="round", opacity=0.35)
        )
    for row, (cloud, whole) in enumerate(zip(shown, clouds, strict=True)):
        line = fit(whole.tokens, whole.values)
        if line is not None:
            ends = [float(whole.tokens.min()), float(whole.tokens.max())]
            drawn = [(x.at(t), y.at(scale.factor * (line.base + line.slope * t))) for t in ends]
            parts.append(polyline(drawn, cloud.series[0], 2, "6 4" if cloud.estimated else None))
        at = BOTTOM + 64 + 20 * row
        parts += [marker(LEFT + 6, at - 4, cloud.series, hollow=cloud.estimated, size=5)]
        parts += [label(LEFT + 20, at, f"{clean(cloud.name, 40)}: {told(line, unit)}", fill="currentColor")]
    words = "; ".join(f"{c.name}: {told(fit(c.tokens, c.values), unit)}" for c in clouds[:20])
    return figure(WIDTH, int(BOTTOM) + 58 + 20 * len(clouds), f"{title} against tokens", words, parts, key)


def told(line: Line | None, unit: str) -> str:
    """Say a line in words."""
    if line is None:
        return "no line: all queries have the same tokens"
    scale, whole = (scale_for(unit, [abs(part)]) for part in (line.slope, line.base))
    slope = f"{scale.factor * line.slope:.3g} ±{scale.factor * line.half_width:.2g} {scale.unit} a token"
    return f"{slope}, {whole.factor * line.base:.3g} {whole.unit} before the first"


def _thinned(cloud: Cloud) -> Cloud:
    n = len(cloud.tokens)
    if n <= MOST_POINTS:
        return cloud
    kept = np.linspace(0, n - 1, MOST_POINTS).astype(np.int64)
    return cloud._replace(tokens=cloud.tokens[kept], values=cloud.values[kept])
