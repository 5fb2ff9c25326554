"""Charts: well-formed, bounded in size, true to their numbers, readable without colour."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.energy.curve import add_curves, power_curve
from ipw.metrics.readings import mean_power
from ipw.reports.charts.axes import NARROW, SERIES, WIDE, Axis, _nice_step, axis_over, series_of
from ipw.reports.charts.plot import Sample, Value
from ipw.reports.charts.power import _colours, power_timeline
from ipw.reports.charts.queries import SubjectRow, distributions, subjects
from ipw.reports.charts.svg import plot_svg
from ipw.reports.charts.timeline import COARSE, PowerTimeline, coarser, timeline
from ipw.reports.markup import Markup
from ipw.reports.plots.accuracy import Spot, accuracy_energy, pareto_front
from ipw.runs.spans import from_records

SECOND = 1_000_000_000


def spot(name: str, energy: float, accuracy: float, *, estimated: bool = False, series: int = 0) -> Spot:
    energies, accuracies = Value(energy, energy * 0.9, energy * 1.1), Value(accuracy, accuracy - 0.05, accuracy + 0.05)
    return Spot(name, energies, accuracies, SERIES[series % len(SERIES)], estimated)


def made_timeline(seconds: int = 60, rate_hz: int = 10) -> PowerTimeline:
    """10 W, 30 W within the window from 10 s to 50 s, with spans of half a second."""
    t = np.arange(0, seconds * SECOND, SECOND // rate_hz)
    watts = np.where((t > 10 * SECOND) & (t < 50 * SECOND), 30.0, 10.0)
    curve = power_curve(t, watts, np.zeros(len(t)), np.zeros(len(t)))
    attribution = {"window_ns": [10 * SECOND, 50 * SECOND], "idle_power_w": {"value": 10.0}}
    spans = [{"phase": "idle", "start_ns": 0, "end_ns": 10 * SECOND}]
    spans += [{"phase": "measure", "start_ns": 10 * SECOND, "end_ns": 50 * SECOND}]
    for start in range(10 * SECOND, 50 * SECOND, SECOND):
        spans.append({"phase": "prefill", "start_ns": start, "end_ns": start + SECOND // 4})
        spans.append({"phase": "decode", "start_ns": start + SECOND // 4, "end_ns": start + SECOND})
    data = timeline(curve, attribution, from_records(spans))
    assert data is not None
    return data


def tradeoff(spots: list[Spot], width: int = WIDE) -> Markup:
    plot = accuracy_energy(spots)
    assert plot is not None
    return plot_svg(plot, "k", width)


CHARTS = {
    "accuracy_energy": lambda w: tradeoff([spot("a<b", 1, 0.9), spot("c", 200, 0.4, estimated=True)], w),
    "power_timeline": lambda w: power_timeline(made_timeline(), "k", "run & run", width=w),
    "distributions": lambda w: distributions([Sample("a", np.array([0.1, 0.2, 4.0]), SERIES[0])], "latency", "k", w),
    "subjects": lambda w: subjects([SubjectRow("s<>", [(Value(0.5, 0.4, 0.6), SERIES[1])])], "k", w),
}
ALL = [(name, width) for name in CHARTS for width in (WIDE, NARROW)]


@pytest.mark.parametrize(("name", "width"), ALL)
def test_a_chart_is_well_formed_and_tells_a_screen_reader_what_it_shows(name: str, width: int) -> None:
    root = ET.fromstring(CHARTS[name](width))
    ids = {element.get("id"): element for element in root.iter() if element.get("id")}
    assert root.get("role") == "img"
    for key in (root.get("aria-labelledby") or "").split():
        assert ids[key].text


@pytest.mark.parametrize(("name", "width"), ALL)
def test_a_chart_stays_within_its_frame(name: str, width: int) -> None:
    root = ET.fromstring(CHARTS[name](width))
    _, _, shown, height = map(float, (root.get("viewBox") or "").split())
    assert shown == width
    for element in root.iter():
        for key, limit in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height), ("y1", height)):
            if element.get(key) is not None and element.tag not in {"rect", "g"}:
                assert -20 <= float(element.get(key) or 0) <= limit


def test_names_in_a_chart_are_escaped() -> None:
    assert "a&lt;b" in CHARTS["accuracy_energy"](WIDE)
    assert "run &amp; run" in CHARTS["power_timeline"](WIDE)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_labels_of_crowded_points_do_not_overlap_and_no_name_is_lost(width: int) -> None:
    svg = tradeoff([spot(f"model-{i}", 1 + i / 1000, 0.5 + i / 1000, series=i) for i in range(12)], width)
    boxes = [
        (float(x), float(y), len(text) * 7.3)
        for x, y, text in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*>(model-\d+)</text>', svg)
    ]
    beside = [box for box in boxes if box[:2] != (18, 4)]  # the others stand in the legend below
    assert 1 <= len(beside) < len(boxes) == 12
    for i, (x, y, wide) in enumerate(beside):
        assert all(abs(y - b) >= 14 or x + wide <= a or a + w <= x for a, b, w in beside[:i])


def test_the_lines_of_a_distribution_are_named_and_the_median_has_its_unit() -> None:
    svg = distributions([Sample("a", np.linspace(0.01, 1.0, 500), SERIES[0])], "latency", "k")
    assert re.findall(r">(p\d+[^<]*)<", svg) == ["p50 505 ms", "p90", "p99"]


def test_36_runs_have_looks_of_their_own() -> None:
    assert len({series_of(i) for i in range(36)}) == 36
    assert [series_of(i) for i in range(6)] == list(SERIES)


def test_an_estimate_is_called_one_on_the_axis_and_has_a_hollow_marker() -> None:
    plot = accuracy_energy([spot("c", 200, 0.4, estimated=True)])
    assert plot is not None
    assert plot.x.title == "energy per query, J, estimated"
    assert plot.curves[0].estimated


def test_the_pareto_front_holds_what_no_measured_run_beats() -> None:
    spots = [spot("good", 1, 0.5), spot("worse", 2, 0.4), spot("best", 3, 0.9), spot("guess", 0.1, 1.0, estimated=True)]
    assert [s.name for s in pareto_front(spots)] == ["good", "best"]


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), min_size=1, max_size=30))
def test_nothing_outside_the_front_beats_what_is_on_it(pairs: list[tuple[float, float]]) -> None:
    spots = [spot(str(i), energy, accuracy) for i, (energy, accuracy) in enumerate(pairs)]
    front = pareto_front(spots)
    energies = [s.energy_j.value for s in front]
    assert energies == sorted(energies)
    for s in spots:
        assert any(f.energy_j.value <= s.energy_j.value and f.accuracy.value >= s.accuracy.value for f in front)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_an_axis_holds_all_of_its_values_and_few_round_ticks(values: list[float]) -> None:
    axis = axis_over(values, 0, 100)
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert 0 <= axis.at(values[0]) <= 100
    assert 1 <= len(axis.ticks()) <= 12
    assert all(a < b for a, b in pairwise(axis.ticks()))


def test_an_axis_is_logarithmic_only_where_that_pays() -> None:
    assert axis_over([1, 5], 0, 100).log is False
    assert axis_over([0.01, 5], 0, 100).log is True
    assert Axis(1, 100, 0, 100, log=True).at(10) == 50


# --- timeline -------------------------------------------------------------------------------------------------------


def test_a_timeline_is_small_whatever_the_length_of_the_run() -> None:
    data = made_timeline(seconds=3600, rate_hz=50)
    assert len(data.mean_w) <= COARSE
    svg = power_timeline(data, "k", "run")
    points = sum(len(points.split()) for points in re.findall(r'points="([^"]*)"', svg))
    assert points <= 2000
    assert len(svg) < 100_000


def test_the_text_of_a_chart_of_estimated_power_says_so() -> None:
    told = [power_timeline(made_timeline(), "k", "run", estimated=known) for known in (True, False)]
    assert ["W on average (estimated)" in svg for svg in told] == [True, False]


def test_a_timeline_counts_from_the_start_of_the_window() -> None:
    data = made_timeline()
    assert data.edges_s[0] == -10
    middle = (data.edges_s[1:] + data.edges_s[:-1]) / 2
    assert data.mean_w[(middle > 1) & (middle < 39)] == pytest.approx(30)
    assert data.mean_w[middle < -1] == pytest.approx(10)
    assert np.all(data.low_w <= data.mean_w)
    assert np.all(data.high_w >= data.mean_w)


def test_the_bands_cover_the_spans_by_their_longest_phase() -> None:
    run, work = made_timeline().lanes
    assert [band.phase for band in run] == ["idle", "measure"]
    assert run[1].start_s == pytest.approx(0, abs=0.2)
    assert run[1].end_s == pytest.approx(40, abs=0.2)
    assert {band.phase for band in work} == {"prefill", "decode"}
    decoding = sum(band.end_s - band.start_s for band in work if band.phase == "decode")
    assert decoding == pytest.approx(30, rel=0.1)


def test_nothing_is_drawn_where_nothing_was_read() -> None:
    data = made_timeline()
    mean = data.mean_w.copy()
    mean[200:400] = np.nan
    svg = power_timeline(data._replace(mean_w=mean), "k", "run")
    assert svg.count("<polyline") == 2
    assert "nan" not in svg


def test_a_narrow_chart_of_power_has_few_stretches_and_the_same_joules_and_extremes() -> None:
    data = made_timeline(seconds=200, rate_hz=50)
    few = coarser(data, 100)
    assert len(few.mean_w) == 100
    joules = [np.nansum(one.mean_w * np.diff(one.edges_s)) for one in (data, few)]
    assert joules[1] == pytest.approx(joules[0], rel=0.01)
    assert (np.nanmin(few.low_w), np.nanmax(few.high_w)) == (np.nanmin(data.low_w), np.nanmax(data.high_w))


def test_phases_that_no_palette_names_share_no_colour() -> None:
    colours = _colours(["idle", "warmup", "step", "offload", "measure", "eval"])
    assert len(set(colours.values())) == len(colours)


def test_a_run_without_readings_has_no_timeline() -> None:
    assert timeline(add_curves([]), {}, from_records([])) is None


@given(st.lists(st.floats(0, 500), min_size=2, max_size=50), st.lists(st.integers(0, 49_000), min_size=2, max_size=40))
def test_mean_power_puts_every_joule_into_one_stretch(watts: list[float], cuts: list[int]) -> None:
    t = np.arange(len(watts)) * SECOND
    curve = power_curve(t, watts, np.zeros(len(watts)), np.zeros(len(watts)))
    inside = np.array(cuts, np.int64) * 1_000_000 % max(int(t[-1]), 1)
    edges = np.unique(np.concatenate([inside, t[[0, -1]]]))
    joules = mean_power(curve, edges) * np.diff(edges) / 1e9
    assert joules.sum() == pytest.approx(curve.energy_j[-1], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("rough", [0.0, -1.0, math.inf, math.nan, 5e-324])
def test_an_axis_of_a_damaged_run_has_a_step(rough: float) -> None:
    assert _nice_step(rough) > 0
