"""Intelligence per watt over release dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from ipw.printable import clean
from ipw.reports.charts.axes import MUTED, WIDE, Axis, Series, axis_over, figure, label, line, marker, plain
from ipw.reports.charts.plot import Value
from ipw.reports.markup import Markup
from ipw.reports.text import scale_for

TOP, BOTTOM = 36.0, 260.0


class Release(NamedTuple):
    """One run on the day that its model came out."""

    name: str
    day: dt.date
    per_watt: Value
    series: Series
    estimated: bool


def over_years(releases: Sequence[Release], key: str, width: int = WIDE) -> Markup:
    """Accuracy per watt of each release, with its interval, over time."""
    start, stop = (64, width - 20) if width >= WIDE else (46, width - 8)
    scale = scale_for("1/W", [r.per_watt.value for r in releases])
    factor = scale.factor
    estimated = ", estimated" if any(release.estimated for release in releases) else ""
    y = axis_over([factor * end for r in releases for end in r.per_watt if end > 0], BOTTOM, TOP)
    days = [r.day.toordinal() for r in releases]
    first, last = dt.date.fromordinal(min(days)).year, dt.date.fromordinal(max(days)).year + 1
    x = Axis(dt.date(first, 1, 1).toordinal(), dt.date(last, 1, 1).toordinal(), start, stop)
    parts = []
    for value in y.ticks(6):
        parts += [line(start, y.at(value), stop, y.at(value)), label(start - 8, y.at(value) + 4, plain(value), "end")]
    for year in range(first, last + 1):
        at = x.at(dt.date(year, 1, 1).toordinal())
        parts += [line(at, BOTTOM, at, BOTTOM + 4), label(at, BOTTOM + 18, str(year), "middle")]
    parts += [
        line(start, BOTTOM, stop, BOTTOM, MUTED),
        label((start + stop) / 2, BOTTOM + 38, "release of the model", "middle"),
        label(start, TOP - 12, f"accuracy per watt, {scale.unit}{estimated}"),
    ]
    for release in releases:
        at_x, ends = x.at(release.day.toordinal()), [y.at(factor * end) for end in release.per_watt]
        parts += [line(at_x, ends[1], at_x, ends[2], release.series[0], 1.5)]
        parts += [marker(at_x, ends[0], release.series, hollow=release.estimated)]
        left = at_x < (start + stop) / 2
        name = clean(release.name, 28)
        parts += [label(at_x + (11 if left else -11), ends[0] - 8, name, "start" if left else "end", "currentColor")]
    told = "; ".join(f"{r.name}, {r.day}: {r.per_watt.value:.3g} 1/W" for r in releases[:20])
    return figure(width, int(BOTTOM) + 46, "Accuracy per watt over release dates", told, parts, key)
