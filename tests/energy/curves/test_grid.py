"""Ticks that nobody watched, placed on the grid of those that somebody did."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ipw.energy.grid import on_grid

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
ALL = np.arange(0.0, 1300.0, 100.0)


def bracketed(
    wide: dict[int, tuple[float, float]], at: Floats = ALL, half: float = 1.0
) -> tuple[Floats, Floats, Bools]:
    """Ticks that were watched to ± `half`, but for some, by their number."""
    low, high, sharp = at - half, at + half, np.ones(at.size, bool)
    for number, (below, above) in wide.items():
        low[number], high[number], sharp[number] = below, above, False
    return low, high, sharp


def placed(wide: dict[int, tuple[float, float]], at: Floats = ALL, half: float = 1.0) -> dict[int, tuple[float, float]]:
    low, high = on_grid(*bracketed(wide, at, half))
    return {number: (float(low[number]), float(high[number])) for number in wide}


def test_on_an_even_grid_a_tick_is_known_as_well_as_the_watched_ones_around_it() -> None:
    found = placed({5: (440, 560), 6: (560, 660)})
    assert found[5] == pytest.approx((499, 501))
    assert found[6] == pytest.approx((599, 601))


def test_what_was_read_still_bounds_it() -> None:
    assert placed({5: (499.5, 560)})[5] == pytest.approx((499.5, 501))
    assert placed({5: (440, 499.75)})[5] == pytest.approx((499, 499.75))


def test_where_grid_and_readings_contradict_each_other_what_was_read_stands() -> None:
    assert placed({5: (520, 560)})[5] == (520, 560)


def test_watched_ticks_themselves_stay_as_they_are() -> None:
    low, high, sharp = bracketed({5: (440, 560)})
    new_low, new_high = on_grid(low, high, sharp)
    np.testing.assert_array_equal(new_low[sharp], low[sharp])
    np.testing.assert_array_equal(new_high[sharp], high[sharp])


def test_how_far_ticks_stray_nearby_is_in_the_half_width() -> None:
    at = ALL.copy()
    at[6:] += 8  # the grid slips between the fifth tick and the sixth
    below, above = placed({4: (340, 460)}, at)[4]
    assert above - below > 2 * 4
    assert below <= 400 <= above


def test_before_the_first_and_behind_the_last_watched_tick_there_is_no_grid() -> None:
    wide = {0: (-40.0, 60.0), 12: (1140.0, 1260.0)}
    assert placed(wide) == wide


def test_two_watched_ticks_are_no_grid() -> None:
    at = np.array([0.0, 100.0, 200.0])
    assert placed({1: (40, 160)}, at)[1] == (40, 160)


def test_a_stretch_on_another_grid_than_both_of_its_neighbours_places_nothing() -> None:
    at = np.concatenate([np.arange(0, 500, 100.0), [470.0, 540.0], np.arange(700, 1200, 100.0)])
    found = placed({5: (405.0, 535.0)}, at)[5]
    assert found == (405.0, 535.0)


def test_of_changes_of_which_some_went_unread_each_lies_where_its_reading_says() -> None:
    at = np.concatenate([np.arange(0, 500, 100.0), [600.0], np.arange(800, 1300, 100.0)])  # 500 and 700 were not read
    found = placed({5: (500.0, 650.0)}, at)[5]
    assert found == pytest.approx((599, 601))
    unclear = placed({5: (500.0, 700.5)}, at)[5]  # read as 700 came: before it or behind?
    assert unclear == (500.0, 700.5)
