"""Parts of the power model by hand: what spans hold of a departure, what a span of a kind draws, what cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipw.energy import levels, model
from ipw.energy.curve import STRAY, Curve, energy_at, knot_variance
from ipw.energy.departures import ORDERLY, ROUGH, Scene
from ipw.energy.levels import Design
from ipw.energy.segments import Segments, segments
from ipw.energy.timeline import Spans, timeline

SECOND = 1_000_000_000


def scene(present: list[list[float]], leaving: list[list[float]], unit_w: list[float]) -> Scene:
    """Two seconds a segment; a kind a row, of which the last is rest."""
    size = len(present[0])
    ones = np.ones(size)
    return Scene(
        2 * ones,
        np.array(present),
        np.array(leaving),
        3 * ones,
        5 * ones,
        7 * ones,
        np.ones(size + 1),
        np.array(unit_w),
    )


def test_what_goes_on_keeps_its_departure_and_what_is_new_brings_its_own() -> None:
    made = scene([[2.0, 2, 3, 0], [0, 0, 0, 1]], [[0.0, 0, 0, 3], [0, 0, 0, 0]], [10.0, 4.0])
    steps = made.steps(np.array([0.1, 0.2, 0.5, 0.25]))  # of the phase, of rest, within, at edges
    var, rest_var = (0.1 * 10) ** 2, (0.2 * 4) ** 2
    assert steps.keep.tolist() == [0, 1, 1, 0]
    assert steps.fresh_var.tolist() == pytest.approx([2 * var, 2e-9 * var, var, rest_var], rel=1e-6)
    assert steps.drift_var.tolist() == pytest.approx([0.5**2 * 3 + 0.25**2 * 5 + 7] * 4)
    assert steps.seconds.tolist() == [2, 2, 2, 2]
    assert steps.knot_var.tolist() == [1] * 5


def test_where_some_of_several_end_part_of_the_departure_stays() -> None:
    made = scene([[4.0, 3], [0, 0]], [[0.0, 1], [0, 0]], [10.0, 4.0])
    steps = made.steps(np.array([0.1, 0.2, 0.0, 0.0]))
    assert steps.keep[1] == pytest.approx((4 - 1) / (4 + ORDERLY * 1))
    assert steps.fresh_var[1] == pytest.approx(3 - steps.keep[1] ** 2 * 4)


def test_more_cannot_end_than_was_there_and_a_departure_is_never_nothing() -> None:
    made = scene([[1.0, 1], [0, 0]], [[0.0, 5], [0, 0]], [10.0, 4.0])
    steps = made.steps(np.array([0.0, 0.2, 0.0, 0.0]))
    assert steps.keep.tolist() == [0, 0]
    assert steps.fresh_var[0] == pytest.approx((ROUGH * 10) ** 2)


def test_chains_of_several_departures_stand_side_by_side() -> None:
    made = scene([[2.0, 2], [0, 0]], [[0.0, 1], [0, 0]], [10.0, 4.0])
    both = np.array([[0.1, 0.2, 0.5, 0.25], [0.3, 0.2, 0.1, 0.0]])
    together = made.steps(both)
    for k, one in enumerate(both):
        alone = made.steps(one)
        for name in ("seconds", "keep", "fresh_var", "drift_var", "knot_var"):
            np.testing.assert_allclose(getattr(together, name)[k], getattr(alone, name))


# --- segments --------------------------------------------------------------------------------------------------------


def cut(present: list[list[float]], knots: list[int], seconds: list[float]) -> Segments:
    size = len(seconds)
    t = np.concatenate([[0], np.cumsum(np.array(seconds) * SECOND)]).astype(np.int64)
    ticks = len(knots) - 1
    return Segments(
        0, t, np.array(seconds), np.array(present), np.zeros((len(present), size)),
        np.zeros((len(present) - 1, size)), np.zeros((len(present) - 1, size)), np.zeros(size, np.int64),
        np.array(knots), np.zeros(size, bool), np.full(ticks, 10.0), np.ones(ticks, bool),
    )  # fmt: skip


def test_negative_energy_is_taken_back_at_the_expense_of_the_rest_of_its_tick() -> None:
    seg = cut([[1.0] * 5, [0.0] * 5], [0, 3, 5], [1.0] * 5)
    assert model._plausible(seg, np.array([6.0, -2.0, 2.0, 4.0, 1.0])).tolist() == pytest.approx([4.5, 0, 1.5, 4, 1])
    assert model._plausible(seg, np.array([1.0, -2.0, 0.5, 0.0, 0.0])).tolist() == [0] * 5


def test_a_knot_is_never_better_known_than_a_ten_millionth_of_the_usual_tick() -> None:
    seg = replace(cut([[1.0], [0.0]], [0, 1], [1.0]), tick_j=np.array([300.0]))
    assert model._least_var(seg) == pytest.approx((1e-7 * 300) ** 2 + 1e-24)


def test_a_span_of_a_kind_draws_its_level_and_an_equal_share_of_what_is_beside_the_levels() -> None:
    # one of the phase for a second, two for a second, none for two
    seg = cut([[1.0, 2, 0], [0, 0, 1]], [0, 3], [1.0, 1.0, 2.0])
    power = np.array([50.0, 90.0, 20.0])
    share = np.array([[1.0, 2.0, 0.0]])
    form = Design(share, np.zeros(3), slice(0, 1), share, np.ones(1), np.array([30.0]))
    unit = model._unit_w(seg, power, form, form.share_s)
    time = 1 + 2
    rest = (1 * (50 - 30) * 1 + 2 * (90 - 60) / 2 * 1) / time
    assert unit.tolist() == pytest.approx([30 * 3 / time + rest, 20.0])


def test_what_a_span_departs_by_is_a_fraction_of_a_tenth_of_the_power_around_it_at_least() -> None:
    seg = cut([[1.0, 0], [0, 1]], [0, 2], [1.0, 1.0])
    power = np.array([100.0, 0.0])
    share = np.array([[1.0, 0.0]])
    form = Design(share, np.zeros(2), slice(0, 1), np.array([[100.0, 0.0]]), np.ones(1), np.array([1.0]))
    nothing = Design(share, np.zeros(2), slice(0, 1), share * 0, np.ones(1), np.array([0.0]))
    assert model._unit_w(seg, power, form, np.zeros((1, 2)))[0] == pytest.approx(10)
    assert model._unit_w(seg, power, nothing, np.zeros((1, 2)))[0] == pytest.approx(100)


# --- interpolation ---------------------------------------------------------------------------------------------------


def test_between_knots_interpolation_goes_straight_and_strays_as_a_bridge() -> None:
    t = np.arange(4) * SECOND
    made = Curve(t, np.array([0.0, 100, 150, 350]), np.full(4, 1e6), 0.001)
    spans = Spans(
        np.array([SECOND // 2, SECOND]), np.array([SECOND, 5 * SECOND // 2]), np.array([0, 1]), ("a", "b"),
        np.array([0, 1]), np.ones(2),
    )  # fmt: skip
    seg = segments(made, spans, timeline(made, spans))
    found = model.interpolated(made, seg)
    np.testing.assert_allclose(found.energy_j, np.diff(energy_at(made, seg.t_ns)))
    assert (found.levels_w.tolist(), found.floor_w, found.level_at) == ([0, 0], None, slice(0, 2))
    at = int(np.flatnonzero(seg.t_ns == SECOND // 2)[0])
    half_j2 = (STRAY * 100) ** 2 / 4  # in the middle of a tick of 100 J
    around = (knot_variance(made)[0] + knot_variance(made)[1]) / 4
    assert found.smoothed.variance[at] == pytest.approx(half_j2 + around, rel=1e-3)
    knots = found.smoothed.variance[seg.knots]
    np.testing.assert_allclose(knots, knot_variance(made), rtol=1e-3)


# --- levels ----------------------------------------------------------------------------------------------------------


def test_a_design_holds_phases_from_below_and_nothing_else() -> None:
    form = Design(np.zeros((4, 2)), np.zeros(2), slice(1, 3), np.zeros((2, 2)), np.ones(4), np.zeros(4))
    assert form.held.tolist() == [False, True, True, False]


def test_levels_of_two_phases_are_those_that_ticks_of_known_energy_have() -> None:
    rng = np.random.default_rng(0)
    n = 200
    share = rng.random(n)
    seconds = np.stack([share, 1 - share], 1).ravel()
    first = np.tile([1.0, 0.0], n)
    seg = cut([first.tolist(), (1 - first).tolist(), [0.0] * (2 * n)], list(range(0, 2 * n + 1, 2)), seconds.tolist())
    joules = 80 * share + 30 * (1 - share)
    seg = replace(seg, tick_j=joules, usable=np.ones(n, bool))
    form = levels.design(seg, joules, np.zeros(2 * n, bool), None, np.full(n, 1e-6))
    assert form.phases == slice(0, 2)
    assert form.levels_w.tolist() == pytest.approx([80, 30], rel=1e-3)
    np.testing.assert_allclose(
        form.base_j + form.levels_w @ form.columns, np.where(first > 0, 80, 30) * seconds, rtol=1e-3
    )
