"""The chart of costs: requests by how many were in flight, and what the steps of their engine give for them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.made_runs import make_run

from ipw.energy.steps.by_work import RULE
from ipw.reports.charged import Charged, charged, mean_in_flight
from ipw.reports.charts.svg import plot_svg
from ipw.reports.facts import NO_FACTS
from ipw.reports.page.page import page
from ipw.reports.plots.in_flight import by_costs, by_in_flight, grouped
from ipw.reports.view import load_views
from ipw.runs.directory import RunDir


def cost(value: float) -> dict[str, float]:
    return {"value": value, "low": 0.9 * value, "high": 1.1 * value}


COSTS = {"step": cost(2.0), "token": cost(0.04), "prompt token": cost(0.05)}
ENGINE = {"kind": "steps", "sure": 0.9, "why": "<99%> of the chunks came in bursts", "steps": 5, "step_ms": [1, 2, 3]}


def by_steps(folder: Path, **changes: Any) -> RunDir:
    """A run whose joules were divided by steps; two of its queries have no net joules."""
    run = make_run(folder, "run", columns={"net_energy_j": [None, None] + [2.0] * 118})
    attribution = run.manifest()["attribution"] | {"rule": RULE, "costs": COSTS, "engine": ENGINE} | changes
    run.update_manifest(attribution=attribution)
    return run


def test_a_run_that_was_divided_by_steps_shows_its_requests_and_costs(tmp_path: Path) -> None:
    run = by_steps(tmp_path)
    found = charged(run, run.manifest())
    assert found is not None
    assert found.net_j.tolist() == [2.0] * 118
    assert (found.prompt, found.step_j, found.token_j, found.prompt_token_j) == (10, 2.0, 0.04, 0.05)
    assert found.in_flight == pytest.approx(1)
    shown = page(load_views([run]), NO_FACTS)
    assert "Joules of requests in flight together" in shown
    assert "2.00 J" in shown
    assert "&lt;99%&gt; of the chunks came in bursts" in shown


@pytest.mark.parametrize(
    "changes",
    [{"rule": "by level"}, {"costs": None}, {"costs": {"step": {"value": None}}}, {"costs": {"token": cost(1)}}],
)
def test_a_run_that_was_not_has_no_such_chart(tmp_path: Path, changes: dict[str, Any]) -> None:
    run = by_steps(tmp_path, **changes)
    assert charged(run, run.manifest()) is None
    assert "Joules of requests in flight together" not in page(load_views([run]), NO_FACTS)


def test_a_line_is_what_the_costs_give() -> None:
    found = Charged(
        np.array([1.0]), np.array([1.0]), np.array([4.0]), 100, step_j=2.0, token_j=0.04, prompt_token_j=0.05
    )
    assert by_costs(found, 10, 4) == pytest.approx(100 * 0.05 + 10 * (0.04 + 2.0 / 4))
    assert by_costs(found, 10, 0.2) == by_costs(found, 10, 1)  # never more than a whole step


def test_the_mean_number_in_flight_counts_each_moment() -> None:
    start, end = np.array([0.0, 1.0, 5.0, 9.0]), np.array([2.0, 2.0, 6.0, 9.0])
    assert mean_in_flight(start, end) == pytest.approx([1.5, 2.0, 1.0, 1.0])


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=60))
def test_groups_part_all_requests_and_differ(values: list[float]) -> None:
    in_flight = np.array(values)
    groups = grouped(in_flight)
    assert np.sum(groups, axis=0).tolist() == [1] * len(values)
    middles = [float(np.median(in_flight[group])) for group in groups]
    assert middles == sorted(middles)


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.floats(1e-9, 1e6), st.floats(1, 4096)), min_size=3, max_size=30),
    st.booleans(),
)
def test_the_chart_is_well_formed_and_within_its_frame(points: list[tuple[int, float, float]], estimated: bool) -> None:
    tokens, net_j, in_flight = (np.array(column, np.float64) for column in zip(*points, strict=True))
    found = Charged(tokens, net_j, in_flight, 100.0, 2.0, 0.04, 0.05)
    root = ET.fromstring(plot_svg(by_in_flight(found, estimated=estimated), "k"))
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    for element in root.iter():
        for name, limit in (("x", width), ("x1", width), ("cx", width), ("y", height), ("y1", height)):
            assert 0 <= float(element.get(name) or 0) <= limit
    assert ("estimated" in ET.tostring(root, "unicode")) == estimated
