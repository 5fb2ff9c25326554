from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.energy.curve import Curve, energy_at
from ipw.energy.shape import shaped

MS = 1_000_000
Floats = npt.NDArray[np.float64]


def curve(t_ms: npt.ArrayLike, energy_j: npt.ArrayLike, err_ms: float = 1.0, gaps_ms: npt.ArrayLike = ()) -> Curve:
    t = (np.asarray(t_ms, np.float64) * MS).astype(np.int64)
    gaps = (np.asarray(gaps_ms, np.float64).reshape(-1, 2) * MS).astype(np.int64)
    return Curve(t, np.asarray(energy_j, np.float64), np.full(t.size, err_ms * MS), 0.0, gaps, ("unread",) * len(gaps))


def burst(t_ms: npt.ArrayLike) -> Floats:
    """Joules of 100 W, and 600 W from 1,300 to 1,700 ms."""
    t = np.asarray(t_ms, np.float64)
    return np.asarray(0.1 * t + 0.5 * np.clip(t - 1300, 0, 400), np.float64)


def test_a_burst_between_two_readings_of_the_counter_lies_where_power_saw_it() -> None:
    slow, fast_ms = curve([0, 1000, 2000, 3000], burst([0, 1000, 2000, 3000])), np.arange(-20, 3040, 20)
    found = shaped(slow, curve(fast_ms, 0.97 * burst(fast_ms), 4.0))  # power whose gain is off by 3 %
    at = np.array([1200, 1300, 1500, 1700, 1900])
    assert energy_at(found, at * MS) == pytest.approx(burst(at), rel=1e-6)
    assert energy_at(slow, 1300 * MS) == pytest.approx(190.0)  # what a straight line says
    assert found.t_err_ns[found.t_ns == 2000 * MS] == MS
    assert found.t_err_ns[found.t_ns == 1500 * MS] == pytest.approx(np.hypot(4, 1) * MS)


def test_what_is_placed_is_as_uncertain_as_the_counters_knots_around_it() -> None:
    slow = replace(curve([500, 1500, 2500], [0, 100, 200]), t_err_ns=np.array([1.0, 5.0, 9.0]) * MS)
    fast = curve(np.arange(0, 3000, 250), np.arange(12.0), 3.0)
    found = shaped(slow, fast)
    for at_ms, around_ms in ((750, 2.0), (1250, 4.0), (2000, 7.0)):
        assert found.t_err_ns[found.t_ns == at_ms * MS] == pytest.approx(np.hypot(3, around_ms) * MS)


def test_where_power_is_missing_the_counter_stays_straight() -> None:
    slow = curve([0, 1000, 2000, 3000, 4000], [0, 100, 200, 300, 400])
    fast_ms = np.arange(0, 3400, 20)
    found = shaped(slow, curve(fast_ms, burst(fast_ms), gaps_ms=[(1500, 1600)]))
    inside = (found.t_ns > 1000 * MS) & (found.t_ns < 2000 * MS)
    assert not inside.any()  # a gap in the power
    assert not (found.t_ns > 3000 * MS)[:-1].any()  # power that ended long before
    assert ((found.t_ns > 2000 * MS) & (found.t_ns < 3000 * MS)).sum() == 49


def test_a_gap_of_the_power_that_begins_or_ends_with_a_reading_of_the_counter_touches_no_other_interval() -> None:
    slow, fast_ms = curve([0, 1000, 2000, 3000], [0, 100, 200, 300]), np.arange(0, 3020, 20)
    found = shaped(slow, curve(fast_ms, burst(fast_ms), gaps_ms=[(1000, 2000)]))
    inside = [((found.t_ns > a * MS) & (found.t_ns < (a + 1000) * MS)).sum() for a in (0, 1000, 2000)]
    assert inside == [49, 0, 49]


def test_an_outage_of_the_counter_is_none_where_power_tells_when_its_joules_were_drawn() -> None:
    slow = curve([0, 1000, 4000, 5000], [0, 100, 400, 500], gaps_ms=[(1000, 4000)])
    fast_ms = np.arange(0, 5000, 20)
    blurred = replace(slow, gap_lost=np.array([False]))
    assert shaped(blurred, curve(fast_ms, burst(fast_ms))).gaps_ns.size == 0
    assert shaped(blurred, curve(fast_ms, burst(fast_ms), gaps_ms=[(2000, 2500)])).gaps_ns.size == 2
    assert len(shaped(slow, curve(fast_ms, burst(fast_ms))).gaps_ns) == 1


def test_power_that_saw_nothing_shapes_nothing() -> None:
    slow = curve([0, 1000], [0, 100])
    assert shaped(slow, curve([0, 500, 1000], [0, 0, 0])).t_ns.tolist() == [0, 1000 * MS]
    assert shaped(slow, curve([], [])) is slow


steps = st.lists(st.tuples(st.floats(1, 2000), st.floats(0, 1e4)), min_size=2, max_size=30)


@given(steps, steps, st.floats(-3000, 3000))
def test_whatever_power_says_every_knot_of_the_counter_stays_true(
    counted: list[tuple[float, float]], seen: list[tuple[float, float]], shift_ms: float
) -> None:
    slow, fast = (curve(np.cumsum([t for t, _ in each]), np.cumsum([e for _, e in each])) for each in (counted, seen))
    fast = curve(fast.t_ns / MS + shift_ms, fast.energy_j)
    found = shaped(slow, fast)
    assert np.all(np.diff(found.t_ns) > 0)
    assert np.all(np.diff(found.energy_j) >= -1e-6)
    assert energy_at(found, slow.t_ns) == pytest.approx(slow.energy_j, rel=1e-12, abs=1e-9)
    assert set(slow.t_ns) <= set(found.t_ns)
