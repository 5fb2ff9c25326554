"""Energy and latency of queries against their tokens, with a straight line through each run; and their distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ipw.metrics.stats import Array, student_t975
from ipw.reports.charts.axes import Series
from ipw.reports.charts.plot import AxisPlan, CurveLine, Plot, Point, Sample, plan
from ipw.reports.text import scale_for
from ipw.reports.view import View

MOST_POINTS = 300
"""Of a run: more cannot be told apart. They are spread evenly over the run."""
MOST_STEPS = 200
"""Of a distribution."""


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


def clouds_of(views: Sequence[View], column: str) -> list[Cloud]:
    """Read tokens and a column of every query that was answered with tokens, of the runs that have three at least."""
    clouds = []
    for view in views:
        counts, values = (view.queries.numbers[name] for name in ("completion_tokens", column))
        kept = view.queries.ok & np.isfinite(counts) & np.isfinite(values) & (values > 0) & (counts > 0)
        if kept.sum() > 2:
            estimated = view.estimated and column == "energy_j"
            clouds.append(Cloud(view.name, counts[kept], values[kept], view.series, estimated))
    return clouds


def samples_of(views: Sequence[View], column: str) -> list[Sample]:
    """Read the times of the queries that were answered, of the runs that have any."""
    samples = []
    for view in views:
        times = view.queries.numbers[column][view.queries.ok]
        samples.append(Sample(view.name, times[np.isfinite(times) & (times > 0)], view.series))
    return [sample for sample in samples if len(sample.values)]


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


def against_tokens(clouds: Sequence[Cloud], unit: str, what: str) -> Plot | None:
    """Show a point a query and a line a run; what its slope says is told with it."""
    if not clouds:
        return None
    most = max(float(np.quantile(c.values, 0.995)) for c in clouds)
    scale = scale_for(unit, [most])
    estimated = ", estimated" if any(c.estimated for c in clouds) else ""
    shown = [_thinned(cloud) for cloud in clouds]
    curves: list[CurveLine] = []
    for cloud, whole in zip(shown, clouds, strict=True):
        line = fit(whole.tokens, whole.values)
        points = zip(cloud.tokens.tolist(), (scale.factor * cloud.values).tolist(), strict=True)
        dots = [Point(x, y) for x, y in points]
        more = told(line, unit, estimated=cloud.estimated)
        curves.append(CurveLine(cloud.name, dots, cloud.series, "dots", estimated=cloud.estimated, more=more))
        if line is not None:
            ends = (float(whole.tokens.min()), float(whole.tokens.max()))
            drawn = [Point(t, scale.factor * (line.base + line.slope * t)) for t in ends]
            curves.append(CurveLine(cloud.name, drawn, cloud.series, dashed=cloud.estimated, listed=False))
    return Plot(
        f"{what} against tokens",
        plan("output tokens", [0.0, *(float(c.tokens.max()) for c in shown)], zero=True),
        plan(
            f"{what}, {scale.unit}{estimated}",
            [0.0, scale.factor * most],
            zero=True,
        ),
        curves,
        "; ".join(f"{curve.name}: {curve.more}" for curve in curves[:20] if curve.more),
    )


def told(line: Line | None, unit: str, *, estimated: bool) -> str:
    """Say a line in words."""
    if line is None:
        return "no line: all queries have the same tokens"
    scale = scale_for(unit, [max(abs(line.slope), line.half_width)])
    whole = scale_for(unit, [abs(line.base)])
    middle, half = (scale.factor * x for x in (line.slope, line.half_width))
    digits = scale.digits(line.slope, line.slope - line.half_width, line.slope + line.half_width)
    slope = f"{middle:.{digits}f} ±{half:.{digits}f} {scale.unit} a token"
    mark = " (estimated)" if estimated else ""
    return f"{slope}{mark}, {whole.factor * line.base:.3g} {whole.unit} before the first"


def distribution(samples: Sequence[Sample], what: str) -> Plot | None:
    """Show the part of the queries that took at most so long, one line a run."""
    if not samples:
        return None
    scale = scale_for("s", [float(np.median(sample.values)) for sample in samples])
    curves = []
    for sample in samples:
        parts = np.linspace(0, 1, min(len(sample.values), MOST_STEPS) + 1)
        times = scale.factor * np.quantile(sample.values, parts, method="inverted_cdf")
        points = [Point(t, 100 * part) for t, part in zip(times.tolist(), parts.tolist(), strict=True)]
        curves.append(CurveLine(sample.name, points, sample.series, "steps"))
    told_ = "; ".join(f"{s.name}: median {np.median(s.values):.3g} s of {len(s.values)}" for s in samples[:20])
    ends = [scale.factor * float(end) for s in samples for end in np.quantile(s.values, [0.0, 0.995])]
    return Plot(what, plan(f"{what}, {scale.unit}", ends), AxisPlan("share of the queries, %", 0, 100), curves, told_)


def _thinned(cloud: Cloud) -> Cloud:
    n = len(cloud.tokens)
    if n <= MOST_POINTS:
        return cloud
    kept = np.linspace(0, n - 1, MOST_POINTS).astype(np.int64)
    return cloud._replace(tokens=cloud.tokens[kept], values=cloud.values[kept])
