"""What a chart shows, before anyone draws it: the page draws it as SVG, `ipw.reports.figures` through matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from ipw.metrics.stats import Array
from ipw.reports.charts.axes import SERIES, Axis, Series, WholeAxis, axis_over


class Value(NamedTuple):
    """A number with its 95 % interval; an end that is not known is the number."""

    value: float
    low: float
    high: float


class Sample(NamedTuple):
    """Times of one run, in seconds."""

    name: str
    values: Array
    series: Series


class AxisPlan(NamedTuple):
    """Title and reach of one axis."""

    title: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    """Counts: no ticks between whole numbers."""
    marks: tuple[float, ...] = ()
    """Where ticks stand; without, at round values."""

    def between(self, start: float, end: float) -> Axis:
        """Lay the axis from one place to another."""
        return (WholeAxis if self.whole else Axis)(self.low, self.high, start, end, self.log, self.marks)


def plan(title: str, values: Iterable[float | None], *, zero: bool = False) -> AxisPlan:
    """Plan an axis that holds all values that are known; logarithmic where they span more than a factor of 10."""
    axis = axis_over([value for value in values if value is not None], 0, 1, zero=zero)
    return AxisPlan(title, axis.low, axis.high, axis.log)


class Point(NamedTuple):
    """One point of a chart; an end of an interval that is not known is `None`."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    left: float | None = None
    right: float | None = None


class CurveLine(NamedTuple):
    """Points that belong together."""

    name: str
    points: Sequence[Point]
    series: Series = SERIES[0]
    look: Literal["line", "spots", "dots", "steps"] = "line"
    """A line through points; points alone; many small ones; stairs."""
    dashed: bool = False
    estimated: bool = False
    """Hollow markers."""
    more: str = ""
    """What stands behind the name where there is room for a sentence."""
    beside: Sequence[str] = ()
    """What stands beside each point."""
    listed: bool = True
    """Whether the legend names it."""


class Mark(NamedTuple):
    """A value of x that a chart points at."""

    x: float
    text: str


class Plot(NamedTuple):
    """Lines and points in a plane."""

    title: str
    x: AxisPlan
    y: AxisPlan
    curves: Sequence[CurveLine]
    told: str
    """The chart in a sentence, for those who do not see it."""
    mark: Mark | None = None
    named_beside: bool = False
    """Whether each curve is one point, whose name stands beside it where there is room."""


class Bar(NamedTuple):
    """One bar from 0, of one part or several end to end."""

    name: str
    parts: Sequence[float]
    low: float | None = None
    high: float | None = None
    """Interval of the whole."""


class Bars(NamedTuple):
    """Bars, one below the other."""

    title: str
    x: AxisPlan
    bars: Sequence[Bar]
    told: str
    parts: Sequence[tuple[str, str]] = ()
    """Name and colour of each part; empty where a bar is one piece."""
    estimated: bool = False
    """Pale."""
