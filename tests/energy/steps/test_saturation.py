"""The law from load to power, found from the energies of ticks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ipw.energy.saturation import Law, concave_law
from ipw.energy.segments import Segments

Floats = npt.NDArray[np.float64]
TICK_S = 0.1
LOAD = np.random.default_rng(0).uniform(50, 400, 500)


def law_of(power_w: Floats, error: float, load: Floats = LOAD) -> Law:
    """The law found from ticks of one load each, with errors of a fraction of their energy."""
    n = LOAD.size
    seg = Segments(
        first=0,
        t_ns=np.arange(n + 1) * 100_000_000,
        seconds=np.full(n, TICK_S),
        present=np.vstack([np.ones(n), np.zeros(n)]),
        leaving=np.zeros((2, n)),
        shorter=np.zeros((1, n)),
        faster=np.zeros((1, n)),
        kind=np.zeros(n, np.int64),
        knots=np.arange(n + 1),
        lost=np.zeros(n, bool),
        tick_j=power_w * TICK_S,
        usable=np.ones(n, bool),
    )
    sd = np.maximum(error * np.abs(power_w) * TICK_S, 1e-3)
    return concave_law(seg, load, power_w * TICK_S / sd + np.random.default_rng(1).standard_normal(n), sd)


@pytest.mark.parametrize("power_w", [LOAD, 600 * (1 - np.exp(-LOAD / 600)), np.minimum(LOAD, 250)])
def test_the_law_is_found_whether_power_grows_evenly_saturates_or_stops_at_a_limit(power_w: Floats) -> None:
    found = law_of(power_w, 0.01).mean * LOAD
    assert np.abs(found / power_w - 1).max() <= 0.03


def test_a_load_that_costs_nothing_is_taken_to_cost_as_it_grows() -> None:
    for found in (law_of(-LOAD, 0.01), law_of(LOAD, 0.01, load=0 * LOAD)):
        assert found.mean.tolist() == found.slope.tolist() == [1] * LOAD.size
        assert not found.bends.any()


def test_where_nothing_is_in_flight_the_law_is_that_of_the_first_unit_of_load() -> None:
    load = np.where(np.arange(LOAD.size) % 5, LOAD, 0)
    found = law_of(600 * (1 - np.exp(-load / 600)), 0.01, load=load)
    assert found.mean[::5].tolist() == found.slope[::5].tolist()
    assert found.mean[::5] == pytest.approx(np.ones(LOAD.size // 5), abs=0.05)
    assert np.all(found.mean[::5] >= found.mean.max())


def test_what_another_unit_of_load_would_add_is_how_power_grows() -> None:
    power = 600 * (1 - np.exp(-LOAD / 600))
    found = law_of(power, 0.001)
    assert found.mean == pytest.approx(power / LOAD, rel=0.01)
    assert found.slope == pytest.approx(np.exp(-LOAD / 600), rel=0.08)
    stops = law_of(np.minimum(LOAD, 250), 0.001)
    assert np.median(stops.slope[LOAD > 270]) == pytest.approx(0, abs=0.05)
    assert np.median(stops.slope[LOAD < 230]) == pytest.approx(1, abs=0.05)


def test_noise_puts_no_kinks_into_a_law_that_saturates_softly() -> None:
    slope = law_of(600 * (1 - np.exp(-LOAD / 600)), 0.01).slope[np.argsort(LOAD)]
    assert np.all(np.diff(slope) <= 0)
    assert np.diff(slope).min() >= -0.02


def test_the_bends_change_the_shape_and_not_the_energy() -> None:
    assert np.abs(law_of(LOAD, 0.01).bends.sum(1)).max() <= 1e-6 * LOAD.sum()
