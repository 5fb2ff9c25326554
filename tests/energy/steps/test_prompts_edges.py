"""Where the work before first results went: each rule on a few steps that are worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipw.energy.arrays import Floats
from ipw.energy.steps import filling, pace
from ipw.energy.steps.waiting import Queue

INF = float("inf")


def bools(*places: int, of: int) -> Any:
    found = np.zeros(of, bool)
    found[list(places)] = True
    return found


def queue(n: int, waiting: Any, next_work: Floats) -> Queue:
    none = np.zeros(0, np.int64)
    return Queue(none, none, np.zeros(0), waiting, np.zeros(n, bool), next_work, np.zeros(n, np.int64))


def carried(
    finishing: list[float], waiting: list[int], following: list[float], room: list[float], least: float = 1
) -> list[float]:
    n = len(finishing)
    made = queue(n, bools(*waiting, of=n), np.array(following))
    found: list[float] = filling.carried_on(np.array(finishing), made, np.array(room), np.full(n, least)).tolist()
    return found


def test_what_fits_beside_the_work_that_ends_is_taken_of_the_next_unit_and_never_all_of_it() -> None:
    # 40 end in the second step, of 30 + 40 that fit into both; the next unit has 100
    assert carried([0, 40, 0, 100], [1, 2], [40, 100, 100, 0], [0, 70, 50, 90]) == [0, 30, 80, 0]
    # its last token is done in the step at whose end its result comes
    assert carried([0, 40, 0, 0], [1, 2, 3], [40, 100, 100, 100], [0, 70, 500, 500]) == [0, 30, 99, 99]


def test_work_that_was_begun_leaves_more_room_in_the_step_that_ends_it() -> None:
    # 60 of the 100 were done before, so the step that ends them has 70 - 40 left for the next
    assert carried([0, 100, 0], [0, 1], [100, 50, 50], [60, 70, 0]) == [60, 30, 0]
    # more was done before than there was to do: that is no room beyond the step's own
    assert carried([0, 40, 0], [0, 1], [100, 50, 50], [60, 30, 0]) == [60, 30, 0]


def test_less_than_the_least_that_is_told_is_none_and_the_least_is_some() -> None:
    assert carried([0, 0], [0, 1], [100, 100], [5, 5], least=5) == [5, 10]
    assert carried([0, 0], [0, 1], [100, 100], [5, 5], least=5.1) == [0, 0]
    assert carried([30, 0], [0], [100, 100], [35, 0], least=5) == [5, 0]
    assert carried([30, 0], [0], [100, 100], [35, 0], least=5.1) == [0, 0]


def test_a_step_that_ends_work_while_none_waits_takes_none() -> None:
    assert carried([30, 0], [], [100, 100], [90, 90]) == [0, 0]


def done_before(finishing: list[float], waiting: list[int], fits: list[float], had: list[float]) -> list[float]:
    n = len(finishing)
    made = queue(n, bools(*waiting, of=n), np.full(n, 80.0))
    found: list[float] = filling.done_before(np.array(finishing), made, np.array(fits), np.array(had)).tolist()
    return found


def test_what_does_not_fit_into_a_step_was_done_in_those_before_as_far_as_it_waited() -> None:
    assert done_before([0, 0, 70], [0, 1], [INF, 25, 30], [0, 0, 0]) == [15, 40, 0]
    assert done_before([0, 0, 70], [1], [INF, 25, 30], [0, 0, 0]) == [0, 40, 0]  # it did not wait in the first
    assert done_before([0, 0, 70], [], [INF, 25, 30], [0, 0, 0]) == [0, 0, 0]
    assert done_before([0, 0, 70], [0, 1], [INF, 40, 30], [0, 40, 0]) == [0, 40, 0]  # as much was known to be
    assert done_before([0, 70], [0], [INF, 69], [0, 0]) == [1, 0]
    assert done_before([0, 70], [0], [INF, 70], [0, 0]) == [0, 0]
    # never the last of its tokens: that one is in the step with the result
    assert done_before([0, 90], [0], [INF, 5], [0, 0]) == [79, 0]


def test_what_is_left_of_the_step_before_counts_as_done() -> None:
    assert done_before([0, 90], [0], [INF, 60], [30, 0]) == [30, 0]
    assert done_before([0, 90], [0], [INF, 60], [29, 0]) == [30, 0]


def test_full_steps_tell_the_most_where_five_of_them_agree() -> None:
    full = np.ones(5, bool)
    totals = np.array([100.0, 100, 101, 99, 100])
    assert pace.most_by_lengths(totals, full) == 100
    assert pace.most_by_lengths(totals, full & (totals < 101)) == INF  # four are too few
    apart = np.array([100.0, 94.9, 105.1, 94.9, 105.1])
    assert pace.most_by_lengths(apart, full) == INF  # more than a twentieth of the middle one away, on the whole
    assert pace.most_by_lengths(np.array([100.0, 95.1, 104.9, 95.1, 104.9]), full) == 100


def test_where_work_always_waits_the_shortest_steps_are_those_that_only_go_on() -> None:
    n = 20
    seconds = np.concatenate([np.full(n, 0.010), np.full(n, 0.0114), np.full(n, 0.0116), [0.001, 0.001]])
    decoding = np.concatenate([np.ones(3 * n), [0, 1]])
    finishing = np.concatenate([np.zeros(3 * n), [0, 5]])
    always = np.ones(seconds.size, bool)
    found = pace.plain_steps(seconds, decoding, finishing, always)
    assert found.tolist() == [True] * (2 * n) + [False] * (n + 2)  # up to 1.15 times as long
    # as soon as there are enough without any that waits, they are
    some = always.copy()
    some[2 * n : 3 * n] = False
    assert pace.plain_steps(seconds, decoding, finishing, some).tolist() == (~some).tolist()
    some[2 * n] = True
    assert pace.plain_steps(seconds, decoding, finishing, some).tolist() == found.tolist()
    # where nothing goes on, there are none but those without work that waits
    assert pace.plain_steps(seconds, np.zeros(seconds.size), finishing, some).sum() == n - 1


def test_how_long_a_token_takes_is_a_line_through_steps_whose_work_is_known() -> None:
    n = 8
    tokens = 10 * np.arange(n + 2, dtype=np.float64)
    seconds: Floats = 0.02 + 0.0003 * tokens
    longer = np.ones(n + 2, bool)
    surely = longer & (np.arange(n + 2) < n)
    assert pace.speed(seconds, tokens, surely, longer) == pytest.approx((0.02, 0.0003))
    mean = 0.0, seconds.sum() / tokens.sum()
    for few in (surely & (tokens > 0), bools(*range(1, n), of=n + 2)):
        assert pace.speed(seconds, tokens, few, longer) == pytest.approx(mean)
    alike = np.full(n + 2, 50.0)
    assert pace.speed(seconds, alike, surely, longer) == pytest.approx((0.0, seconds.sum() / alike.sum()))
    falling: Floats = 0.05 - 0.0003 * tokens
    assert pace.speed(falling, tokens, surely, longer) == pytest.approx((0.0, falling.sum() / tokens.sum()))
    below: Floats = 0.0003 * (tokens + 10) - 0.001  # no step takes less than no time without work
    assert pace.speed(below, tokens + 10, surely, longer)[0] == 0
    # only those that lasted longer tell the mean, and nothing does where they did nothing
    assert pace.speed(seconds, tokens, bools(of=n + 2), tokens == 50) == pytest.approx((0, seconds[5] / 50))
    assert pace.speed(seconds, tokens, bools(of=n + 2), tokens == 0) == (0, 0)


def test_work_that_is_much_the_same_in_uneven_steps_tells_no_line() -> None:
    tokens = np.linspace(790.0, 900, 24)
    alike = np.ones(24, bool)
    uneven = 0.004 * np.tile([1.0, -1, -1, 1], 6)
    seconds: Floats = 0.02 + 0.00018 * tokens + uneven
    assert pace.speed(seconds, tokens, alike, alike) == (0.0, seconds.sum() / tokens.sum())
    # where it differs enough, steps as uneven tell it
    apart = np.linspace(100.0, 900, 24)
    told: Floats = 0.02 + 0.00018 * apart + uneven
    assert pace.speed(told, apart, alike, alike) == pytest.approx((0.02, 0.00018), rel=0.1)


def test_a_line_of_least_deviations_minds_no_step_that_was_held_up() -> None:
    x = np.arange(20.0)
    y = 3 + 0.5 * x
    y[[4, 9, 15]] += [40, 25, 60]
    assert pace.line(x, y) == pytest.approx((3, 0.5), rel=1e-3)
