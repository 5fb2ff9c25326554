"""Figures through matplotlib: every style and format, and nothing where there is nothing to draw."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from reports.made_runs import make_run

from ipw.errors import UsageError
from ipw.reports.charts.plot import Plot
from ipw.reports.view import View, load_views

pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")

from ipw.reports.figures.drawn import draw
from ipw.reports.figures.written import FIGURES, STYLES, figures_of, in_order, letters_missing, not_drawn, write_figures


def two(folder: Path, **more: object) -> list[View]:
    names = [("one $x$ <b>", 10.0), ("two", 20.0)]
    return load_views(
        [
            make_run(folder, f"r{i}", power_w=power, manifest={"model": {"name": name}} | more)
            for i, (name, power) in enumerate(names)
        ]
    )


def few(folder: Path) -> list[View]:
    """Runs that allow two figures alone, as their joules have different bases."""
    return load_views([make_run(folder, name, scores=[1.0] * 9, manifest={"basis": name}) for name in ("gpu", "soc")])


OF_OTHERS = {"masks", "energy-method", "energy-turn", "routing-consistency", "energy-load"}
"""Figures of other workloads, and of sweeps."""


@pytest.mark.parametrize("style", STYLES)
def test_every_figure_is_drawn_in_every_style(tmp_path: Path, style: str) -> None:
    written = write_figures(two(tmp_path), tmp_path / style, style, ["svg"])
    assert {path.stem for path in written} == set(FIGURES) - OF_OTHERS


def test_a_figure_is_written_in_every_format(tmp_path: Path) -> None:
    written = write_figures(few(tmp_path), tmp_path / "out", "paper")
    assert len(written) == 6
    starts = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in written)


def test_text_in_svg_is_text_and_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    views = two(tmp_path)
    first, again = (write_figures(views, tmp_path / name, "web", ["svg"]) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert "one $x$ &lt;b&gt;" in (tmp_path / "a" / "accuracy-energy.svg").read_text()


def test_estimates_are_called_so_on_the_axis_of_every_figure_with_joules(tmp_path: Path) -> None:
    views = load_views([make_run(tmp_path, method="model_estimate", manifest={"basis": "estimate"})])
    titles = {
        name: " ".join(axes.get_xlabel() + " " + axes.get_ylabel() for axes in draw(shown).axes)
        for name, shown in figures_of(views)
    }
    assert set(titles) == set(FIGURES) - OF_OTHERS
    with_joules = {name for name in titles if name.startswith(("accuracy", "energy", "power"))}
    assert {name for name, title in titles.items() if "estimated" in title} == with_joules


def test_joules_of_different_bases_share_no_axis_and_that_is_told(tmp_path: Path) -> None:
    views = load_views([make_run(tmp_path, name, manifest={"basis": name}) for name in ("gpu", "soc")])
    assert [name for name, _ in figures_of(views)] == ["latency-tokens", "latency"]
    assert "different bases (gpu, soc)" in str(not_drawn(views))
    assert not_drawn(views[:1]) is None


@pytest.mark.parametrize("width_mm", [None, 120.0])
def test_a_figure_has_the_width_that_was_asked_for_at_300_dots_an_inch(tmp_path: Path, width_mm: float | None) -> None:
    png = write_figures(few(tmp_path), tmp_path / "out", "paper", ["png"], width_mm)[0].read_bytes()
    pixels = int.from_bytes(png[16:20], "big")
    assert pixels == pytest.approx(300 * (width_mm / 25.4 if width_mm else 3.4), abs=2)


def test_a_legend_covers_no_part_of_the_axes_whatever_the_names(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, f"r{i}", manifest={"model": {"name": f"a model with quite a long name, number {i}"}})
        for i in range(9)
    ]
    for name, shown in figures_of(load_views(runs)):
        figure = draw(shown)
        figure.set_layout_engine("constrained")
        figure.draw_without_rendering()
        axes = figure.axes[0].get_window_extent()
        for legend in figure.legends:
            assert not axes.overlaps(legend.get_window_extent()), name


def test_page_and_figure_show_the_same_points(tmp_path: Path) -> None:
    views = two(tmp_path)
    shown = dict(figures_of(views))["accuracy-energy"]
    assert isinstance(shown, Plot)
    axes = draw(shown).axes[0]
    spots = [np.asarray(line.get_path().vertices) for line in axes.lines if line.get_marker() not in {"None", None}]
    markers = [point for points in spots for point in points.tolist()]
    assert markers == [[p.x, p.y] for curve in shown.curves if curve.listed for p in curve.points]
    assert axes.get_xlim() == pytest.approx((shown.x.low, shown.x.high))


def test_runs_that_hold_nothing_give_no_figure(tmp_path: Path) -> None:
    views = load_views([make_run(tmp_path, scores=(), readings=False)])
    assert write_figures(views, tmp_path / "figures", "paper", ["svg"]) == []


def test_letters_that_no_font_here_has_are_told_and_no_warning_is_printed(tmp_path: Path) -> None:
    made = [
        make_run(tmp_path, f"r{i}", scores=[1.0] * 9, manifest={"label": name})
        for i, name in enumerate(["λ ü", "\ue000"])
    ]
    views = load_views(made)
    assert letters_missing(views[:1], "paper") is None
    assert "no font here has \ue000" in (letters_missing(views, "paper") or "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_figures(views, tmp_path / "f", "paper", ["png"])


def test_an_unknown_style_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no style"):
        write_figures([], tmp_path, "poster")


def test_runs_stand_in_the_order_that_was_asked_for_with_the_looks_that_they_have_on_the_page(tmp_path: Path) -> None:
    views = two(tmp_path)
    turned = in_order(views, "two")
    assert [view.name for view in turned] == ["two", "one $x$ <b>"]
    shown = dict(figures_of(turned))["accuracy-energy"]
    assert isinstance(shown, Plot)
    listed = [curve for curve in shown.curves if curve.listed]
    assert [(curve.name, curve.series) for curve in listed] == [(view.name, view.series) for view in turned]
    with pytest.raises(UsageError, match="names 'three', and no run is called so"):
        in_order(views, "two, three")


def test_names_with_commas_can_be_put_in_order(tmp_path: Path) -> None:
    names = ["a, b", "a", "b"]
    views = load_views([make_run(tmp_path, f"r{i}", manifest={"label": name}) for i, name in enumerate(names)])
    assert [view.name for view in in_order(views, "b , a, a, b")] == ["b", "a", "a, b"]
    assert [view.name for view in in_order(views, "a, b, b")] == ["a, b", "b", "a"]


def test_energy_by_turn_is_drawn_of_agents_and_of_conversations(tmp_path: Path) -> None:
    agent = make_run(tmp_path, "agent", manifest={"workload": {"kind": "agent", "parameters": {}}})
    rows = [{"by": "turn", "name": str(turn), "count": 4, "energy_j": 8.0 * turn} for turn in (1, 2, 3)]
    agent.write_table("costs", pa.Table.from_pylist(rows))
    tasks = [{"task": "t", "energy_j": 3.0, "turn_energy_j": 2.0, "tool_energy_j": 1.0, "pause_energy_j": 0.0}]
    agent.write_table("tasks", pa.Table.from_pylist(tasks))
    found = dict(figures_of(load_views([agent])))
    assert isinstance(found["energy-turn"], Plot)
    assert [(p.x, p.y) for p in found["energy-turn"].curves[0].points] == [(1, 2.0), (2, 4.0), (3, 6.0)]
    assert "task-energy" in found
    (view,) = load_views([make_run(tmp_path, "talk")])
    joules = {"value": 2.0, "low": 1.0, "high": 3.0, "unit": "J"}
    view.summary["by_turn"] = {turn: {"energy_per_query_j": joules} for turn in ("10", "9", "1")}
    shown = dict(figures_of([view]))["energy-turn"]
    assert isinstance(shown, Plot)
    assert [p.x for p in shown.curves[0].points] == [1, 9, 10]
    assert shown.curves[0].points[0].high == 3.0


def test_runs_without_output_tokens_have_no_figure_against_tokens(tmp_path: Path) -> None:
    none = make_run(tmp_path, columns={"completion_tokens": [0] * 120})
    assert not {"energy-tokens", "latency-tokens"} & {name for name, _ in figures_of(load_views([none]))}


def test_a_legend_is_read_row_by_row(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    runs = [make_run(tmp_path, name, scores=[1.0] * 9, manifest={"model": {"name": name * 12}}) for name in names]
    shown = dict(figures_of(load_views(runs)))["latency"]
    figure = draw(shown)
    figure.set_layout_engine("constrained")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    places = [(text.get_window_extent(), text.get_text()[0]) for text in legend.get_texts()]
    assert [name for _, name in sorted(places, key=lambda each: (-round(each[0].y0), each[0].x0))] == names


def test_lines_of_one_colour_are_told_apart_by_their_markers(tmp_path: Path) -> None:
    times = [[0.1 + 0.01 * (i + k) for k in range(60)] for i in range(8)]
    runs = [make_run(tmp_path, f"r{i}", scores=[1.0] * 60, latency_s=each) for i, each in enumerate(times)]
    figure = draw(dict(figures_of(load_views(runs)))["latency"])
    (legend,) = figure.legends
    drawn, named = (
        [(line.get_color(), line.get_marker()) for line in of.get_lines()] for of in (figure.axes[0], legend)
    )
    assert len(set(drawn)) == 8
    assert set(drawn) == set(named)
