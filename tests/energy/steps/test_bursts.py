"""Bursts of results, each part by hand: where they are cut, who was in flight, how alike they are to steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipw.energy.steps import bursts as module
from ipw.energy.steps.arrivals import Arrivals
from ipw.energy.steps.bursts import TOGETHER_NS, Bursts, Fit, _entries, best_gap, bursts, fit, joined
from ipw.energy.steps.by_unit import by_unit, in_flight

MS = 1_000_000


def arrivals(*rows: tuple[float, int]) -> Arrivals:
    """(ms, unit), a token each."""
    t = np.array([round(at * MS) for at, _ in rows], np.int64)
    return Arrivals(t, np.ones(t.size, np.int64), np.array([unit for _, unit in rows], np.int32))


def told(found: Bursts) -> tuple[Any, ...]:
    return found.of.tolist(), (found.first_ns / MS).tolist(), (found.last_ns / MS).tolist()


def test_a_burst_ends_where_nothing_came_for_longer_than_the_pause() -> None:
    seen = arrivals((0, 0), (1, 1), (2, 0), (10, 0), (10.5, 1), (30, 0))
    assert told(bursts(seen, 5 * MS)) == ([0, 0, 0, 1, 1, 2], [0, 10, 30], [2, 10.5, 30])
    assert told(bursts(seen, 8 * MS)) == ([0, 0, 0, 0, 0, 1], [0, 30], [10.5, 30])  # the pause itself is none
    assert told(bursts(seen, 0.9 * MS))[0] == [0, 1, 2, 3, 3, 4]
    assert told(bursts(arrivals(), MS)) == ([], [], [])
    assert told(bursts(arrivals((3, 0)), MS)) == ([0], [3], [3])


def test_an_entry_is_the_first_arrival_of_a_unit_in_a_burst() -> None:
    of, unit = np.array([0, 0, 0, 1, 1, 1], np.int32), np.array([5, 5, 2, 5, 2, 5])
    whose = by_unit(Arrivals(np.arange(6), np.ones(6, int), unit))
    assert _entries(of, whose).tolist() == [True, False, True, True, True, False]


def test_a_unit_attends_where_it_has_a_result_between_its_first_and_its_last() -> None:
    # unit 0 in all four bursts, unit 7 in the second and the fourth: it misses the third
    seen = arrivals((0, 0), (10, 0), (10.2, 7), (20, 0), (30, 0), (30.4, 7))
    found = fit(seen, bursts(seen, 5 * MS))
    assert found.attended == pytest.approx(5 / 6)  # two in flight in three bursts
    assert (found.once, found.shared) == (1.0, 5)
    assert found.score == pytest.approx(5 / 6)
    assert found.spread == pytest.approx(0.2 / 10)  # the last burst has none behind it


def test_arrivals_of_a_unit_alone_say_nothing() -> None:
    seen = arrivals((0, 0), (10, 0), (20, 1), (30, 1))
    assert fit(seen, bursts(seen, 5 * MS)) == Fit(0.0, 0.0, 0.0, 0)
    assert fit(arrivals(), bursts(arrivals(), MS)) == Fit(0.0, 0.0, 0.0, 0)


def test_chunks_of_a_unit_in_one_burst_are_several_unless_they_were_sent_as_one() -> None:
    together = TOGETHER_NS / MS
    apart = arrivals((0, 0), (0.1, 1), (10, 0), (10.1, 1), (10.1 + together + 0.001, 1), (20, 0), (20.1, 1))
    assert fit(apart, bursts(apart, 5 * MS)).once == pytest.approx(6 / 7)
    as_one = arrivals((0, 0), (0.1, 1), (10, 0), (10.1, 1), (10.1 + together, 1), (20, 0), (20.1, 1))
    found = fit(as_one, bursts(as_one, 5 * MS))
    assert (found.once, found.shared) == (1.0, 6)
    assert fit(apart, bursts(apart, 5 * MS)).shared == 7


def test_a_chunk_that_came_along_belongs_to_the_burst_before_and_counts_once() -> None:
    # of another unit, a chunk so near is its own
    seen = arrivals((0, 0), (0.05, 1), (0.1, 0), (10, 0), (10.05, 1))
    assert fit(seen, bursts(seen, 5 * MS)).shared == 4


def test_how_long_bursts_last_is_told_by_nine_in_ten_of_those_that_last_at_all() -> None:
    rows: list[tuple[float, int]] = []
    lengths = [0.1 * (k + 1) for k in range(11)] + [0.0]
    for k, length in enumerate(lengths):
        rows += [(10.0 * k, 0), (10.0 * k + length, 1)]
    seen = arrivals(*rows, (200, 0), (200.3, 1))
    found = fit(seen, bursts(seen, 5 * MS))
    shares = [length / 10 for length in lengths[:-1]]  # the one of no length is none, and the last has no next
    assert found.spread == pytest.approx(float(np.quantile(shares, 0.9)))


def test_stretches_count_by_how_much_was_seen_in_each() -> None:
    found = joined([Fit(1.0, 0.5, 0.2, 30, 8.0), Fit(0.2, 0.9, 0.4, 10, 4.0)])
    assert tuple(found) == pytest.approx((0.8, 0.6, 0.25, 40, 7))
    assert joined([Fit(1.0, 1.0, 1.0, 0)] * 2) == Fit(0.0, 0.0, 0.0, 0)


def test_the_pause_lies_between_what_parts_chunks_of_a_step_and_what_parts_steps() -> None:
    rng = np.random.default_rng(0)
    rows = [(20.0 * k + 0.4 * unit + 0.1 * rng.random(), unit) for k in range(40) for unit in range(4)]
    gap, found = best_gap(arrivals(*rows))
    assert 0.5 * MS < gap < 18.7 * MS
    assert found.score == 1.0
    assert found.shared >= 158, "all but what stands at the edges"
    # of the pauses that do as well the middle one is taken: far from either end
    assert 1.5 * MS < gap < 7 * MS


def test_a_long_run_is_looked_at_in_a_few_stretches_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = arrivals(*((float(k), k % 3) for k in range(100)))
    monkeypatch.setattr(module, "SAMPLE", 100)
    assert module.stretches(seen) == [seen]
    monkeypatch.setattr(module, "SAMPLE", 40)
    parts = module.stretches(seen)
    assert [(part.t_ns / MS).tolist() for part in parts] == [
        [float(start + k) for k in range(10)] for start in (0, 30, 60, 90)
    ]
    assert [part.unit[0] for part in parts] == [0, 0, 0, 0]
    assert all(part.tokens.size == part.unit.size == 10 for part in parts)


def test_a_burst_is_parted_between_two_results_of_one_unit_and_not_of_two() -> None:
    steps = [(20.0 * k + 0.1 * unit, unit) for k in range(12) for unit in (0, 1)]
    alike = [*steps, (300.0, 0), (303.0, 1)]  # two units a while apart, but not for the pause
    twice = [*steps, (300.0, 0), (300.2, 1), (303.0, 0), (303.1, 1)]
    near = [*steps, (300.0, 0), (300.2, 1), (301.2, 0), (301.3, 1)]  # less than a quarter of the pause
    assert bursts(arrivals(*alike), 5 * MS).first_ns.size == 13
    assert (bursts(arrivals(*twice), 5 * MS).first_ns[-2:] / MS).tolist() == [300, 303]
    assert bursts(arrivals(*near), 5 * MS).first_ns.size == 13


def test_bursts_of_many_may_last_longer_than_those_of_few_which_may_be_so_by_chance() -> None:
    assert Fit(1.0, 1.0, 0.35, 1000, 2.0).close
    assert not Fit(1.0, 1.0, 0.42, 1000, 8.0).close
    assert Fit(1.0, 1.0, 0.42, 1000, 60.0).close
    assert not Fit(1.0, 1.0, 0.9, 1000, 60.0).close


def test_a_unit_is_in_flight_from_the_burst_of_its_first_result_to_that_of_its_last() -> None:
    seen = arrivals((0, 0), (10, 0), (10, 1), (20, 0), (30, 1), (40, 2))
    whose = by_unit(seen)
    assert (whose.first.tolist(), whose.last.tolist()) == ([0, 2, 5], [3, 4, 5])
    assert in_flight(whose, np.array([0, 1, 1, 2, 3, 4]), 5).tolist() == [1, 2, 2, 1, 1]
    assert in_flight(by_unit(arrivals()), np.zeros(0, int), 0).size == 0
