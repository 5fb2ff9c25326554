"""A task over time: its turns and its tools as bars, and the power that was drawn meanwhile below them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ipw.energy.curve import Floats
from ipw.reports.charts.axes import (
    MUTED,
    SERIES,
    TOOLS,
    TURNS,
    WIDE,
    Axis,
    axis_over,
    figure,
    label,
    legend,
    line,
    plain,
    polyline,
)
from ipw.reports.markup import Markup, tag
from ipw.reports.text import scale_for

LANE, POWER, FOOT, HEAD = 16, 58, 40, 22
PREFILL = "var(--s2,#d55e00)"


class Piece(NamedTuple):
    """A stretch of a task."""

    kind: str
    """`prefill`, `turn` or `tool`."""
    text: str
    start_s: float
    end_s: float


class TaskTrace(NamedTuple):
    """One task; seconds count from its first request."""

    name: str
    told: str
    """What it cost, in words."""
    pieces: Sequence[Piece]
    edges_s: Floats
    power_w: Floats
    """Between the edges, of all devices; NaN where nothing was read."""


def task_timelines(traces: Sequence[TaskTrace], key: str, width: int = WIDE, *, estimated: bool = False) -> Markup:
    """Draw tasks one below the other, each on its own seconds and on one scale of watts."""
    start, end = (64, width - 16) if width >= WIDE else (46, width - 8)
    most = max((float(np.nanmax(t.power_w)) for t in traces if np.isfinite(t.power_w).any()), default=1.0)
    scale = scale_for("W", [most])
    parts: list[Markup] = []
    top = 0.0
    for trace in traces:
        parts += _one(trace, top, start, end, most * scale.factor, scale.factor)
        top += HEAD + LANE + 8 + POWER + FOOT
    mark = ", estimated" if estimated else ""
    swatches, height = legend(
        [
            (tag("rect", x=0, y=-6, width=12, height=12, fill=PREFILL), "prompt of a turn"),
            (tag("rect", x=0, y=-6, width=12, height=12, fill=TURNS), "its answer"),
            (tag("rect", x=0, y=-6, width=12, height=12, fill=TOOLS), "tools"),
            (line(0, 0, 14, 0, SERIES[2][0], 2), f"power, {scale.unit}{mark}"),
        ],
        start,
        top + 8,
        end - start,
    )
    told = "; ".join(f"{trace.name}: {trace.told}" for trace in traces)
    return figure(width, int(top + 12 + height), "Tasks over time", told, [*parts, swatches], key)


def _one(trace: TaskTrace, top: float, start: int, end: int, most: float, factor: float) -> list[Markup]:
    x = Axis(0.0, max(float(trace.edges_s[-1]), 1e-6), start, end)
    lane = top + HEAD
    base, ceiling = lane + LANE + 8 + POWER, lane + LANE + 8
    y = axis_over([0.0, most], base, ceiling, zero=True)
    characters = int((end - start + 30) / 6.4)
    name = f"{trace.name}: {trace.told}"
    parts = [label(start - 30, top + 14, name if len(name) <= characters else name[: characters - 1] + "…")]
    parts += [_piece(piece, x, lane) for piece in trace.pieces]
    for value in (0.0, y.ticks(3)[-1]):
        at = y.at(value)
        parts += [line(start, at, end, at), label(start - 8, at + 4, plain(value), "end")]
    for value in x.ticks(max(3, (end - start) // 110)):
        parts.append(label(x.at(value), base + 16, f"{plain(value)} s", "middle", MUTED))
    middle = (trace.edges_s[1:] + trace.edges_s[:-1]) / 2
    for part in _known(trace.power_w):
        points = zip(middle[part].tolist(), (trace.power_w[part] * factor).tolist(), strict=True)
        parts.append(polyline([(x.at(a), y.at(b)) for a, b in points], SERIES[2][0]))
    return parts


def _piece(piece: Piece, x: Axis, lane: float) -> Markup:
    colour = {"prefill": PREFILL, "turn": TURNS}.get(piece.kind, TOOLS)
    left, right = x.at(piece.start_s), x.at(piece.end_s)
    wide = max(right - left, 1.0)
    drawn = tag("rect", x=left, y=lane, width=round(wide, 2), height=LANE, fill=colour)
    return tag("g", tag("title", piece.text), drawn)


def _known(power_w: Floats) -> list[slice]:
    known = np.concatenate([[0], np.isfinite(power_w).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(known)).reshape(-1, 2)
    return [slice(first, behind) for first, behind in edges.tolist()]
