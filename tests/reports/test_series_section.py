"""Sweeps and repetitions: the knee, the order of levels, and intervals that no quantity contradicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.made_runs import make_run

from ipw.metrics.summary import summarize
from ipw.reports.charts.axes import SERIES
from ipw.reports.page.series import interval, series
from ipw.reports.plots.load import Level, Sweep, energy_load, knee_notes, sweeps
from ipw.reports.ranking import groups
from ipw.reports.view import View, load_views
from ipw.runs.directory import RunDir


def swept(*joules: float) -> Sweep:
    levels = [Level(2**k, 100.0 * (k + 1), value, None, None) for k, value in enumerate(joules)]
    return Sweep("model", levels, SERIES[0], estimated=False)


@pytest.mark.parametrize(
    ("joules", "knee"),
    [
        ((10.0, 5.0, 2.6, 2.5, 2.55), 4),
        ((10.0, 9.9), 1),
        ((10.0, 5.0, 2.5), None),
        ((1.0, 2.0, 3.0), 1),
    ],
)
def test_the_knee_is_the_fewest_in_flight_at_which_a_token_is_nearly_as_cheap_as_ever(
    joules: tuple[float, ...], knee: int | None
) -> None:
    sweep = swept(*joules)
    assert sweep.knee == knee
    plot = energy_load([sweep])
    assert plot is not None
    marked = [text for text in plot.curves[0].beside if text.endswith("knee")]
    assert marked == ([] if knee is None else [f"\N{MULTIPLICATION SIGN}{knee} knee"])
    (note,) = knee_notes([sweep])
    assert ("more in flight may still help" in note) == (knee is None)


def runs_of(folder: Path, levels: list[tuple[int, float]], **more: Any) -> list[View]:
    runs: list[RunDir] = []
    for level, power in levels:
        workload = {
            "kind": "lm",
            "parameters": {"dataset": "bundled", "concurrency": level},
            "series": {"id": "one", "levels": [1, 4], "repeat": 2},
        }
        named = {"workload": workload, "model": {"name": "m"}}
        run = make_run(folder, f"run-{len(runs)}", power_w=power, manifest=named, **more)
        run.write_summary(summarize(run))
        runs.append(run)
    return load_views(runs)


def test_estimated_joules_of_a_sweep_and_of_its_knee_are_called_so(tmp_path: Path) -> None:
    views = runs_of(tmp_path, [(1, 20.0), (4, 10.0)], method="model_estimate")
    found = sweeps(views)
    plot = energy_load(found)
    assert plot is not None
    assert plot.y.title.endswith(", estimated")
    assert plot.curves[0].estimated
    assert "as estimated" in next(knee_notes(found))


def test_rows_of_a_sweep_stand_by_level_whatever_order_they_ran_in(tmp_path: Path) -> None:
    views = runs_of(tmp_path, [(4, 10.0), (1, 20.0), (4, 11.0), (1, 21.0)], method="model_estimate")
    (group,) = groups([view.summary for view in views])
    assert [row.position for row in group.rows] == [1, 3, 0, 2]


def test_two_repetitions_show_both_values_and_no_interval_that_two_cannot_give(tmp_path: Path) -> None:
    views = runs_of(tmp_path, [(1, 20.0), (1, 40.0)])
    text = str(series(views, []))
    assert "[10.0, 20.0] (lowest, highest)" in text
    assert "the same in all" in text, "accuracy"
    assert "-" not in text.partition("Energy per query")[2].partition("</td></tr>")[0].replace("data-label", "")


@given(st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=8))
def test_an_interval_of_joules_never_lies_below_zero(values: list[float]) -> None:
    low, high = interval(values)
    assert 0 <= low <= high
