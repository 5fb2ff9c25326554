from __future__ import annotations

import numpy as np
import pytest

from ipw.metrics.diffusion_pairs import difference, energy_error

RNG = np.random.default_rng(3)
ENERGY = RNG.uniform(0.5, 1.5, 400)


def _scores(right: int, of: int = 400) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([1.0] * right + [0.0] * (of - right))


def test_only_questions_that_differ_speak_of_accuracy() -> None:
    first, second = _scores(200), _scores(200)
    second[:12], second[300:304] = 0.0, 1.0
    found = difference((first, ENERGY, 0.0), (second, ENERGY, 0.0))
    assert found is not None
    assert (found.questions, found.lost, found.won) == (400, 12, 4)
    assert found.points == pytest.approx(-8 / 400)
    # 16 coins, 12 or more on one side, either way: 2 * sum(C(16, k), k = 12 … 16) / 2**16
    assert found.p == pytest.approx(2 * (1820 + 560 + 120 + 16 + 1) / 65536)
    low, high = found.interval
    assert low is not None
    assert high is not None
    assert low < -8 / 400 < high < 0.001


def test_equal_methods_differ_by_nothing_within_an_interval_that_is_no_point() -> None:
    found = difference((_scores(300), ENERGY, 0.0), (_scores(300), ENERGY, 0.0))
    assert found is not None
    assert (found.points, found.p) == (0.0, 1.0)
    assert found.ratio == pytest.approx(1.0)
    assert found.interval[0] is not None
    assert found.interval[0] < 0 < (found.interval[1] or 0)


def test_the_ratio_of_joules_holds_what_was_drawn_and_widens_with_the_sensors_error() -> None:
    plain = difference((_scores(300), ENERGY, 0.0), (_scores(300), ENERGY * RNG.uniform(0.2, 0.3, 400), 0.0))
    noisy = difference((_scores(300), ENERGY, 0.05), (_scores(300), ENERGY * 0.25, 0.05))
    assert plain is not None
    assert noisy is not None
    widths = []
    for found in (plain, noisy):
        low, high = found.ratio_interval
        assert low is not None
        assert high is not None
        assert low < (found.ratio or 0) < high
        assert found.ratio == pytest.approx(0.25, rel=0.05)
        widths.append(high - low)
    assert widths[0] < 0.02 < widths[1]


def test_what_is_not_known_makes_no_ratio_and_no_question_makes_no_difference() -> None:
    unknown = np.full(4, np.nan)
    found = difference((_scores(2, 4), unknown, 0.0), (_scores(3, 4), unknown, 0.0))
    assert found is not None
    assert (found.ratio, found.ratio_interval) == (None, (None, None))
    none = np.zeros(0)
    assert difference((none, none, 0.0), (none, none, 0.0)) is None


def test_the_error_of_a_runs_joules_is_relative_and_absent_is_none() -> None:
    attribution = {"measured_j": 50.0, "measured_error_j": [1.0, 3.0]}
    assert energy_error({"attribution": attribution}) == pytest.approx(2.0 / 1.96 / 50, rel=1e-3)
    assert energy_error({}) == 0.0
    assert energy_error({"attribution": {"measured_j": 50.0}}) == 0.0
