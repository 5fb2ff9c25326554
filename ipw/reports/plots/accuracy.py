"""Accuracy against energy: who is right most often for the fewest joules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.reports.charts.axes import MUTED, Series, series_of
from ipw.reports.charts.plot import AxisPlan, CurveLine, Plot, Point, Value, plan
from ipw.reports.text import scale_for
from ipw.reports.view import View

TITLE = "Accuracy against energy per query"
MOST_TOLD = 20


class Spot(NamedTuple):
    """One run in the plane of accuracy and energy."""

    name: str
    energy_j: Value
    accuracy: Value
    series: Series
    estimated: bool
    valid: bool = True


def spot_of(name: str, metrics: Mapping[str, Any], view: View, series: Series | None = None) -> Spot | None:
    """Place a run, or one of its subjects; `None` where accuracy or energy is not known."""
    energy, accuracy = (value_of(metrics.get(metric)) for metric in ("energy_per_query_j", "accuracy"))
    if energy is None or accuracy is None or energy.value <= 0:
        return None
    return Spot(name, energy, accuracy, series or view.series, view.estimated, view.valid)


def subject_spots(view: View, most: int) -> list[Spot]:
    """Place the subjects of one run."""
    tables = sorted(Derived(view.summary).by_subject.items())[:most]
    spots = (spot_of(name, metrics, view, series_of(i)) for i, (name, metrics) in enumerate(tables))
    return [spot for spot in spots if spot is not None]


def value_of(metric: object) -> Value | None:
    """Read a metric as a number with its ends."""
    found = metric if isinstance(metric, Mapping) else {}
    value, low, high = (number(found.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return None
    return Value(value, value if low is None else low, value if high is None else high)


def accuracy_energy(spots: Sequence[Spot], *, front: bool = True) -> Plot | None:
    """Accuracy against energy per query, both with intervals, and the Pareto front through what was measured."""
    if not spots:
        return None
    scale = scale_for("J", [s.energy_j.value for s in spots])
    percents = [100 * end for s in spots for end in s.accuracy]
    estimated = ", estimated" if any(s.estimated for s in spots) else ""
    mark = " (estimated)" if estimated else ""
    points = [_point(s, scale.factor) for s in spots]
    curves = [
        CurveLine(s.name, [point], s.series, "spots", estimated=s.estimated)
        for s, point in zip(spots, points, strict=True)
    ]
    best = [_point(s, scale.factor)._replace(low=None, left=None) for s in pareto_front(spots)]
    if front and len(best) > 1:
        curves.insert(0, CurveLine("not beaten in both", best, (MUTED, "circle"), "steps", dashed=True, listed=False))
    return Plot(
        TITLE,
        plan(f"energy per query, {scale.unit}{estimated}", _positive(points)),
        AxisPlan("accuracy, %", max(0.0, min(percents) - 4), min(100.0, max(percents) + 4)),
        curves,
        "; ".join(
            f"{s.name}: {100 * s.accuracy.value:.1f} % at {s.energy_j.value:.3g} J{mark}" for s in spots[:MOST_TOLD]
        ),
        named_beside=True,
    )


def _point(s: Spot, factor: float) -> Point:
    low, high = (100 * end for end in s.accuracy[1:])
    left, right = (factor * end for end in s.energy_j[1:])
    return Point(factor * s.energy_j.value, 100 * s.accuracy.value, low, high, left, right)


def _positive(points: Iterable[Point]) -> list[float]:
    return [end for p in points for end in (p.x, p.left, p.right) if end is not None and end > 0]


def pareto_front(spots: Iterable[Spot]) -> list[Spot]:
    """Keep the measured ones that can be believed and that no other beats in energy and accuracy, by rising energy."""
    front: list[Spot] = []
    measured = (s for s in spots if s.valid and not s.estimated)
    for spot in sorted(measured, key=lambda s: (s.energy_j.value, -s.accuracy.value)):
        if not front or spot.accuracy.value > front[-1].accuracy.value:
            front.append(spot)
    return front
