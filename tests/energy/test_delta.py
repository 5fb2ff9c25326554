"""From one value of a counter to the next."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ipw.energy.delta import AMBIGUOUS, IMPOSSIBLE, OK, RESET, deltas

SECOND = 1_000_000_000


def of(*values: float, seconds: float = 1.0, range_j: float | None = None, max_power_w: float | None = None):  # type: ignore[no-untyped-def]
    t = (np.arange(len(values)) * seconds * SECOND).astype(np.int64)
    energy, code = deltas(np.array(values), t, np.zeros(len(values)), range_j=range_j, max_power_w=max_power_w)
    return energy.tolist(), code.tolist()


def test_a_counter_that_rises_gives_its_rise() -> None:
    assert of(10.0, 12.5, 12.5) == ([2.5, 0.0], [OK, OK])


def test_a_counter_with_a_range_wraps() -> None:
    assert of(90.0, 5.0, range_j=100.0) == ([15.0], [OK])


def test_a_counter_without_a_range_that_falls_was_reset_and_is_never_corrected() -> None:
    assert of(90.0, 5.0) == ([0.0], [RESET])


def test_a_fall_by_more_than_the_range_was_no_wrap() -> None:
    assert of(90.0, 5.0, range_j=50.0) == ([0.0], [RESET])


def test_more_than_the_device_can_draw_is_refused() -> None:
    assert of(0.0, 160.0, max_power_w=100.0) == ([0.0], [IMPOSSIBLE])
    assert of(0.0, 140.0, max_power_w=100.0) == ([140.0], [OK])


def test_power_is_impossible_only_if_no_timing_makes_it_possible() -> None:
    t = np.array([0, SECOND // 10])
    energy, code = deltas(np.array([0.0, 30.0]), t, np.array([0.05e9, 0.05e9]), max_power_w=150.0)
    assert (energy.tolist(), code.tolist()) == ([30.0], [OK])


def test_a_pause_in_which_the_counter_may_have_gone_round_is_ambiguous() -> None:
    assert of(90.0, 95.0, seconds=10, range_j=100.0, max_power_w=20.0) == ([0.0], [AMBIGUOUS])


def test_nothing_and_one_value_give_no_intervals() -> None:
    assert of() == ([], [])
    assert of(3.0) == ([], [])


@given(
    st.lists(st.floats(0, 900), min_size=1, max_size=50),
    st.floats(0, 999),
)
def test_wraps_are_undone_whatever_is_drawn_between_reads(drawn: list[float], start: float) -> None:
    total = start + np.concatenate([[0.0], np.cumsum(drawn)])
    energy, code = of(*(total % 1000.0), range_j=1000.0)
    assert not any(code)
    np.testing.assert_allclose(energy, drawn, atol=1e-6)
