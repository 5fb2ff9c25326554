"""An outage blurs when a counter's joules were drawn, not how many; only a power loses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from doubles.recorded import Floats, Told, channel, counting, recorded, summary_of, told_against
from hypothesis import given
from hypothesis import strategies as st

from ipw.energy.curve import counter_curve, coverage, energy_between, power_curve

EVERY_100_MS = np.arange(0, 30, 0.1)
SECOND, MS = 1_000_000_000, 1_000_000


def steady(watts: float) -> Any:
    return lambda t: np.full(np.shape(t), watts)


def stepped(t: Floats) -> Floats:
    """20 W idle, 100 W from 5 to 25 s, and 600 W for half a second at 12 s."""
    return np.where((t >= 5) & (t < 25), np.where((t >= 12) & (t < 12.5), 600.0, 100.0), 20.0)


def a_counter(watts: Any = stepped, name: str = "test/one", **facts: Any) -> Told:
    return Told(channel(name, **facts), EVERY_100_MS, counting(watts, EVERY_100_MS))


def a_power(watts: Any = stepped, name: str = "test/one") -> Told:
    t = np.arange(0, 30, 0.02)
    return Told(channel(name, "power", method="integrated_power"), t, watts(t))


def metrics(folder: Path, *told: Told, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = summary_of(recorded(folder, told, **given))
    return found


STRETCHES = [[(11.0, 14.0)], [(6.0, 9.0), (15.0, 15.5), (20.0, 24.0)], [(5.2, 24.8)]]


@pytest.mark.parametrize("stretches", STRETCHES)
def test_a_counter_that_was_not_read_for_a_while_tells_all_joules_of_the_window(
    tmp_path: Path, stretches: list[tuple[float, float]]
) -> None:
    summary = metrics(tmp_path, a_counter().failing(*stretches))
    energy, power = summary["metrics"]["energy_j"], summary["metrics"]["mean_power_w"]
    assert energy["value"] == pytest.approx(2250.0, rel=1e-3)
    assert power["value"] == pytest.approx(112.5, rel=1e-3)
    assert energy["low"] <= 2250.0 <= energy["high"]
    assert "outages" in told_against(summary)
    assert "coverage" not in told_against(summary)


@pytest.mark.parametrize("stretch", [(3.0, 7.0), (4.0, 26.0), (22.0, 27.0), (24.0, 29.5), (1.0, 29.0)])
def test_an_outage_over_an_edge_of_the_window_widens_its_interval(tmp_path: Path, stretch: tuple[float, float]) -> None:
    summary = metrics(tmp_path, a_counter().failing(stretch))
    energy = summary["metrics"]["energy_j"]
    low, high = energy["low"] if energy["low"] is not None else 0.0, energy["high"]
    assert low <= 2250.0 <= high
    assert high - low > 50.0


def test_the_mean_power_of_a_steady_device_is_its_power_whatever_was_not_read(tmp_path: Path) -> None:
    for k, kind in enumerate((a_counter, a_power)):
        for j, stretches in enumerate([*STRETCHES, [(3.0, 7.0)], [(23.0, 28.0)], [(4.0, 6.0), (24.0, 26.0)]]):
            summary = metrics(tmp_path / f"{k}{j}", kind(steady(100.0)).failing(*stretches))
            assert summary["metrics"]["mean_power_w"]["value"] == pytest.approx(100.0, rel=2e-3)


def test_channels_have_outages_of_their_own(tmp_path: Path) -> None:
    one = a_counter(steady(100.0), "test/one", device="1").failing((6.0, 9.0))
    two = a_counter(steady(200.0), "test/two", device="2").failing((8.0, 15.0), (20.0, 22.0))
    summary = metrics(tmp_path, one, two)
    assert summary["metrics"]["energy_j"]["value"] == pytest.approx(6000.0, rel=1e-3)
    assert summary["metrics"]["mean_power_w"]["value"] == pytest.approx(300.0, rel=1e-3)
    assert summary["valid"]


def test_a_power_loses_the_joules_of_the_time_in_which_nobody_read_it(tmp_path: Path) -> None:
    summary = metrics(tmp_path, a_power(steady(100.0)).failing((10.0, 13.0)))
    energy = summary["metrics"]["energy_j"]
    assert energy["value"] is None
    assert energy["low"] == pytest.approx(1700.0, rel=0.01)
    assert summary["metrics"]["mean_power_w"]["value"] == pytest.approx(100.0, rel=1e-3)
    assert not summary["valid"]


def test_what_little_a_power_lost_is_in_the_interval(tmp_path: Path) -> None:
    t = np.arange(0, 210, 0.02)
    told = Told(channel("test/one", "power"), t, np.full(t.size, 100.0)).failing((50.0, 51.0))
    summary = summary_of(recorded(tmp_path, [told], window_s=(5.0, 205.0)))
    energy = summary["metrics"]["energy_j"]
    assert energy["low"] <= 20_000.0 <= energy["high"]
    assert energy["high"] < 20_300.0
    assert summary["metrics"]["mean_power_w"]["value"] == pytest.approx(100.0, rel=1e-3)
    assert summary["valid"]


def test_what_was_drawn_after_the_last_reading_is_in_the_interval(tmp_path: Path) -> None:
    t = np.arange(0, 204, 0.02)
    told = Told(channel("test/one", "power"), t, np.full(t.size, 100.0))
    energy = summary_of(recorded(tmp_path, [told], window_s=(5.0, 205.0)))["metrics"]["energy_j"]
    assert energy["low"] <= 20_000.0 <= energy["high"]
    assert energy["high"] < 20_300.0


def test_a_counter_that_started_anew_while_nobody_read_it_lost_the_joules_of_that_time(tmp_path: Path) -> None:
    told = a_counter(steady(100.0)).failing((10.0, 13.0))
    late = told.t_s >= 13.0
    told.value[late] -= told.value[late][0]
    summary = metrics(tmp_path, told)
    assert summary["metrics"]["energy_j"]["value"] is None
    assert summary["metrics"]["mean_power_w"]["value"] == pytest.approx(100.0, rel=1e-3)
    assert "reset" in told_against(summary)["losses"]
    assert not summary["valid"]


def test_a_span_within_an_outage_has_an_interval_that_holds_it_and_one_around_it_is_known(tmp_path: Path) -> None:
    spans = [("inside", 12.0, 12.5), ("into", 10.0, 12.2), ("around", 8.0, 16.0), ("before", 6.0, 9.0)]
    run = recorded(tmp_path, [a_counter().failing((11.0, 14.0))], spans=spans)
    summary_of(run)
    table = run.read_table("spans")
    assert isinstance(table, pa.Table)
    found = {row["name"]: row for row in table.to_pylist()}
    for name, truth in {"inside": 300.0, "into": 320.0, "around": 1050.0, "before": 300.0}.items():
        row = found[name]
        assert row["energy_low_j"] - 0.5 <= truth <= row["energy_high_j"] + 0.5
    assert found["around"]["energy_j"] == pytest.approx(1050.0, rel=1e-3)
    assert found["inside"]["energy_high_j"] - found["inside"]["energy_low_j"] > 250.0


def test_what_cannot_be_placed_is_unattributed_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    run = recorded(tmp_path, [a_counter().failing((11.0, 14.0))])
    summary_of(run)
    facts = run.manifest()["attribution"]
    assert facts["unattributed_j"] == pytest.approx(560.0, rel=0.03)
    parts = facts["attributed_j"] + facts["idle_j"] + facts["unattributed_j"]
    assert parts == pytest.approx(facts["measured_j"], rel=1e-12)
    assert facts["coverage"] == 1.0


READS = st.lists(st.floats(0, 1000), min_size=40, max_size=60)
MOVING = st.lists(st.floats(1, 1000), min_size=40, max_size=60)
"""Watts by which a counter moves between any two reads. One that stands still has a knot where it moves again, at some
moment between two reads, and that moment is less sure where one of both is missing."""


@given(MOVING, st.sets(st.integers(8, 30), max_size=20))
def test_no_reading_in_the_middle_of_a_window_changes_its_joules(watts: list[float], unread: set[int]) -> None:
    t = np.arange(len(watts)) * 100 * MS
    joules = np.concatenate([[0.0], np.cumsum(watts)[:-1] * 0.1])
    status = np.zeros(t.size, np.int64)
    whole = counter_curve(t, joules, status, status, ticks=False, max_power_w=700.0)
    status[list(unread)] = 4
    part = counter_curve(t, joules, status, np.zeros(t.size), ticks=False, max_power_w=700.0)
    edges = 350 * MS, 3450 * MS
    (truth,), (told,) = energy_between(whole, *edges)[0], energy_between(part, *edges)[0]
    assert told == pytest.approx(truth, rel=1e-9, abs=1e-9)
    assert coverage(part, *edges)[0] == coverage(whole, *edges)[0]


@given(READS, st.integers(2, 20), st.integers(12, 25), st.floats(0, 3.9), st.floats(0, 3.9))
def test_any_window_of_a_counter_with_an_outage_holds_the_truth(
    watts: list[float], first: int, many: int, a: float, b: float
) -> None:
    """Power changes at reads only, so that between two reads that succeeded the truth is a straight line."""
    t = np.arange(len(watts)) * 100 * MS
    joules = np.concatenate([[0.0], np.cumsum(watts)[:-1] * 0.1])
    status = np.zeros(t.size, np.int64)
    status[first : min(first + many, t.size - 2)] = 4
    curve = counter_curve(t, joules, status, np.zeros(t.size), ticks=False, max_power_w=700.0)
    start, end = (round(x * SECOND) for x in sorted((a, b)))
    truth = float(np.interp(end, t, joules) - np.interp(start, t, joules))
    energy, low, high = (float(x[0]) for x in energy_between(curve, start, end))
    assert low - 1e-6 <= truth <= high + 1e-6
    assert low <= energy <= high <= 1050.0 * (end - start + 200 * MS) / 1e9 + 1e-6


@given(st.lists(st.floats(0.1, 1000), min_size=30, max_size=60), st.sets(st.integers(0, 59), max_size=30))
def test_a_power_that_was_not_read_never_gains_joules(watts: list[float], unread: set[int]) -> None:
    t = np.arange(len(watts)) * 100 * MS
    status = np.zeros(t.size, np.int64)
    status[[k for k in unread if k < t.size]] = 4
    curve = power_curve(t, watts, status, np.zeros(t.size), max_power_w=700.0)
    if curve.t_ns.size:
        assert curve.energy_j[-1] <= max(watts) * (t[-1] - t[0]) / 1e9 + 1e-6
