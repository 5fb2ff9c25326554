"""The sums behind the division of steps, each against a look at every tick and every span."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.curve import Z95, Curve
from ipw.energy.steps import by_work
from ipw.energy.steps.by_work import measured
from ipw.energy.steps.step_costs import in_ticks
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import COSTS
from ipw.energy.timeline import Spans

SECOND = 1_000_000_000


def curve(*joules: float, gaps: tuple[tuple[int, int], ...] = (), lost: bool = True) -> Curve:
    """A knot each second, with so many joules from each to the next."""
    t = np.arange(len(joules) + 1) * SECOND
    energy = np.concatenate([[0.0], np.cumsum(joules)])
    found = np.array(gaps, np.int64).reshape(-1, 2) * SECOND
    return Curve(t, energy, np.full(t.size, 1e6), 0.001, found, ("gap",) * len(found), np.full(len(found), lost))


def steps(*rows: tuple[float, float]) -> Steps:
    """(start s, end s)."""
    table = (np.array(rows).reshape(-1, 2) * 1e9).astype(np.int64)
    small, none = np.zeros(len(table), np.int32), np.zeros(len(table), np.int64)
    return Steps(table[:, 0], table[:, 1], small, small, np.zeros(len(table)), none, none)


def spans(*rows: tuple[float, float, int]) -> Spans:
    """(start s, end s, owner)."""
    table = np.array(rows)
    start, end = ((table[:, k] * 1e9).astype(np.int64) for k in (0, 1))
    zeros = np.zeros(len(table), np.int64)
    return Spans(start, end, zeros, ("a",), table[:, 2].astype(np.int64), np.ones(len(table)))


def test_what_a_window_counted_is_the_ticks_in_it_and_parts_of_those_at_its_edges() -> None:
    made = curve(10, 20, 40, 80, gaps=((1, 3),), lost=False)
    assert measured(made, (0, 4 * SECOND)) == (150, 60)
    assert measured(made, (SECOND // 2, 3 * SECOND // 2)) == (15, 10)
    assert measured(made, (5 * SECOND // 2, 10 * SECOND)) == (100, 20)
    assert measured(curve(10, 20), (0, 2 * SECOND)) == (30, 0)


def test_of_ticks_in_a_gap_all_are_and_none_beside_it() -> None:
    assert by_work._in_gaps(curve(1, 1, 1, 1, 1, gaps=((1, 3), (4, 5)))).tolist() == [False, True, True, False, True]


def test_a_step_has_the_mean_over_its_time_of_what_its_ticks_have() -> None:
    made = curve(1, 1, 1, 1)
    found = by_work._mean_over_steps(
        made, steps((0, 1), (0.5, 1.5), (1.5, 3.5), (3.5, 4)), np.array([2.0, 4.0, 8.0, 16.0]), (0, 4 * SECOND)
    )
    assert found.tolist() == pytest.approx([2, 3, (2 + 8 + 8) / 2, 16])
    cut = by_work._mean_over_steps(
        made, steps((0, 1), (0.5, 1.5), (3, 4)), np.array([2.0, 4.0, 8.0, 16.0]), (SECOND, 3 * SECOND)
    )
    assert cut.tolist() == pytest.approx([0, 2, 0])  # outside the window there is nothing


def test_the_floor_is_shared_equally_by_the_spans_in_flight_and_the_rest_is_idle() -> None:
    made = curve(0, 0, 0, 0)
    floor = np.array([10.0, 10.0, 20.0, 40.0])
    whole, shares = by_work._floor_shares(made, spans((0.5, 2, 0), (1, 2.5, 1), (3.5, 9, 2)), floor, (0, 4 * SECOND))
    assert whole == 80
    assert shares.tolist() == pytest.approx([5 + 5, 5 + 10, 20])
    part, inside = by_work._floor_shares(made, spans((0.5, 2, 0), (3, 4, 1)), floor, (SECOND, 3 * SECOND))
    assert part == 30
    assert inside.tolist() == pytest.approx([10, 0])


def test_the_first_span_of_an_owner_is_the_one_that_starts_first() -> None:
    found = by_work._first_of_owner(spans((3, 4, 0), (1, 2, 0), (2, 3, 1), (5, 6, 1), (0, 1, 2)))
    assert found.tolist() == [False, True, True, False, True]


def test_an_interval_never_ends_below_nothing_unless_the_value_does() -> None:
    share = by_work._share(np.array([10.0, 1.0, -2.0]), np.array([5.0, 1.0, -2.0]), np.array([4.0, 4.0, 0.25]))
    assert share.low_j.tolist() == pytest.approx([10 - 2 * Z95, 0, -2])
    assert share.high_j.tolist() == pytest.approx([10 + 2 * Z95, 1 + 2 * Z95, -2 + Z95 / 2])
    assert share.net_energy_j is not None
    assert share.net_energy_j.tolist() == [5, 1, -2]


def test_what_steps_have_is_spread_evenly_over_their_time_and_summed_by_tick() -> None:
    found = in_ticks(steps((0.5, 1.5), (1.5, 3.5)), np.array([[10.0, 20.0], [1.0, 0.0]]), np.arange(5) * SECOND)
    assert found[0].tolist() == pytest.approx([5, 5 + 5, 10, 5])
    assert found[1].tolist() == pytest.approx([0.5, 0.5, 0, 0])


def test_context_is_the_last_of_the_costs() -> None:
    assert COSTS == ("step", "token", "prompt token", "context token")
