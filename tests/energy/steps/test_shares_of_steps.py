"""The sums behind the division of steps, each against a look at every tick and every span."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.arrays import Floats, sums
from ipw.energy.curve import Z95, Curve
from ipw.energy.steps import by_work
from ipw.energy.steps.by_work import TickDrawn, measured
from ipw.energy.steps.step_costs import Costs, in_ticks
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import COSTS, Work
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


VAR = np.array([1.0, 2.0, 4.0, 8.0])
"""J², of the energy up to each knot of three ticks."""


def done(*rows: tuple[int, int, float], n: int) -> Work:
    """(step, unit, joules of a step's cost) of each entry."""
    step, unit = (np.array([row[k] for row in rows]) for k in (0, 1))
    entry = np.zeros((4, len(rows)))
    entry[0] = [row[2] for row in rows]
    per_step = np.stack([sums(step, each, n) for each in entry])
    ones = np.ones(n)
    return Work(unit, step, entry, np.zeros(len(rows), bool), per_step, ones, ones, 0 * ones, 0 * ones, ones)


def timing(made: Steps, work: Work, *, own: float = 0.0, apart: tuple[float, float, float] = (1, 1, 1)) -> list[float]:
    """Variance of each owner's energy from timing, where a step departs by `own` of its cost squared."""
    where = curve(10, 10, 10)
    costs = Costs(np.array([1.0, 0, 0, 0]), np.zeros((4, 4)), 0.0, 0.0, np.array(apart, float), 0.0)
    per_step, n = work.step[0], made.end_ns.size
    own_j2 = in_ticks(made, own * per_step**2, where.t_ns)[0]
    drawn = TickDrawn(np.ones(3), np.zeros(3), np.full(n, own), VAR, np.full(3, 10.0), own_j2)
    owners = int(work.entry_unit.max()) + 1
    found = by_work._timing_variance(where, made, work, costs, drawn, work.entry[0], per_step, owners)
    return [float(each) for each in found]


def test_an_owner_is_as_vague_as_the_knots_at_which_its_share_changes() -> None:
    each = steps((0, 1), (1, 2), (2, 3))
    one_after_the_other = done((0, 0, 10), (1, 0, 10), (2, 1, 10), n=3)
    assert timing(each, one_after_the_other) == pytest.approx([1 + 4, 4 + 8])
    with_a_pause = done((0, 0, 10), (1, 1, 10), (2, 0, 10), n=3)
    assert timing(each, with_a_pause) == pytest.approx([1 + 2 + 4 + 8, 2 + 4])
    halves = done((0, 0, 5), (0, 1, 5), (1, 0, 10), (2, 0, 5), (2, 1, 5), n=3)
    assert timing(each, halves) == pytest.approx([(1 + 2 + 4 + 8) / 4, (1 + 2 + 4 + 8) / 4])
    turned = done((2, 0, 10), (0, 1, 10), (1, 1, 10), n=3)
    assert timing(each, turned) == pytest.approx([4 + 8, 1 + 4])


def test_of_two_steps_in_a_tick_each_is_as_vague_as_half_of_their_difference() -> None:
    made = steps((0, 0.5), (0.5, 1), (1, 2), (2, 3))
    work = done((0, 0, 4), (1, 1, 4), (2, 2, 9), (3, 2, 9), n=4)
    knots = [(1 + 2) / 4, (1 + 2) / 4, 2 + 8]
    own = 0.01 * 4**2 / 2  # the variance of one, given their sum
    assert timing(made, work, own=0.01) == pytest.approx([knots[0] + own, knots[1] + own, knots[2]])
    assert timing(made, work, own=0.01, apart=(3, 1, 1)) == pytest.approx([knots[0] + 3 * own, knots[1] + 3 * own, 10])
    # those who share one step share its departure, which their tick has told
    shared = done((0, 0, 3), (0, 1, 1), (1, 0, 3), (1, 1, 1), (2, 2, 9), (3, 2, 9), n=4)
    assert timing(made, shared, own=0.01) == pytest.approx([9 / 16 * 3, 1 / 16 * 3, 10])


def test_of_a_step_that_lasts_several_ticks_those_that_it_has_alone_are_told() -> None:
    made = steps((0, 2.5), (2.5, 3))
    work = done((0, 0, 25), (1, 1, 5), n=2)
    # in the third tick the rest of the one and the other depart each on its own, and their sum is known
    own = 0.01 * 25**2 * 0.2, 0.01 * 5**2
    open_j2 = own[0] * own[1] / sum(own)
    knots = 1 + 0 + 4 / 4 + 8 / 4, 4 / 4 + 8 / 4
    assert timing(made, work, own=0.01) == pytest.approx([knots[0] + open_j2, knots[1] + open_j2])


def test_what_costs_leave_open_is_how_an_owner_changes_with_them_while_each_step_keeps_its_joules() -> None:
    rng = np.random.default_rng(1)
    step, unit = np.repeat(np.arange(6), 3), np.tile(np.arange(3), 6)
    entry = rng.uniform(1, 5, (4, 18))
    per_step = np.stack([sums(step, row, 6) for row in entry])
    ones = np.ones(6)
    work = Work(unit, step, entry, np.zeros(18, bool), per_step, ones, ones, 0 * ones, 0 * ones, ones)
    joules, drew = np.array([3.0, 1.0, 0.5, 0.2]), rng.uniform(0.8, 1.2, 6)
    root = rng.uniform(-0.1, 0.1, (4, 4))
    costs = Costs(joules, root @ root.T, 0.0, 0.0, ones, 0.0)
    kept_j = (joules @ per_step) * drew

    def owned(having: Floats) -> Floats:
        return sums(unit, (having @ entry) * (kept_j / (having @ per_step))[step], 3)

    small = 1e-6
    slopes = np.array([(owned(joules + small * one) - owned(joules - small * one)) / (2 * small) for one in np.eye(4)])
    expected = np.einsum("dn,de,en->n", slopes, costs.cov, slopes)
    found = by_work._variance(work, costs, (joules @ entry) * drew[step], joules @ per_step, drew, 3, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_units_of_others_are_as_likely_none_as_twice_as_many() -> None:
    work = done((0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1), n=2)
    # beside two in each step, two others bear half: from none to all of that, uniform
    assert by_work._vague(2.0, work) == pytest.approx(0.5 / np.sqrt(3))
    assert by_work._vague(0.0, work) == 0


def test_knots_closer_together_than_steps_end_are_left_out_but_for_gaps_edges_and_the_last() -> None:
    made = curve(*range(1, 13), gaps=((5, 7),))
    coarse = by_work._coarse(made, steps((0, 4), (4, 8), (8, 12)), (round(1.5 * SECOND), 10 * SECOND))
    assert (coarse.t_ns / SECOND).tolist() == [0, 1, 2, 4, 5, 7, 8, 9, 10, 12]
    np.testing.assert_array_equal(coarse.energy_j, made.energy_j[np.isin(made.t_ns, coarse.t_ns)])
    assert coarse.t_err_ns.size == coarse.t_ns.size
    beyond = by_work._coarse(made, steps((0, 4), (4, 8)), (-2 * SECOND, 40 * SECOND))
    assert (beyond.t_ns / SECOND).tolist() == [0, 4, 5, 7, 8, 12]
    assert by_work._coarse(made, steps((0, 1), (1, 2)), (0, 12 * SECOND)) is made
    every_other = by_work._coarse(curve(*range(1, 13)), steps((0, 1.1), (2, 3.1)), (0, 12 * SECOND))
    assert (every_other.t_ns / SECOND).tolist() == [0, 2, 4, 6, 8, 10, 11, 12]


def test_costs_are_told_with_intervals_that_never_begin_below_nothing() -> None:
    cov = np.diag([0.01, 4.0, 0.0, 0.0])
    told = by_work._told(Costs(np.array([2.0, 1.0, 3.0, 0.0]), cov, 0.0, 0.0, np.ones(1), 0.0))
    assert told.keys() == {"step", "token"}  # the others were not looked for
    assert told["step"] == pytest.approx((2, 2 - 0.1 * Z95, 2 + 0.1 * Z95))
    assert told["token"] == pytest.approx((1, 0, 1 + 2 * Z95))


def test_context_is_the_last_of_the_costs() -> None:
    assert COSTS == ("step", "token", "prompt token", "context token")


def test_of_the_knots_that_a_step_has_for_itself_the_first_and_the_last_are_kept() -> None:
    made = curve(*range(1, 13))
    long = steps((0, 0.5), (0.5, 8.5), (8.5, 9), (9, 9.5), (9.5, 10), (10, 12))
    coarse = by_work._coarse(made, long, (0, 12 * SECOND))
    assert (coarse.t_ns / SECOND).tolist() == [0, 1, 8, 9, 10, 11, 12]
    beside = steps((0, 0.5), (0.5, 8.5), (8.5, 9), (9, 9.5), (9.5, 10), (10, 12), (4.2, 4.9))  # another engine's
    assert (by_work._coarse(made, beside, (0, 12 * SECOND)).t_ns / SECOND).tolist() == [0, 1, 4, 5, 8, 9, 10, 11, 12]
