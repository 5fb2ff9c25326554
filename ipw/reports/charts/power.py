"""Power over a run, with its phases as bands above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np

from ipw.reports.charts.axes import (
    MUTED,
    SERIES,
    WIDE,
    Axis,
    Series,
    axis_over,
    figure,
    frame,
    label,
    legend,
    line,
    polyline,
)
from ipw.reports.charts.timeline import PowerTimeline, coarser
from ipw.reports.markup import Markup, tag
from ipw.reports.text import Scale, scale_for

LANE_PX = 19
PHASES = {
    "idle": "var(--idle,#999)",
    "load": "var(--s4,#cc79a7)",
    "warmup": "var(--s6,#e69f00)",
    "measure": "var(--s3,#009e73)",
    "prefill": "var(--s2,#d55e00)",
    "decode": "var(--s5,#56b4e9)",
}
"""Colour of each phase; those of other workloads take colours that are free."""


def power_timeline(
    data: PowerTimeline, key: str, name: str, series: Series = SERIES[0], *, estimated: bool = False, width: int = WIDE
) -> Markup:
    """Draw total power as a line within its extremes, what ran meanwhile as bands above it, idle power dashed."""
    data = data if width >= WIDE else coarser(data, width)
    lanes = [(text, lane) for text, lane in zip(("run", "work"), data.lanes, strict=True) if lane]
    start, end = (64, width - 20) if width >= WIDE else (46, width - 8)
    top = 34.0 + LANE_PX * len(lanes)
    bottom = top + 190
    x = Axis(float(data.edges_s[0]), float(data.edges_s[-1]), start, end)
    known = data.mean_w[np.isfinite(data.mean_w)]
    spikes = data.high_w[np.isfinite(data.high_w)]
    most = max(float(known.max(initial=1e-9)), float(np.quantile(spikes, 0.99)) if len(spikes) else 0.0)
    scale = scale_for("W", [most])
    y = axis_over([0.0, most * scale.factor], bottom, top, zero=True)
    unit = f"{scale.unit}, estimated" if estimated else scale.unit
    seconds = "seconds from the start of the measured window" if width >= WIDE else "seconds of the measured window"
    parts = [frame(x, y, seconds, f"power, {unit}")]
    along: list[Markup] = []
    colours = _colours([band.phase for _, lane in lanes for band in lane])
    for row, (text, lane) in enumerate(lanes):
        parts.append(label(start - 8, 17 + LANE_PX * row, text, "end"))
        for band in lane:
            colour = colours[band.phase]
            left, right = x.at(band.start_s), x.at(band.end_s)
            wide = round(max(right - left, 0.8), 2)
            along.append(tag("rect", x=left, y=6 + LANE_PX * row, width=wide, height=14, fill=colour))
    for first, last in _unbroken(data):
        along += _power(data, first, last, x, y, scale, series[0])
    place = {"x": start, "y": 0, "width": end - start, "height": bottom, "viewBox": f"{start} 0 {end - start} {bottom}"}
    parts.append(tag("svg", tag("g", *along, class_="along"), **place))  # one of its own, which cuts off what is beyond
    if data.idle_w is not None:
        at = y.at(data.idle_w * scale.factor)
        parts.append(line(start, at, end, at, MUTED, 1.2, "2 4"))
    entries: list[tuple[Markup, str]] = [
        (tag("rect", x=0, y=-6, width=12, height=12, fill=colour), phase) for phase, colour in colours.items()
    ]
    entries.append((line(0, 0, 14, 0, series[0], 2), "mean, with extremes"))
    if data.idle_w is not None:
        entries.append((line(0, 0, 14, 0, MUTED, 1.2, "2 4"), f"idle {data.idle_w:.3g} W"))
    swatches, height = legend(entries, start, bottom + 62, end - start)
    mean = float(known.mean()) if len(known) else 0.0
    mark = " (estimated)" if estimated else ""
    told = f"Power of {name} over {data.edges_s[-1] - data.edges_s[0]:.0f} s, {mean:.3g} W on average{mark}"
    zoom = {"data_left": start, "data_right": end, "data_from": x.low, "data_to": x.high, "class_": "zoomable"}
    return figure(width, int(bottom + 58 + height), f"Power over time: {name}", told, [*parts, swatches], key, **zoom)


def _colours(phases: Sequence[str]) -> dict[str, str]:
    """One colour a phase, in the order in which they come; no two share one while there are others."""
    names = list(dict.fromkeys(phases))
    used = {PHASES[name] for name in names if name in PHASES}
    free = cycle([colour for colour, _ in SERIES if colour not in used] or [colour for colour, _ in SERIES])
    return {name: PHASES[name] if name in PHASES else next(free) for name in names}


def _unbroken(data: PowerTimeline) -> Iterator[tuple[int, int]]:
    """First and last stretch of every run of stretches whose power is known."""
    known = np.isfinite(data.mean_w)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(np.int8), [0]])))
    for first, behind in edges.reshape(-1, 2).tolist():
        yield first, behind - 1


def _power(data: PowerTimeline, first: int, last: int, x: Axis, y: Axis, scale: Scale, colour: str) -> list[Markup]:
    part = slice(first, last + 1)
    middle = (data.edges_s[:-1][part] + data.edges_s[1:][part]) / 2
    across = [x.at(t) for t in middle.tolist()]
    mean, low, high = (
        [y.at(w) for w in (scale.factor * column[part]).tolist()] for column in (data.mean_w, data.low_w, data.high_w)
    )
    outline = [*zip(across, high, strict=True), *zip(across[::-1], low[::-1], strict=True)]
    points = Markup(" ".join(f"{a},{b}" for a, b in outline))
    return [
        tag("polygon", points=points, fill=colour, fill_opacity=0.25),
        polyline(zip(across, mean, strict=True), colour),
    ]
