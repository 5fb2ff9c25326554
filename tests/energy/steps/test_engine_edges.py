"""At which evidence an engine is believed to compute in steps: streams just within each limit, and just beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from ipw.energy.steps import engine as engines
from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.engine import Engine, engine_of
from ipw.energy.steps.steps import Steps

MS = 1_000_000
PERIOD_MS = 20.0
When = Callable[[int, int], Iterable[float]]
"""Of a step's number and a unit's place: how many ms after the step's end its chunks come."""


def served(units: int, steps: int, when: When = lambda _, u: [0.05 * u], *, beside: int = 4) -> Engine:
    """Units in rounds of `beside`, half a second apart, for so many steps each."""
    asked, rows = [], []
    for unit in range(units):
        begin, place = (unit // beside) * (steps * PERIOD_MS + 500) + 10, unit % beside
        mine = [begin + PERIOD_MS * k + at for k in range(steps) for at in when(k, place)]
        rows += [(at, unit) for at in mine]
        asked.append((begin - 5, mine[0], mine[-1], 9, max(len(mine), 2), 0))
    t, of = (np.array(column) for column in zip(*sorted(rows), strict=True))
    table = np.array(asked)
    times, counts = (table[:, :3] * MS).astype(np.int64), table[:, 3:].astype(np.int64)
    arrivals = Arrivals((t * MS).astype(np.int64), np.ones(t.size, np.int64), of.astype(np.int32))
    return engine_of(Requests(*times.T, *counts.T), arrivals)


def is_told(found: Engine) -> bool:
    assert found.told == (found.kind != "unknown")
    return found.told


def test_two_hundred_chunks_beside_others_tell_and_fewer_do_not() -> None:
    assert served(2, 101, beside=2).kind == "static batches"
    assert served(2, 100, beside=2).kind == "one at a time"


def left_out(one_in: int, of: int) -> When:
    """In `one_in` of `of` steps a unit has no result, but never in its first ones."""
    return lambda k, u: [] if k > 3 and (k + 2 * u) % of < one_in else [0.05 * u]


@pytest.mark.parametrize(("when", "told"), [(left_out(5, 24), True), (left_out(7, 24), False)])
def test_three_in_four_of_those_in_flight_have_a_result_in_each_step(when: When, told: bool) -> None:
    found = served(8, 200, when)
    assert found.evidence["attended"] == pytest.approx(0.8 if told else 0.72, abs=0.03)
    assert is_told(found) == told


@pytest.mark.parametrize(("last_ms", "told"), [(6.8, True), (7.2, False)])
def test_bursts_last_a_third_of_the_time_between_them_at_most(last_ms: float, told: bool) -> None:
    found = served(8, 60, lambda _, u: [last_ms * u / 3])
    assert found.evidence["spread"] == pytest.approx(last_ms / PERIOD_MS, abs=0.002)
    assert is_told(found) == told


@pytest.mark.parametrize(("of", "told"), [(18, True), (10, False)])
def test_chunks_are_the_only_ones_of_their_unit_in_a_step_but_for_one_in_fourteen(of: int, told: bool) -> None:
    found = served(8, 90, lambda k, u: [0.05 * u, *([0.35] if (k + u) % of == 1 else [])])
    assert found.evidence["once"] == pytest.approx(1 / (1 + 1 / of), abs=0.01)
    assert is_told(found) == told


@pytest.mark.parametrize(("of", "told"), [(3, True), (2, False)])
def test_chunks_that_come_with_another_of_their_unit_were_gathered_on_the_way(of: int, told: bool) -> None:
    found = served(8, 60, lambda k, u: [0.05 * u] * (2 if (k + u) % of == 1 else 1))
    assert is_told(found) == told
    if not told:
        assert found.why == "33% of the chunks came along with the one before"
        assert found.sure == pytest.approx(1 / 3)


@pytest.mark.parametrize(("whole", "told"), [(1, True), (2, False)])
def test_of_twenty_units_one_may_come_as_a_whole(whole: int, told: bool) -> None:
    table, rows = [], []
    for unit in range(20):
        times = [unit * 1000.0 + 20 * k for k in range(1 if unit < whole else 30)]
        table.append((times[0] - 5, times[0], times[-1] + 1, 9, 30, 0))
        rows += [(at, unit) for at in times]
    t, of = (np.array(column) for column in zip(*sorted(rows), strict=True))
    asked = np.array(table)
    arrivals = Arrivals((t * MS).astype(np.int64), np.ones(t.size, np.int64), of.astype(np.int32))
    found = engine_of(Requests(*(asked[:, :3] * MS).astype(np.int64).T, *asked[:, 3:].astype(np.int64).T), arrivals)
    assert found.kind == ("one at a time" if told else "unknown")
    assert told or found.why == "only 90 % of the answers came in several chunks"


def test_a_burst_is_never_cut_where_a_piece_of_a_long_run_begins() -> None:
    t = np.array([0, 1, 2, 10, 11, 20]) * MS
    assert [engines._edge(t, at * MS, 3.0 * MS) for at in (0, 1, 2, 3, 10, 11, 12, 20, 21)] == [
        0,
        3,
        3,
        3,
        3,
        5,
        5,
        5,
        6,
    ]
    assert engines._edge(t, 11 * MS, 1.0 * MS) == 5  # a pause of the very length does not part
    assert engines._edge(t, 11 * MS, 0.9 * MS) == 4


def test_how_long_steps_last_is_told_as_one_in_twenty_the_middle_and_nineteen_in_twenty() -> None:
    end = np.cumsum(np.arange(1, 102)) * MS
    small, none = np.zeros(0, np.int32), np.zeros(0, np.int64)
    steps = Steps(end - np.arange(1, 102) * MS, end, small, small, none.astype(np.float64), none, none)
    found = Engine("steps", 0.9, "so", {}, steps)
    assert found.step_ms == pytest.approx((6, 51, 96))
    assert (found.count, found.told) == (101, True)
    assert found.facts() == {
        "kind": "steps",
        "sure": 0.9,
        "why": "so",
        "evidence": {},
        "steps": 101,
        "step_ms": [6, 51, 96],
    }
