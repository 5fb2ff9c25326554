"""The idle floor to the digit: which knots tell it, what a gap beside it does, and its course between two estimates."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.baseline import Baseline, idle_baseline, quiet_intervals
from ipw.energy.curve import Z95, Curve, energy_between, knot_variance

SECOND = 1_000_000_000


def curve(*joules: float, gaps: tuple[tuple[int, int], ...] = (), err_ns: float = 1e6) -> Curve:
    """A knot each second."""
    t = np.arange(len(joules) + 1) * SECOND
    found = np.array(gaps, np.int64).reshape(-1, 2) * SECOND
    energy = np.concatenate([[0.0], np.cumsum(joules)])
    return Curve(t, energy, np.full(t.size, err_ns), 0.0, found, ("lost",) * len(found))


def floor(made: Curve, *idle_s: tuple[float, float]) -> Baseline | None:
    return idle_baseline(made, (np.array(idle_s) * SECOND).astype(np.int64))


def test_a_gap_that_only_touches_an_idle_time_takes_nothing_from_it() -> None:
    made = curve(5, 5, 9, 7, 7, gaps=((2, 3),))
    found = floor(made, (0, 2), (3, 5))
    assert found is not None
    assert found.power_w.tolist() == [5, 7]
    assert (found.t_ns / SECOND).tolist() == [1, 4]
    for idle in ((0, 2.5), (2.5, 5), (2, 3), (0, 5), (2.2, 2.8)):
        assert floor(made, idle) is None


def test_idle_times_come_in_any_order_and_those_of_no_length_or_beyond_the_readings_tell_nothing() -> None:
    made = curve(5, 6, 7, 8)
    found = floor(made, (3, 4), (1, 1), (-5, 1), (9, 12))
    assert found is not None
    assert found.power_w.tolist() == [5, 8]
    assert (found.t_ns / SECOND).tolist() == [0.5, 3.5]
    assert floor(made, (2, 2)) is None


def test_between_two_knots_the_floor_is_as_vague_as_energy_between_them() -> None:
    made = curve(4, 8, 4)
    found = floor(made, (1.25, 1.75))
    assert found is not None
    joules, low, high = energy_between(made, int(1.25e9), int(1.75e9))
    assert found.power_w[0] == pytest.approx(float(joules[0]) / 0.5) == 8
    assert (found.t_ns / SECOND).tolist() == [1.5]
    assert found.each_sd_w[0] == pytest.approx(float(high[0] - low[0]) / (2 * Z95 * 0.5))
    one_knot = floor(made, (0.5, 1.5))
    assert one_knot is not None
    assert one_knot.power_w[0] == pytest.approx(6)


def test_two_knots_tell_a_floor_by_their_timing() -> None:
    made = curve(4, 8, 4, err_ns=1e7)
    found = floor(made, (0.9, 2.1))
    assert found is not None
    assert found.power_w.tolist() == [8]
    timing = np.sqrt(2 * np.median(knot_variance(made)[1:3]))
    assert found.each_sd_w[0] == pytest.approx(timing)


def test_many_knots_tell_it_by_their_median_and_their_spread() -> None:
    made = curve(4, 5, 6, 7, 50, err_ns=0.0)
    found = floor(made, (0, 5))
    assert found is not None
    assert found.power_w.tolist() == [6]
    assert (found.t_ns / SECOND).tolist() == [2.5]
    assert found.each_sd_w[0] == pytest.approx(1.4826 * 1 * np.sqrt(np.pi / 2 / 5))


def test_a_floor_goes_straight_from_one_estimate_to_the_next_and_stays_beyond_them() -> None:
    two = Baseline(np.array([2, 6]) * SECOND, np.array([10.0, 30.0]), np.array([3.0, 4.0]))
    t = np.array([0, 2, 4, 6, 9]) * SECOND
    assert two.energy_at(t).tolist() == [0, 20, 20 + 30, 50 + 50, 100 + 90]
    assert two.sd_w() == pytest.approx(np.sqrt((9 + 16) / 2 / 2 + 400 / 12))
    assert two.ramp(t).tolist() == pytest.approx([-1, -0.5, 0.5, 1])
    one = Baseline(np.array([5]) * SECOND, np.array([7.0]), np.array([2.0]))
    assert one.sd_w() == 2


@pytest.mark.parametrize(
    ("window", "mean"), [((0, 2), 10), ((2, 6), 20), ((4, 8), (25 * 2 + 30 * 2) / 4), ((3, 5), 20), ((4, 4), 10)]
)
def test_the_floor_of_a_window_is_its_mean_over_it(window: tuple[int, int], mean: float) -> None:
    two = Baseline(np.array([2, 6]) * SECOND, np.array([10.0, 30.0]), np.array([3.0, 4.0]))
    value, low, high = two.estimate(window[0] * SECOND, window[1] * SECOND)
    assert value == pytest.approx(mean)
    half = Z95 * two.sd_w()
    assert (low, high) == pytest.approx((max(0.0, mean - half), mean + half))


def test_a_quiet_stretch_has_three_knots_and_lies_between_the_spans_before_and_behind_it() -> None:
    made = curve(*[1.0] * 10)

    def quiet(*spans: tuple[float, float]) -> list[list[float]]:
        table = (np.array(spans).reshape(-1, 2) * SECOND).astype(np.int64)
        found: list[list[float]] = (quiet_intervals(made, table[:, 0], table[:, 1]) / SECOND).tolist()
        return found

    assert quiet((2, 5), (7, 10)) == [[0, 2], [5, 7]]
    assert quiet((1.9, 5), (6.9, 10)) == []
    assert quiet((2, 8), (3, 4), (-4, 0)) == [[0, 2], [8, 10]]  # a span that is over while another goes on
    assert quiet((0, 20)) == []
    assert quiet((-9, -5)) == [[0, 10]]
    two = curve(1.0)
    assert quiet_intervals(two, np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []
    three = curve(1.0, 1.0)
    assert quiet_intervals(three, np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == [[0, 2 * SECOND]]
