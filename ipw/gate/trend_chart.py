"""One metric over many runs, with the levels that were found and the band in which the last run was expected."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ipw.gate.trend import Prediction, Step
from ipw.metrics.definitions import Definition
from ipw.reports.charts.axes import MUTED, SERIES, WIDE, WholeAxis, axis_over, figure, frame, label, line, marker
from ipw.reports.charts.plot import Value
from ipw.reports.markup import Markup, tag
from ipw.reports.text import scale_for

LEFT, RIGHT, TOP, BOTTOM = 64, 740, 24.0, 280.0


def trend_chart(
    definition: Definition,
    values: Sequence[Value],
    found: Sequence[Step],
    expected: Prediction | None,
    key: str,
    *,
    estimated: bool = False,
) -> Markup:
    """Draw one metric over runs in order of time."""
    scale = scale_for(definition.unit, [each.value for each in values])
    ends = [end for each in values for end in each] + (list(expected) if expected else [])
    x = WholeAxis(0.5, len(values) + 0.5, LEFT, RIGHT)
    y = axis_over([scale.factor * end for end in ends], BOTTOM, TOP)
    name = f"{definition.label}, {scale.unit}" if scale.unit else definition.label
    name, digits = (f"{name}, estimated", 0) if estimated else (name, 1)
    parts: list[Markup | None] = [frame(x, y, "run", name)]
    if expected:
        high, low = y.at(scale.factor * expected.high), y.at(scale.factor * expected.low)
        at = x.at(len(values))
        parts.append(
            tag("rect", x=at - 9, y=high, width=18, height=round(low - high, 2), fill=MUTED, fill_opacity=0.25)
        )
    bounds = [0, *(step.at for step in found), len(values)]
    levels = [found[0].before, *(step.after for step in found)] if found else []
    for (first, past), level in zip(pairwise(bounds), levels, strict=bool(levels)):
        at = y.at(scale.factor * level)
        parts.append(line(x.at(first + 0.5), at, x.at(past + 0.5), at, MUTED, 1.5, "5 4"))
    for step in found:
        at = x.at(step.at + 0.5)
        parts += [
            line(at, TOP, at, BOTTOM, MUTED, 1, "2 3"),
            label(at + 4, TOP + 10, f"{100 * step.change:+.{digits}f} %"),
        ]
    for index, each in enumerate(values, start=1):
        at, low, high = x.at(index), y.at(scale.factor * each.low), y.at(scale.factor * each.high)
        parts += [line(at, low, at, high, SERIES[0][0], 1.5), marker(at, y.at(scale.factor * each.value), SERIES[0])]
    told = f"{len(values)} runs; " + (
        "; ".join(f"{100 * s.change:+.{digits}f} % at run {s.at + 1}" for s in found) or "level"
    )
    return figure(
        WIDE,
        330,
        f"{definition.label}{' (estimated)' if estimated else ''} over time",
        told,
        parts,
        key,
        xmlns="http://www.w3.org/2000/svg",
    )
