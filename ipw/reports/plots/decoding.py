"""Masked diffusion: how many masks are left after each forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ipw.reports.charts.plot import CurveLine, Plot, Point, plan
from ipw.reports.view import View
from ipw.runs.directory import RunDir

MOST_STEPS = 200


def masks_left(run: RunDir) -> list[Point]:
    """Mean masks left before each step, over all answers; those that are whole have none."""
    table = run.read_table("diffusion_steps")
    if table is None:
        return []
    steps, left = (table[name].to_pylist() for name in ("step", "mean_masked_of_all"))
    points = [Point(float(step), float(value)) for step, value in zip(steps, left, strict=True) if value is not None]
    thin = max(1, len(points) // MOST_STEPS)
    return [*points[::thin], Point(points[-1].x + 1, 0.0)] if points else []


def masks(named: Sequence[tuple[str, View]]) -> Plot | None:
    """Masks left by step, one line a run."""
    curves = [
        CurveLine(name, points, view.series) for name, view in named if (points := masks_left(RunDir(Path(view.path))))
    ]
    if not curves:
        return None
    told = "; ".join(f"{curve.name}: none after {curve.points[-1].x:.0f} steps" for curve in curves)
    xs, ys = ([getattr(p, axis) for curve in curves for p in curve.points] for axis in ("x", "y"))
    x = plan("forward passes", [0.0, *xs], zero=True)
    return Plot("Masks left by step", x, plan("masks left, mean of all answers", [0.0, *ys], zero=True), curves, told)
