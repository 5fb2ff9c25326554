"""Which of several engines computed which units, on arrivals that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.steps.apart import engine_of_units
from ipw.energy.steps.arrivals import Arrivals

MS = 1_000_000
LEAST = 4


def arrivals(*of_units: list[float]) -> Arrivals:
    """The moments of each unit's results, in ms."""
    rows = sorted((round(at * MS), unit) for unit, moments in enumerate(of_units) for at in moments)
    t, unit = (np.array(column) for column in zip(*rows, strict=True))
    return Arrivals(t, np.ones(t.size, np.int64), unit.astype(np.int32))


def engines(*of_units: list[float]) -> list[int]:
    found: list[int] = engine_of_units(arrivals(*of_units), len(of_units)).tolist()
    return found


def every(step: float, count: int, begin: float) -> list[float]:
    return [begin + step * k for k in range(count)]


def test_units_whose_results_come_at_once_are_of_one_engine_and_others_of_another() -> None:
    one, two = every(20, 9, 0), every(23, 9, 7)
    assert engines(one, every(20, 9, 0.4), two, every(23, 9, 7.3)) == [0, 0, 1, 1]


def test_engines_are_numbered_in_the_order_of_first_results_and_a_unit_without_any_has_none() -> None:
    assert engines(every(23, 9, 7), [], every(20, 9, 0)) == [1, -1, 0]


def test_a_unit_goes_to_the_engine_with_nothing_to_do_of_the_lowest_number() -> None:
    # the first is over, up to its very last moment, as the third begins; the second goes on
    assert engines(every(20, 5, 0), every(23, 20, 7), every(21, 9, 80)) == [0, 1, 0]
    assert engines(every(20, 5, 0), every(23, 20, 7), every(21, 9, 79.9)) == [0, 1, 2]


def test_results_are_at_once_up_to_a_millisecond_whichever_comes_first() -> None:
    one = every(20, 12, 0)
    for late in (-1.0, 1.0):
        assert engines(one, [at + late for at in one[1:-1]]) == [0, 0]
    for late in (-1.01, 1.01):
        assert engines(one, [at + late for at in one[1:-1]]) == [0, 1]


def test_of_twenty_results_seventeen_suffice_and_sixteen_do_not() -> None:
    one = every(20, 22, 0)
    for apart_ones, engine in ((3, 0), (4, 1)):
        other = [at + (8 if k < apart_ones else 0) for k, at in enumerate(one[1:-1])]
        assert engines(one, other) == [0, engine]


def test_of_few_results_beside_another_unit_nothing_is_told() -> None:
    one = every(20, 12, 0)
    assert engines(one, one[-LEAST:]) == [0, 0]
    assert engines(one, one[1 - LEAST :]) == [0, 1]


def test_what_a_unit_had_before_or_after_another_says_nothing_of_both() -> None:
    one = every(20, LEAST, 100)
    edges = every(23, 9, -120), every(23, 9, 300)
    assert engines(one, [*edges[0], *one, *edges[1]]) == [0, 0]
    # results a millisecond outside are still beside it
    wide = [one[0] - 1, *one[1:-1], one[-1] + 1]
    assert engines(one, [-100, *wide]) == [0, 0]


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_unit_goes_to_whom_it_is_most_with(share: float) -> None:
    one, two = every(20, 40, 0), every(20, 40, 9)
    away = {k for k in range(40) if (k * 7) % 10 < 10 * share}
    mine = [at + (5 if k in away and share > 0.1 else 0) for k, at in enumerate(two[1:-1])]
    expected = 1 if share <= 0.15 else 2
    assert engines(one, two, mine) == [0, 1, expected]
