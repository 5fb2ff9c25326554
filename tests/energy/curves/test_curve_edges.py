"""Curves at their edges: what stands where nothing is said, what is lost, and what a window's ends cut."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.curve import (
    Curve,
    add_curves,
    counter_curve,
    coverage,
    energy_at,
    energy_between,
    knot_variance,
    lost_j,
    power_curve,
)

SECOND = 1_000_000_000


def curve(*joules: float, gaps: tuple[tuple[int, int], ...] = (), lost: bool = True, most_w: float = np.inf) -> Curve:
    """A knot each second."""
    t = np.arange(len(joules) + 1) * SECOND
    energy = np.concatenate([[0.0], np.cumsum(joules)])
    found = np.array(gaps, np.int64).reshape(-1, 2) * SECOND
    known = np.full(len(found), lost)
    return Curve(t, energy, np.zeros(t.size), 0.0, found, ("unread",) * len(found), known, most_w)


def test_a_curve_of_which_nothing_else_is_said_has_no_gaps_no_quantum_no_limit_and_no_gain() -> None:
    bare = Curve(np.arange(3), np.arange(3.0), np.zeros(3))
    assert (bare.gaps_ns.shape, bare.gap_lost.size, bare.lost_ns.shape) == ((0, 2), 0, (0, 2))
    assert (bare.quantum_j, bare.gain_rel, bare.most_w, bare.gap_reasons) == (0.0, 0.0, np.inf, ())
    gone = Curve(np.arange(3), np.arange(3.0), np.zeros(3), gaps_ns=np.array([[0, 1]]), gap_reasons=("x",))
    assert gone.gap_lost.tolist() == [True]


def test_a_knots_variance_is_its_timing_at_the_power_around_it_and_the_quantum() -> None:
    t = np.arange(4) * SECOND
    made = Curve(t, np.array([0.0, 10, 40, 60]), np.array([1.0, 2, 3, 4]) * 1e7, 0.6)
    around = np.array([10, 20, 25, 20]) * np.array([1, 2, 3, 4]) * 0.01
    np.testing.assert_allclose(knot_variance(made), around**2 / 3 + 0.36 / 12)
    assert knot_variance(Curve(t[:1], np.zeros(1), np.zeros(1), 0.6)).tolist() == [0]


def test_what_was_lost_is_as_much_as_ever_was_drawn_elsewhere_or_the_device_allows() -> None:
    made = curve(10, 0, 40, 20, gaps=((1, 2),))
    assert lost_j(made, 0, 4 * SECOND) == pytest.approx(40)
    assert lost_j(made, SECOND, 3 * SECOND // 2) == pytest.approx(20)
    assert lost_j(made, 2 * SECOND, 4 * SECOND) == 0
    assert lost_j(made, 3 * SECOND, 6 * SECOND) == pytest.approx(80)  # behind the last knot too
    assert lost_j(curve(10, 0, 40, 20, gaps=((1, 2),), most_w=15.0), 0, 4 * SECOND) == pytest.approx(15)
    assert lost_j(made, SECOND, SECOND) == 0
    assert lost_j(Curve(np.zeros(0, np.int64), np.zeros(0), np.zeros(0)), 0, SECOND) == 0


def test_coverage_is_what_lies_between_knots_less_what_was_lost_and_not_less_what_is_only_blurred() -> None:
    lost, blurred = (curve(1, 1, 1, 1, gaps=((1, 3),), lost=known) for known in (True, False))
    assert coverage(lost, 0, 4 * SECOND) == (0.5, 1.0)
    assert coverage(blurred, 0, 4 * SECOND) == (1.0, 1.0)
    assert coverage(lost, 2 * SECOND, 6 * SECOND) == (0.25, 2.0)
    assert coverage(lost, -2 * SECOND, SECOND // 2) == (0.2, 2.0)
    assert coverage(curve(1, 1), 5 * SECOND, 9 * SECOND) == (0.0, 4.0)
    with pytest.raises(ValueError, match="a window must end after it starts"):
        coverage(lost, SECOND, SECOND)


def test_energy_is_flat_before_the_first_knot_and_behind_the_last() -> None:
    made = curve(10, 30)
    assert energy_at(made, np.array([-5, 0, 0.5, 1.5, 2, 9]) * SECOND).tolist() == [0, 0, 5, 25, 40, 40]
    assert energy_at(Curve(np.zeros(0, np.int64), np.zeros(0), np.zeros(0)), [1, 2]).tolist() == [0, 0]


def test_joules_across_an_outage_may_lie_anywhere_in_it_as_far_as_the_device_allows() -> None:
    made = curve(10, 60, 10, gaps=((1, 2),), lost=False, most_w=100.0)
    energy, low, high = energy_between(made, int(1.25e9), int(1.75e9))
    assert energy[0] == pytest.approx(30)
    # half a second holds 50 J at most, and at least what does not fit into the other half
    assert (low[0], high[0]) == pytest.approx((60 - 50, 50))
    energy, low, high = energy_between(made, 0, int(1.5e9))
    assert (energy[0], low[0], high[0]) == pytest.approx((40, 10 + 10, 10 + 50))


def test_nothing_is_placed_outside_what_the_knots_on_both_sides_allow() -> None:
    made = curve(10, 10, 10)
    energy, low, high = energy_between(made, int(0.9e9), int(2.1e9))
    assert energy[0] == pytest.approx(12)
    assert low[0] >= 10  # the tick in the middle is in it whole
    assert high[0] <= 30


# --- sums ------------------------------------------------------------------------------------------------------------


def test_the_sum_of_two_curves_has_all_their_knots_gaps_limits_and_their_gain_by_energy() -> None:
    one = Curve(
        np.array([0, 2, 4]) * SECOND, np.array([0.0, 20, 40]), np.array([1.0, 2, 3]), 0.5,
        np.array([[2, 4]]) * SECOND, ("lost",), np.array([False]), 150.0, 0.1,
    )  # fmt: skip
    two = Curve(np.array([1, 4]) * SECOND, np.array([0.0, 120]), np.array([7.0, 1]), 0.25, most_w=300.0, gain_rel=0.02)
    total = add_curves([one, two, Curve(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))])
    assert (total.t_ns / SECOND).tolist() == [0, 1, 2, 4]
    assert total.energy_j.tolist() == [0, 10, 60, 160]
    assert total.t_err_ns.tolist() == [1, 7, 2, 3]
    assert (total.quantum_j, total.most_w) == (0.75, 450.0)
    assert total.gain_rel == pytest.approx((0.1 * 40 + 0.02 * 120) / 160)
    assert (total.gaps_ns / SECOND).tolist() == [[0, 1], [2, 4]]
    assert (total.gap_reasons, total.gap_lost.tolist()) == (("unread", "lost"), [True, False])
    assert add_curves([one]) is one
    none = [Curve(np.array([0, 1]), np.zeros(2), np.zeros(2), gain_rel=gain) for gain in (0.1, 0.3)]
    assert add_curves(none).gain_rel == 0.3


# --- power -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pause_s", "known"), [(5.0, True), (5.1, False)])
def test_readings_that_are_further_apart_than_five_times_the_usual_leave_a_gap(pause_s: float, *, known: bool) -> None:
    t = np.concatenate([np.arange(10), 9 + pause_s + np.arange(10)])
    made = power_curve((t * SECOND).astype(np.int64), np.full(20, 10.0), np.zeros(20), np.zeros(20))
    assert made.gap_reasons == (() if known else ("unread",))
    assert made.energy_j[-1] == pytest.approx(180 + (10 * pause_s if known else 0))


def test_watts_below_nothing_are_nothing() -> None:
    made = power_curve(np.arange(4) * SECOND, [5.0, -0.2, -0.2, 5.0], np.zeros(4), np.zeros(4))
    assert made.energy_j.tolist() == pytest.approx([0, 2.4, 2.4, 4.8])


def test_a_limit_is_told_with_a_margin_and_a_gain_as_it_is() -> None:
    made = power_curve(np.arange(3) * SECOND, np.full(3, 5.0), np.zeros(3), np.zeros(3), max_power_w=100.0)
    assert (made.most_w, made.gain_rel) == (150.0, 0.05)
    counted = counter_curve(np.arange(3) * SECOND, [0.0, 5, 10], np.zeros(3), np.zeros(3), ticks=False)
    assert (counted.most_w, counted.gain_rel, counted.quantum_j) == (np.inf, 0.05, 0.0)


def test_values_beyond_a_stated_range_refute_it() -> None:
    t, many = np.arange(6) * SECOND, np.arange(12) * SECOND
    value = [500.0 + 60 * k for k in range(10)] + [10, 70]
    made = counter_curve(many, value, np.zeros(12), np.zeros(12), ticks=False, range_j=100.0)
    assert made.gap_reasons == ("reset",)
    assert made.energy_j[-1] == 600
    wrapped = counter_curve(t, [0.0, 60, 20, 80, 40, 0], np.zeros(6), np.zeros(6), ticks=False, range_j=100.0)
    assert wrapped.energy_j.tolist() == [0, 60, 120, 180, 240, 300]
