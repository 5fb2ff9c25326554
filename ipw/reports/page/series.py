"""Runs of one series: throughput against energy as more requests are in flight, and how repetitions spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ipw.metrics.accounting_text import short_mark
from ipw.metrics.definitions import DEFINITIONS
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.metrics.stats import student_t975
from ipw.printable import clean
from ipw.reports.charts.axes import MUTED, axis_over, figure, frame, label, line, marker, polyline
from ipw.reports.markup import Markup, tag
from ipw.reports.page.repeats import apart
from ipw.reports.page.results import chart, grid, section
from ipw.reports.page.view import View, workload_of
from ipw.reports.ranking import Group
from ipw.reports.text import MISSING, interval_text, scale_for, value_text
from ipw.runs.recorded import Recorded

RATE, JOULES = "output_tokens_per_s", "energy_per_output_token_j"
SWEPT = (
    RATE,
    JOULES,
    "mean_power_w",
    "ttft_p50_s",
    "ttft_p99_s",
    "itl_p50_s",
    "itl_p99_s",
    "latency_p50_s",
    "goodput_per_s",
)
REPEATED = ("accuracy", "accuracy_per_joule", "accuracy_per_watt", "energy_per_query_j", JOULES, RATE, "ttft_p50_s")


class Place(NamedTuple):
    """One run in its series."""

    view: View
    level: int
    """Requests in flight."""
    metrics: Mapping[str, Any]


def series(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """Every sweep as a table and a chart, every series of repetitions as a table of means."""
    found: dict[str, list[Place]] = {}
    for view in views:
        identity = Recorded(view.manifest).series.get("id")
        if isinstance(identity, str):
            level = number(workload_of(view).get("concurrency")) or 1
            place = Place(view, int(level), Derived(view.summary).metrics)
            found.setdefault(identity, []).append(place)
    parts: list[Markup] = []
    for index, places in enumerate(found.values()):
        parts += _sweep(sorted(places, key=lambda place: place.level), f"series{index}")
        parts += _repetitions(places)
    lead = "Runs of one model that differ in the requests in flight, or in nothing."
    return section("series", "Series", *parts, lead=lead) if parts else None


def _sweep(places: Sequence[Place], key: str) -> list[Markup]:
    if len({place.level for place in places}) < 2:
        return []
    names = [name for name in SWEPT if any(_value(place, name) is not None for place in places)]
    scales = {name: scale_for(DEFINITIONS[name].unit, [_value(place, name) for place in places]) for name in names}
    estimated = any(place.view.estimated for place in places)
    heads = ["In flight"]
    for name in names:
        marked = ", estimated" if estimated and DEFINITIONS[name].is_energy else ""
        heads.append(f"{DEFINITIONS[name].label} ({scales[name].unit}{marked})")
    rows = [
        [tag("th", f"{place.level}", _mark(place), scope="row"), *(_cell(place, name, scales[name]) for name in names)]
        for place in places
    ]
    title = tag("h3", "Sweep over the requests in flight: ", tag("bdi", _model(places[0])))
    drawn = _curve(places, key)
    return [title, *([chart(drawn)] if drawn else []), grid(heads, rows, "numbers plain")]


def _mark(place: Place) -> Markup | None:
    mark = short_mark(place.view.summary).strip(" ()")
    return tag("small", mark, class_="bad") if mark else None


def _cell(place: Place, name: str, scale: Any) -> Markup:
    metric = place.metrics.get(name, {})
    interval = interval_text(metric, scale)
    return tag("td", value_text(metric, scale), tag("small", interval) if interval else None)


def _curve(places: Sequence[Place], key: str) -> Markup | None:
    """Joules per output token against throughput, one point a run, a line through the means of valid ones."""
    points = [
        (place, rate, joules)
        for place in places
        if (rate := _value(place, RATE)) is not None and (joules := _value(place, JOULES)) is not None
    ]
    if len({place.level for place, *_ in points}) < 2:
        return None
    scale = scale_for("J", [joules for *_, joules in points])
    bounds = [number(place.metrics.get(JOULES, {}).get(end)) for place, *_ in points for end in ("low", "high")]
    shown = [scale.factor * x for x in (*(joules for *_, joules in points), *bounds) if x is not None and x > 0]
    x, y = axis_over([rate for _, rate, _ in points], 64, 740, zero=True), axis_over(shown, 300, 36, zero=True)
    estimated = ", estimated" if any(place.view.estimated for place, *_ in points) else ""
    parts: list[Markup] = [frame(x, y, "output tokens per second", f"energy per output token, {scale.unit}{estimated}")]
    valid = [point for point in points if point[0].view.valid]
    levels = sorted({place.level for place, *_ in valid})
    means = [np.mean([(rate, joules) for place, rate, joules in valid if place.level == one], axis=0) for one in levels]
    if len(means) > 1:
        parts.append(polyline([(x.at(rate), y.at(scale.factor * joules)) for rate, joules in means], MUTED, 1.5))
    for place, rate, joules in points:
        at_x, at_y = x.at(rate), y.at(scale.factor * joules)
        low, high = (number(place.metrics.get(JOULES, {}).get(end)) for end in ("low", "high"))
        if low is not None and high is not None:
            colour = place.view.series[0]
            parts.append(line(at_x, y.at(scale.factor * low), at_x, y.at(scale.factor * high), colour, 1.5))
        parts.append(marker(at_x, at_y, place.view.series, hollow=place.view.estimated))
        named = f"\N{MULTIPLICATION SIGN}{place.level}{short_mark(place.view.summary)}"
        parts.append(label(at_x + 9, at_y - 8, named, fill="currentColor"))
    told = "; ".join(
        f"{place.level} in flight{short_mark(place.view.summary)}: {rate:.4g} tokens/s at {joules:.3g} J"
        for place, rate, joules in points
    )
    return figure(760, 350, "Energy per output token against throughput", told, parts, key)


def _repetitions(places: Sequence[Place]) -> list[Markup]:
    """Means over the runs of each level that are valid, with an interval from their spread."""
    rows = []
    for level in sorted({place.level for place in places}):
        alike = [place for place in places if place.level == level and place.view.valid]
        for name in REPEATED:
            values = [value for place in alike if (value := _value(place, name)) is not None]
            if len(values) > 1:
                rows.append(_mean_row(level, name, values))
    if not rows:
        return []
    title = tag("h3", "Repetitions: ", tag("bdi", _model(places[0])))
    bad = sum(not place.view.valid for place in places)
    left_out = f" {bad} not valid {'run is' if bad == 1 else 'runs are'} left out." if bad else ""
    note = "Mean over the runs with its 95 % interval by Student's t; the spread is their standard deviation."
    heads = ["In flight", "Metric", "Mean", "95 % interval", "Spread", "Runs"]
    minds = [tag("p", f"Mind: {told}.", class_="note") for told in apart([place.view.summary for place in places])]
    return [title, grid(heads, rows, "numbers plain"), tag("p", note + left_out, class_="note"), *minds]


def _mean_row(level: int, name: str, values: Sequence[float]) -> list[object]:
    definition, n = DEFINITIONS[name], len(values)
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    half = student_t975(n - 1) * sd / n**0.5
    scale = scale_for(definition.unit, [mean])
    metric = {"value": mean, "low": mean - half, "high": mean + half}
    unit = f" {scale.unit}" if scale.unit else ""
    spread = f"{100 * sd / abs(mean):.2g} %" if mean else MISSING
    shown = f"{value_text(metric, scale)}{unit}"
    return [f"{level}", tag("th", definition.label, scope="row"), shown, interval_text(metric, scale), spread, f"{n}"]


def _model(place: Place) -> str:
    return clean(Derived(place.view.summary).model.get("name") or place.view.name, 60)


def _value(place: Place, name: str) -> float | None:
    return number(place.metrics.get(name, {}).get("value"))
