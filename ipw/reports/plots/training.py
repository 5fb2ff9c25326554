"""Training: what each method learns for its joules and in its steps, and where the joules of a step go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.charts.axes import SERIES, Series, series_of
from ipw.reports.charts.plot import Bar, Bars, CurveLine, Plot, Point, plan
from ipw.reports.text import scale_for
from ipw.runs.directory import RunDir
from ipw.runs.recorded import part_of

PHASES = ("forward", "backward", "update")
MOST_POINTS = 200
Entries = Mapping[str, Mapping[str, Any]]
Lines = Mapping[str, Sequence[Point]]


def looks(methods: Sequence[str]) -> dict[str, Series]:
    """One colour and shape a method, the same in every chart and table of its run."""
    return {name: series_of(place) for place, name in enumerate(methods)}


def loss_lines(run: RunDir) -> dict[str, dict[str, list[Point]]]:
    """Training loss of each method, a mean over some steps where there are many: against joules, and against steps."""
    found: dict[str, dict[str, list[Point]]] = {"joules": {}, "steps": {}}
    table = run.read_table("steps")
    if table is None:
        return found
    names = table["method"].to_pylist()
    loss, energy = (
        table[name].cast("float64").to_numpy(zero_copy_only=False).astype(np.float64) for name in ("loss", "energy_j")
    )
    for name in dict.fromkeys(names):
        mine = np.array([other == name for other in names]) & np.isfinite(loss)
        if not mine.any():
            continue
        pieces = np.array_split(np.flatnonzero(mine), min(MOST_POINTS, int(mine.sum())))
        means = [float(loss[piece].mean()) for piece in pieces]
        used = np.cumsum(energy[mine])
        ends = np.cumsum([len(piece) for piece in pieces]) - 1
        found["steps"][name] = [Point(float(end + 1), y) for end, y in zip(ends, means, strict=True)]
        if np.isfinite(used).all():
            found["joules"][name] = [Point(float(used[end]), y) for end, y in zip(ends, means, strict=True)]
    return found


def loss_plot(lines: Lines, series: Mapping[str, Series], title: str, x: str) -> Plot | None:
    """One line a method; `None` where none has two points."""
    shown = [
        CurveLine(clean(name, 40), points, series.get(name, SERIES[0])) for name, points in lines.items() if points
    ]
    if not any(len(curve.points) > 1 for curve in shown):
        return None
    told = "; ".join(f"{c.name}: {c.points[0].y:.3g} to {c.points[-1].y:.3g} at {c.points[-1].x:.4g}" for c in shown)
    xs, ys = ([getattr(p, axis) for curve in shown for p in curve.points] for axis in ("x", "y"))
    x_axis = plan(x, xs)
    if not x_axis.log:
        x_axis = plan(x, [0.0, *xs], zero=True)
    return Plot(title, x_axis, plan("training loss", ys), shown, told)


def step_split(methods: Entries, *, estimated: bool) -> Bars | None:
    """Where the joules of a step go: forward, backward and update of each method."""
    parts = {
        name: [
            number(part_of(part_of(entry, "metrics"), f"{phase}_energy_per_step_j").get("value")) for phase in PHASES
        ]
        for name, entry in methods.items()
    }
    known = {name: [x or 0.0 for x in values] for name, values in parts.items() if any(values)}
    if not known:
        return None
    scale = scale_for("J", [sum(values) for values in known.values()])
    bars = [Bar(clean(name, 40), [x * scale.factor for x in values]) for name, values in known.items()]
    return Bars(
        "Where the energy of a step goes",
        plan(f"energy per step, {scale.unit}{', estimated' if estimated else ''}", _ends(bars), zero=True),
        bars,
        "; ".join(
            f"{bar.name}: " + ", ".join(f"{phase} {part:.3g}" for phase, part in zip(PHASES, bar.parts, strict=True))
            for bar in bars
        ),
        tuple((phase, SERIES[k][0]) for k, phase in enumerate(PHASES)),
        estimated,
    )


def _ends(bars: Sequence[Bar]) -> list[float | None]:
    return [0.0, *(end for bar in bars for end in (sum(bar.parts), bar.high))]
