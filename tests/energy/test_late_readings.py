"""Readings that come late, and power that is a little other than the model for long: one query at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from energy.simulator import Sampler, one_at_a_time

from ipw.energy.arrays import Floats
from ipw.energy.attribution import attribute
from ipw.energy.model import FEWEST_ROWS, LEAST_ROW, _lagging, _lasting, _of_readings
from ipw.energy.segments import Segments

MS = 1_000_000


# --- readings that come late -----------------------------------------------------------------------------------------


def bias(late_ms: float) -> float:
    """Of all joules of a run, with small gaps, whose readings each show what was counted so long after they say."""
    rng = np.random.default_rng(1)
    world = one_at_a_time(rng, 60)
    curve = Sampler().curve(world, rng)
    late = replace(curve, t_ns=curve.t_ns - int(late_ms * MS))
    found = attribute(late, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns).owners.net_energy_j
    assert found is not None
    return float(found.sum() / world.net_j.sum() - 1)


@pytest.mark.parametrize("late_ms", [-3.0, 0.0, 1.5])
def test_readings_that_come_late_or_early_shift_no_energy_from_the_spans(late_ms: float) -> None:
    assert abs(bias(late_ms)) < 0.0001  # of 1.5 ms taken for late edges, it is 0.003


def test_a_lag_counts_in_the_segment_behind_an_edge_or_before_it_or_in_part_in_both() -> None:
    early: Floats = np.array([[0.0, 0, 300, 0], [0, 0, 0, -200]])
    before = [[0, 300, 0, 0], [0, 0, -200, 0]]
    assert _lagging(early, np.zeros((2, 1))).tolist() == early.tolist()
    assert _lagging(early, np.ones((2, 1))).tolist() == before
    assert _lagging(early, np.array([[0.25], [1.0]])).tolist() == [[0, 75, 225, 0], [0, 0, -200, 0]]
    assert _lagging(early, np.array([[0, 0, 0, 1.0]] * 2)).tolist() == [[0, 0, 300, 0], [0, 0, -200, 0]]


@pytest.mark.parametrize(
    ("lag_ms", "alike_ms"),
    [((2, 4, 1), 1), ((1, 9, 2), 1), ((-3, 9, -2), -2), ((2, 9, -1), 0), ((-2, -9, 1), 0), ((0, 1, 3), 0)],
)
def test_what_lags_of_beginnings_and_ends_have_alike_is_of_the_readings(
    lag_ms: tuple[float, ...], alike_ms: float
) -> None:
    number = np.array([0, 1, 1, 0, 1, 1, 0], float)  # the second phase begins as the first one ends
    seg = replace(ticks(3), present=np.stack([number, 1 - number]), kind=np.array([2, 0, 1, 2, 0, 1, 2]))
    rises = np.diff(seg.number, prepend=0) > 0
    assert _of_readings(np.array(lag_ms) / 1e3, seg, rises) == pytest.approx(alike_ms / 1e3)


def test_where_nothing_begins_ends_alone_say_nothing_of_the_readings() -> None:
    number = np.array([2, 2, 1, 1, 0, 0, 0], float)
    seg = replace(ticks(3), present=np.stack([number, number == 0]).astype(np.float64), kind=np.full(7, 1))
    rises = np.diff(seg.number, prepend=number[0]) > 0
    assert _of_readings(np.array([0.0, 0.01]), seg, rises) == 0


# --- power that departs for long -------------------------------------------------------------------------------------


def ticks(spans: int) -> Segments:
    """So many spans with gaps between them."""
    n = 2 * spans + 1
    busy = (np.arange(n) % 2).astype(np.float64)
    none = np.zeros((1, n))
    return Segments(
        0, np.arange(n + 1), np.ones(n), np.stack([busy, 1 - busy]), np.zeros((2, n)), none, none,
        np.zeros(n, np.int64), np.arange(n + 1), np.zeros(n, bool), np.ones(n), np.ones(n, bool),
    )  # fmt: skip


def white(n: int) -> Floats:
    return np.random.default_rng(2).standard_normal(n)


def test_surprises_that_are_each_on_its_own_add_up_as_the_model_has_it() -> None:
    assert _lasting(white(4000), ticks(400)) == pytest.approx(1, abs=0.15)
    assert _lasting(white(4000) / 10, ticks(400)) == 1  # never less, however small they are


@pytest.mark.parametrize("long", [2, 5, 10])
def test_surprises_that_last_over_several_ticks_add_up_over_a_span_by_as_many(long: int) -> None:
    alike: Floats = np.repeat(white(4000 // long), long)
    assert _lasting(alike, ticks(400)) == pytest.approx(long, rel=0.25)  # of ten ticks each


def test_what_lasts_longer_than_a_span_adds_up_over_up_to_four() -> None:
    alike: Floats = np.repeat(white(100), 40)
    assert _lasting(alike, ticks(400)) == pytest.approx(40, rel=0.35)


def test_short_spans_are_looked_at_in_rows_of_five_ticks_and_fewer_than_ten_rows_tell_nothing() -> None:
    few = FEWEST_ROWS * LEAST_ROW
    assert _lasting(np.full(few, 1.0), ticks(few)) == pytest.approx(LEAST_ROW)
    assert _lasting(np.full(few - 1, 1.0), ticks(few)) == 1
    assert _lasting(np.zeros(0), ticks(1)) == 1
