"""Where counts tell the most that a step takes, they tell which steps were full: a few steps by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ipw.energy.arrays import Floats
from ipw.energy.steps.filling import by_counts
from ipw.energy.steps.waiting import Queue

MS = 1_000_000
NOTHING = float("inf")


def filled(
    asked: Sequence[int],
    seconds: Sequence[float],
    *,
    decoding: Sequence[float] = (),
    finishing: Sequence[float] = (),
    work: float = 1000.0,
    waited_ms: Sequence[float] = (),
    told: float = 100.0,
) -> tuple[list[bool], list[float]]:
    """Which steps are full, and how many each is, where something waits in those `asked`; two go on in each."""
    n = len(seconds)
    waits = np.array(asked) > 0
    none, long_ago = np.zeros(0, np.int64), np.full(n, 10_000)
    waited_ns = np.array(waited_ms or long_ago) * MS
    queue = Queue(none, none, np.zeros(0), waits, waits, np.full(n, work), waited_ns.astype(np.int64))
    ends: Floats = np.array(finishing or np.zeros(n), np.float64)
    goes_on: Floats = np.array(decoding or np.full(n, 2.0), np.float64)
    full, passes = by_counts(queue, np.array(seconds), ends, goes_on, told)
    return full.tolist(), passes.tolist()


def test_a_step_after_which_something_still_waits_was_full() -> None:
    assert filled([1, 1, 0, 1], [0.1] * 4) == ([True, True, False, True], [1, 1, 1, 1])


def test_where_counts_do_not_tell_the_most_no_step_is_known_to_be_full() -> None:
    assert filled([1, 1, 0, 1], [0.1] * 4, told=NOTHING) == ([False] * 4, [1, 1, 1, 1])
    assert filled([0] * 4, [0.1] * 4) == ([False] * 4, [1, 1, 1, 1])


def test_a_first_step_in_which_nothing_had_begun_is_as_many_as_full_ones_last_as_long() -> None:
    nothing_yet = (0, 2, 2, 2)
    assert filled([1, 1, 1, 1], [0.31, 0.1, 0.1, 0.1], decoding=nothing_yet) == (
        [False, True, True, True],
        [3, 1, 1, 1],
    )
    assert filled([1, 1, 1, 1], [0.02, 0.1, 0.1, 0.1], decoding=nothing_yet)[1] == [1, 1, 1, 1]
    assert filled([0, 1, 1, 1], [0.31, 0.1, 0.1, 0.1], decoding=nothing_yet)[1] == [1, 1, 1, 1]  # nothing waited in it
    assert filled([1, 1, 1, 1], [0.31, 0.31, 0.1, 0.1])[1] == [1, 1, 1, 1]  # something goes on: its end was seen


@pytest.mark.parametrize(("seconds", "full"), [(0.072, True), (0.068, False)])
def test_a_step_much_shorter_than_full_ones_is_not_full(seconds: float, *, full: bool) -> None:
    assert filled([1, 1, 1, 1], [0.1, 0.1, 0.1, seconds])[0] == [True, True, True, full]


def missed(work: float, ms_before: float) -> list[bool]:
    """The result of this work comes at the end of the third step; it was asked for so long before the first."""
    waited = (ms_before, 100 + ms_before, 200 + ms_before, 0)
    return filled([1, 1, 0, 0], [0.1] * 4, finishing=(0, 0, work, 0), work=work, waited_ms=waited)[0]


def test_a_step_that_was_just_missed_is_left_out() -> None:
    # 98 beside two that go on: 150 would have been done by the second of two full steps, and came with the third
    assert missed(150, 1) == [False, True, False, False]
    # 197 are just done by the second but for their last token: that is done in the step with the result
    assert missed(197, 1) == [False, True, False, False]
    assert missed(198, 1) == [True, True, False, False]


def test_a_step_is_just_missed_only_by_what_was_asked_for_a_fifth_of_a_short_step_before_it() -> None:
    assert missed(150, 19) == [False, True, False, False]
    assert missed(150, 21) == [True, True, False, False]


def test_of_a_run_of_full_steps_it_is_the_one_asked_for_the_shortest_time_before_that_was_missed() -> None:
    full, _ = filled(
        [1, 1, 1, 1, 0],
        [0.1] * 5,
        finishing=(0, 98, 0, 0, 240),
        work=240,
        waited_ms=(300, 400, 5, 105, 205),
    )
    assert full == [True, True, False, True, False]
