"""One metric over many runs: a step is found where it is, and a quiet history alarms no oftener than it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports.sessions import most_by_chance

from ipw.gate.trend import predict, steps
from ipw.gate.verdict import GateError

UNHURRIED = settings(max_examples=20, deadline=None)


def level(rng: np.random.Generator, runs: int, at: float = 10.0, sd: float = 0.02) -> list[float]:
    return list(at * np.exp(sd * rng.standard_normal(runs)))


def test_a_step_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    (found,) = steps(level(rng, 12) + level(rng, 12, 11.0))
    assert abs(found.at - 12) <= 1
    assert found.change == pytest.approx(0.1, abs=0.02)
    assert found.p < 0.01


def test_two_steps_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    found = steps(level(rng, 15) + level(rng, 15, 12.0) + level(rng, 15, 10.5))
    assert [round(each.change, 1) for each in found] == [0.2, -0.1]


def test_one_wild_run_is_no_step() -> None:
    values = level(np.random.default_rng(3), 20)
    values[10] *= 3
    assert steps(values) == []


def test_without_a_change_steps_are_seldom_found() -> None:
    rng, count = np.random.default_rng(4), 150
    found = sum(bool(steps(level(rng, 20))) for _ in range(count))
    assert found / count <= most_by_chance(0.01, count)


def test_the_next_run_lies_in_the_band_as_often_as_it_says() -> None:
    rng, count, inside = np.random.default_rng(5), 2000, 0
    for _ in range(count):
        *history, last = level(rng, 9)
        expected = predict(history)
        assert expected is not None
        inside += expected.low <= last <= expected.high
    assert abs(inside / count - 0.95) < 3.3 * (0.95 * 0.05 / count) ** 0.5


def test_few_runs_expect_nothing() -> None:
    assert predict([1.0, 1.1, 1.0]) is None
    assert steps([1.0, 1.0, 1.0, 2.0, 2.0]) == []


@UNHURRIED
@given(st.lists(st.floats(0.5, 2), min_size=6, max_size=20), st.floats(0.01, 100))
def test_the_unit_does_not_matter(values: list[float], factor: float) -> None:
    # rounded, so that values that are equal stay equal
    here = steps([round(x, 2) for x in values])
    there = steps([factor * round(x, 2) for x in values])
    assert [each.at for each in here] == [each.at for each in there]


@pytest.mark.parametrize("values", [[1.0, 0.0], [1.0, float("nan")], [-1.0]])
def test_what_has_no_logarithm_is_refused(values: list[float]) -> None:
    with pytest.raises(GateError):
        predict(values)
