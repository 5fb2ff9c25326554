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
from ipw.reports.markup import Markup, tag
from ipw.reports.page.repeats import apart
from ipw.reports.page.results import drawn, grid, section
from ipw.reports.plots.load import JOULES, RATE, energy_load, knee_notes, sweeps
from ipw.reports.ranking import Group
from ipw.reports.text import MISSING, interval_text, scale_for, value_text
from ipw.reports.view import View, workload_of
from ipw.runs.recorded import Recorded

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
FEWEST = 3
"""Runs from which on their spread says something."""
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
    found = sweeps([place.view for place in places])
    one = drawn(energy_load(found), key)
    notes = [tag("p", note, class_="note") for note in knee_notes(found)]
    return [title, *([one] if one else []), *notes, grid(heads, rows, "numbers plain")]


def _mark(place: Place) -> Markup | None:
    mark = short_mark(place.view.summary).strip(" ()")
    return tag("small", mark, class_="bad") if mark else None


def _cell(place: Place, name: str, scale: Any) -> Markup:
    metric = place.metrics.get(name, {})
    interval = interval_text(metric, scale)
    return tag("td", value_text(metric, scale), tag("small", interval) if interval else None)


def _repetitions(places: Sequence[Place]) -> list[Markup]:
    """Means over the runs of each level that are valid, with an interval from their spread."""
    rows = []
    for level in sorted({place.level for place in places}):
        alike = [place for place in places if place.level == level and place.view.valid]
        for name in REPEATED:
            values = [value for place in alike if (value := _value(place, name)) is not None]
            if len(values) > 1:
                estimated = any(place.view.estimated for place in alike)
                rows.append(_mean_row(level, name, values, estimated=estimated))
    if not rows:
        return []
    title = tag("h3", "Repetitions: ", tag("bdi", _model(places[0])))
    bad = sum(not place.view.valid for place in places)
    left_out = f" {bad} not valid {'run is' if bad == 1 else 'runs are'} left out." if bad else ""
    note = """Mean over the runs, with the 95 % interval of runs like these by Student's t, of logarithms, so that no \
end lies below zero; of two runs both values, since two tell nothing of how far a third may lie. The spread is their \
standard deviation. All asked the same questions: what others would change is in the intervals of the results."""
    heads = ["In flight", "Metric", "Mean", "95 % interval", "Spread", "Runs"]
    minds = [tag("p", f"Mind: {told}.", class_="note") for told in apart([place.view.summary for place in places])]
    return [title, grid(heads, rows, "numbers plain"), tag("p", note + left_out, class_="note"), *minds]


def _mean_row(level: int, name: str, values: Sequence[float], *, estimated: bool) -> list[object]:
    definition, n = DEFINITIONS[name], len(values)
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    scale = scale_for(definition.unit, [mean])
    low, high = (min(values), max(values)) if n < FEWEST or not sd else interval(values)
    metric = {"value": mean, "low": low, "high": high}
    unit = f" {scale.unit}" if scale.unit else ""
    mark = " (estimated)" if estimated and definition.is_energy else ""
    between = "the same in all" if not sd else interval_text(metric, scale)
    told = f"{between} (lowest, highest)" if n < FEWEST and sd else between
    shown = f"{value_text(metric, scale)}{unit}{mark}"
    return [f"{level}", tag("th", definition.label, scope="row"), shown, told, _share(sd, mean), f"{n}"]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of what runs like these come to, by Student's t.

    Of quantities above zero it is taken of their logarithms, so that no end lies below zero.
    """
    n, known = len(values), np.asarray(values, np.float64)
    logs = bool((known > 0).all())
    taken = np.log(known) if logs else known
    middle, half = float(taken.mean()), student_t975(n - 1) * float(taken.std(ddof=1)) / n**0.5
    ends = (middle - half, middle + half)
    return (float(np.exp(ends[0])), float(np.exp(ends[1]))) if logs else ends


def _share(sd: float, mean: float) -> str:
    if not mean:
        return MISSING
    percent = 100 * sd / abs(mean)
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.2g} %"


def _model(place: Place) -> str:
    return clean(Derived(place.view.summary).model.get("name") or place.view.name, 60)


def _value(place: Place, name: str) -> float | None:
    return number(place.metrics.get(name, {}).get("value"))
