"""The most that a step takes, told by queues that never empty, by what just missed a step, and by full engines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipw.energy.arrays import Bools, Floats, Ints, sums
from ipw.energy.steps import budget
from ipw.energy.steps.budget import TELLING_FROM_FIRST, told_by_counts
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.waiting import Queue, limited

MS = 1_000_000
NOTHING = np.inf
MOST, GOING_ON = 512.0, 3.0
ROOM = MOST - GOING_ON


def line(most: int, steps: int, hidden: int = 1) -> tuple[Floats, Floats, Floats]:
    """What ends with each step, what goes on in it and the work that comes next, where something always waits.

    The first step is so many `hidden` ones, in which nothing had begun.
    """
    work = np.random.default_rng(most).integers(most // 2, 2 * most, 3 * steps).astype(np.float64)
    work[0] = hidden * most - 5  # ends in the last of the hidden steps
    ends, done = np.cumsum(work), hidden * most + (most - GOING_ON) * np.arange(steps)
    step = np.searchsorted(done, ends)
    finishing = sums(step[step < steps], work[step < steps], steps)
    decoding: Floats = np.where(np.arange(steps) > 0, GOING_ON, 0.0)
    return finishing, decoding, work[np.searchsorted(ends, done, "right")]


# --- a queue that never empties --------------------------------------------------------------------------------------


def told_from_first(steps: int, hidden: int = 1, most: int = 500) -> float:
    finishing, decoding, following = line(most, steps, hidden)
    full = np.arange(steps) > 0  # of the first it is not known, since nothing had begun
    return told_by_counts(finishing, decoding, following, full).most


@pytest.mark.parametrize("hidden", [1, 2, 5, 8])
def test_a_queue_that_never_empties_tells_the_most_however_many_steps_the_first_one_was(hidden: int) -> None:
    assert told_from_first(200, hidden) == pytest.approx(500, abs=1)


def test_a_first_step_of_more_than_eight_tells_no_wrong_number() -> None:
    assert told_from_first(200, 12) in (NOTHING, pytest.approx(500, rel=0.02))


def test_fewer_than_forty_steps_from_the_first_on_tell_nothing() -> None:
    assert told_from_first(TELLING_FROM_FIRST + 1) == pytest.approx(500, abs=2)  # the first has nothing that goes on
    assert told_from_first(TELLING_FROM_FIRST) == NOTHING


# --- round numbers ---------------------------------------------------------------------------------------------------


def agreed(right: int, odd: int, number: float = 512.0) -> float:
    """The number that so many steps agree on within 8 tokens beside it, and odd ones that are all 10 tokens above."""
    low = np.append(np.full(right, number - 8), np.full(odd, number + 2))
    high = np.append(np.full(right, number + 11), np.full(odd, number + 9))
    return budget._agreed(low, high).most


def test_a_few_odd_steps_do_not_hide_a_round_number() -> None:
    assert agreed(98, 2) == 512  # all agree on 514 to 521, and all but two on 512 too
    assert agreed(48, 2) == 512  # two, however few agree
    assert agreed(97, 3) == 520
    assert agreed(294, 6) == 512  # or one in fifty
    assert agreed(293, 7) == 520


def test_a_number_that_is_not_round_is_not_preferred_to_that_on_which_more_agree() -> None:
    assert agreed(98, 2, 544.0) == 552  # 544 is 17 times 32, less round than 64
    assert agreed(98, 2, 576.0) == 576


def test_a_round_number_that_is_not_near_is_no_better_than_what_most_agree_on() -> None:
    # of 100, one step alone holds that it was 500 or more
    low, high = np.append(np.full(99, 400.0), 500.0), np.append(np.full(99, 509.0), 508.0)
    assert budget._agreed(low, high).most == 504
    low[:99] = 485.0
    assert budget._agreed(low, high).most == 504
    assert budget._agreed(np.append(low[:99] - 37, 500), high).most == 504  # 448 = 7 times 64, a tenth less


# --- what just missed a step -----------------------------------------------------------------------------------------

ENTRIES = 4
"""Units that have results in each step."""


def steps(n: int) -> Steps:
    end = (np.arange(n) + 1) * 100 * MS
    step = np.repeat(np.arange(n), ENTRIES).astype(np.int32)
    unit = np.tile(np.arange(ENTRIES), n).astype(np.int32)
    first, last = np.zeros(ENTRIES, np.int64), np.full(ENTRIES, n - 1)
    return Steps(end - 100 * MS, end, step, unit, np.ones(step.size), first, last)


def queue(asked: Bools, next_work: Floats, waited_ns: Ints) -> Queue:
    none = np.zeros(0, np.int64)
    return Queue(none, none, np.zeros(0), asked, asked, next_work, waited_ns)


def late(before_ns: int, *, misses: bool = True) -> tuple[Queue, float]:
    """Each fifth prompt is asked for so long before a step, and misses it or does not; steps take 512 tokens."""
    rng = np.random.default_rng(1)
    finishing, asked, following, waited = [], [], [], []
    for k in range(60):
        work = float(rng.integers(600, 1900))
        if k % 5 == 0 and misses:
            finishing.append(0.0)
            asked.append(True)
            following.append(work)
            waited.append(before_ns)
        rest = work
        while rest > ROOM:
            finishing.append(0.0)
            asked.append(True)
            following.append(work)
            waited.append(50 * MS if rest < work or k % 5 or misses else before_ns)
            rest -= ROOM
        finishing.append(work)
        asked.append(False)
        following.append(0.0)
        waited.append(0)
        finishing.append(0.0)  # and one that only goes on
        asked.append(False)
        following.append(0.0)
        waited.append(0)
    n = len(finishing)
    made = queue(np.array(asked), np.array(following), np.array(waited, np.int64))
    longer = np.array(asked) | (np.array(finishing) > 0)
    found, most, each = limited(steps(n), made, np.array(finishing), np.full(n, GOING_ON), longer)
    assert each == 1
    return found, most


@pytest.mark.parametrize("before_ms", [0.4, 1.4, 2.9])
def test_what_is_asked_for_shortly_before_a_step_may_miss_it(before_ms: float) -> None:
    found, most = late(int(before_ms * MS))
    assert most == MOST
    missed = found.waited_ns == int(before_ms * MS)
    assert missed.any()
    assert not found.asked[missed].any()
    assert found.asked[found.waited_ns == 50 * MS].all()


def test_what_was_asked_for_longer_than_3_ms_before_is_in_the_step_whatever_counts_say() -> None:
    found, most = late(int(3.1 * MS))
    assert most == NOTHING
    assert found.asked[found.waited_ns == int(3.1 * MS)].all()


def test_where_all_are_in_time_what_is_asked_for_shortly_before_a_step_is_in_it() -> None:
    found, most = late(int(0.4 * MS), misses=False)
    assert most == MOST
    assert (found.waited_ns == int(0.4 * MS)).any()
    assert found.asked.tolist() == (found.waited_ns > 0).tolist()


# --- an engine that runs only so many at once ------------------------------------------------------------------------


@pytest.mark.parametrize("lengths_tell", [False, True])
def test_what_waits_for_a_place_among_those_that_run_is_in_no_step_before(*, lengths_tell: bool) -> None:
    rng = np.random.default_rng(3)
    finishing, decoding, following = [], [], []
    for work in rng.integers(600, 1900, 80).tolist():
        alone = int(rng.integers(2, 5))  # steps with all four, while it waits
        taken = int(np.ceil(work / ROOM))  # one has ended, and it takes that one's place
        finishing += [0.0] * (alone + taken - 1) + [float(work)]
        decoding += [float(ENTRIES)] * alone + [GOING_ON] * taken
        following += [float(work)] * (alone + taken - 1) + [1000.0]
    n, ends, going_on = len(finishing), np.array(finishing), np.array(decoding)
    made = steps(n)  # four results in each but those that only take work
    seen = (np.arange(ENTRIES) < GOING_ON) | (going_on == ENTRIES)[:, None] | (ends > 0)[:, None]
    made = replace(
        made,
        entry_step=made.entry_step[seen.ravel()],
        entry_unit=made.entry_unit[seen.ravel()],
        entry_tokens=made.entry_tokens[seen.ravel()],
    )
    always = queue(np.ones(n, bool), np.array(following), np.full(n, 50 * MS))
    longer = (going_on == GOING_ON) | (not lengths_tell)
    found, most, _ = limited(made, always, ends, going_on, longer)
    assert most == MOST
    takes_more = (going_on == GOING_ON) & (ends == 0)
    assert found.asked.tolist() == found.waiting.tolist() == takes_more.tolist()
