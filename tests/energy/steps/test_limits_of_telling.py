"""Where attribution stops to say a number: at each limit, one step to either side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipw.energy import attribution
from ipw.energy.attribution import NEGLIGIBLE, VAGUE, Spans
from ipw.energy.curve import STRAY, Z95, Curve, energy_between
from ipw.energy.model import PowerModel, interpolated
from ipw.energy.segments import segments
from ipw.energy.timeline import timeline

SECOND = 1_000_000_000
POWER_W = 100.0


def steady(err_ns: float = 1e6) -> Curve:
    """100 W with a knot each second, for ten seconds."""
    t = np.arange(11) * SECOND
    return Curve(t, np.asarray(POWER_W * t / 1e9, np.float64), np.full(11, err_ns), 0.0)


def two_phases(*phase: int) -> Spans:
    """A span each second, each of the phase given."""
    k = np.arange(len(phase))
    return Spans(k * SECOND, (k + 1) * SECOND, np.array(phase), ("a", "b"), k, np.ones(k.size))


def model(spans: Spans, levels_w: tuple[float, float], sd_w: tuple[float, float]) -> PowerModel:
    """Make a model that knows levels so well."""
    made = interpolated(steady(), segments(steady(), spans, timeline(steady(), spans)))
    return replace(made, levels_w=np.array(levels_w), cov=np.diag(np.square(sd_w)), mean_factor=np.ones(2))


@pytest.mark.parametrize("of_level", [0.99, 1.01])
def test_a_floor_that_the_model_found_is_told_unless_it_is_as_vague_as_half_of_itself(of_level: float) -> None:
    found = replace(model(two_phases(0, 1), (1, 1), (1, 1)), floor_w=(40.0, of_level * VAGUE * 40.0))
    floor = attribution._floor(None, found, 0, SECOND)
    assert floor == (None if of_level > 1 else (40.0, max(0.0, 40 - Z95 * 19.8), 40 + Z95 * 19.8))


def test_without_idle_times_and_without_a_floor_in_the_model_there_is_none() -> None:
    assert attribution._floor(None, model(two_phases(0, 1), (1, 1), (1, 1)), 0, SECOND) is None


@pytest.mark.parametrize("of_limit", [0.99, 1.01])
def test_a_phase_is_not_told_apart_once_its_level_is_vague_beside_the_largest(of_limit: float) -> None:
    spans = two_phases(0, 1, 0, 1)
    found = model(spans, (80.0, 4.0), (1.0, of_limit * VAGUE * 80.0))
    rule, flags = attribution._rule(steady(), spans, found, None)
    assert flags == (("phases not told apart",) if of_limit > 1 else ())
    assert ("; b not told apart" in rule) == (of_limit > 1)


@pytest.mark.parametrize("of_limit", [0.99, 1.01])
def test_levels_that_are_all_small_are_told_apart_as_far_as_it_matters_beside_all_power(of_limit: float) -> None:
    spans = two_phases(0, 1, 0, 1)
    found = model(spans, (0.2, 0.1), (0.01, of_limit * NEGLIGIBLE * POWER_W))
    assert bool(attribution._rule(steady(), spans, found, None)[1]) == (of_limit > 1)


def test_a_phase_that_is_alone_or_has_no_span_is_never_mixed_up() -> None:
    vague = (1.0, 1000.0)
    assert attribution._rule(steady(), two_phases(1, 1), model(two_phases(1, 1), (1, 1), vague), None)[1] == ()
    assert attribution._rule(steady(), two_phases(0, 0), model(two_phases(0, 0), (1, 1), vague), None)[1] == ()


@pytest.mark.parametrize(("spans", "told"), [(8, True), (7, False)])
def test_two_phases_take_eight_readings_during_spans(spans: int, *, told: bool) -> None:
    made = two_phases(*([0, 1] * 4)[:spans])
    why = attribution._untold(segments(steady(), made, timeline(steady(), made)), made)
    assert why == (None if told else "7 readings during spans, where telling phases apart takes 8")


@pytest.mark.parametrize("phase", [[-1, 0], [0, -1], [0, 2]])
def test_a_phase_that_is_none_of_those_named_is_refused(phase: list[int]) -> None:
    with pytest.raises(ValueError, match="index into phases"):
        two_phases(*phase)


@pytest.mark.parametrize("owner", [[-1, 0], [0, -1]])
def test_an_owner_below_the_first_is_refused(owner: list[int]) -> None:
    one = np.array([0, 0])
    with pytest.raises(ValueError, match="owners are numbered"):
        Spans(one, one, one, ("a",), np.array(owner), one)


def test_more_owners_than_have_spans_may_be_named_and_not_fewer() -> None:
    one = np.array([0, 0])
    assert Spans(one, one, one, ("a",), np.array([0, 1]), one, owners=2).owners == 2
    with pytest.raises(ValueError, match="owners are numbered"):
        Spans(one, one, one, ("a",), np.array([0, 1]), one, owners=1)


def test_a_mean_over_pieces_weighs_each_by_its_time_and_leaves_out_what_is_not_known() -> None:
    pieces = [(10.0, 8.0, 12.0), None, (40.0, 38.0, 44.0)]
    assert attribution._mean(pieces, [3.0, 5.0, 1.0]) == pytest.approx((17.5, 15.5, 20.0))
    assert attribution._mean(pieces, [0.0, 5.0, 0.0]) == pytest.approx((25.0, 23.0, 28.0))  # no time: all alike


def test_levels_are_told_as_spans_ran_with_intervals_that_end_at_nothing() -> None:
    spans = two_phases(0, 1)
    found = replace(model(spans, (80.0, 4.0), (1.0, 6.0)), mean_factor=np.array([0.5, 2.0]))
    told = attribution._levels(spans, found)
    assert told["a"] == pytest.approx((40.0, 40 - Z95 / 2, 40 + Z95 / 2))
    assert told["b"] == pytest.approx((8.0, 0.0, 8 + Z95 * 12))
    assert list(attribution._levels(two_phases(1, 1), found)) == ["b"]


def test_a_window_of_no_length_has_no_joules_and_a_reversed_one_is_refused() -> None:
    nothing = attribution.attribute(steady(), two_phases(0, 1), window_ns=(3 * SECOND, 3 * SECOND))
    assert (nothing.measured_j, nothing.idle_j) == (0.0, 0.0)
    with pytest.raises(ValueError, match="the window ends before it starts"):
        attribution.attribute(steady(), two_phases(0, 1), window_ns=(3, 2))


def test_two_readings_are_enough_to_attribute_and_one_is_not() -> None:
    t = np.array([0, SECOND])
    two = Curve(t, np.array([0.0, 50.0]), np.zeros(2), 0.0)
    found = attribution.attribute(two, two_phases(0), window_ns=(0, SECOND))
    assert found.measured_j == pytest.approx(50)
    one = attribution.attribute(Curve(t[:1], np.zeros(1), np.zeros(1), 0.0), two_phases(0), window_ns=(0, SECOND))
    assert (one.measured_j, one.rule, one.flags) == (0.0, "none: fewer than two readings", ("no readings",))
    assert one.spans.energy_j.tolist() == [0.0]


# --- widths at cuts --------------------------------------------------------------------------------------------------

CUTS = [(2.0, 7.0), (2.25, 7.0), (2.0, 6.5), (2.25, 6.5), (2.9, 8.8), (3.25, 3.75), (3.5, 4.5)]


def uneven() -> Curve:
    """100 W with a knot each second, each known to another 10 ms."""
    return replace(steady(), t_err_ns=1e7 * np.arange(1.0, 12))


@pytest.mark.parametrize(("start_s", "end_s"), CUTS)
def test_a_cut_between_knots_has_its_bridge_and_the_timing_of_the_knots_around_it_by_how_near_they_are(
    start_s: float, end_s: float
) -> None:
    energy, low, high = energy_between(uneven(), [int(start_s * 1e9)], [int(end_s * 1e9)])
    variance = 0.0
    if int(start_s) == int(end_s):  # a part of one tick, whose energy is known: one bridge, and no knot's timing
        part = end_s - start_s
        variance = (STRAY * POWER_W) ** 2 * part * (1 - part)
    else:
        for cut in (start_s, end_s):
            knot, part = int(cut), cut % 1
            variance += (STRAY * POWER_W) ** 2 * part * (1 - part)
            before, after = ((POWER_W * 0.01 * number) ** 2 / 3 for number in (knot + 1, knot + 2))
            variance += (1 - part) * before + part * after
    half = Z95 * np.sqrt(variance)
    assert energy[0] == pytest.approx(POWER_W * (end_s - start_s))
    assert (energy[0] - low[0], high[0] - energy[0]) == pytest.approx((half, half))


def test_one_reversed_interval_among_good_ones_is_refused() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        energy_between(steady(), [0, 5, 2], [1, 4, 3])
