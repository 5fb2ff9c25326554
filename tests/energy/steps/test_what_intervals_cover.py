"""What the interval of an owner in steps covers beside ticks: ends seen late, wrong costs, and overhead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ipw.energy.arrays import MEDIAN_SD, Floats, sums
from ipw.energy.steps.by_work import DELAY_S, LAWLESS, _ends_variance, _variance
from ipw.energy.steps.step_costs import BY_CHANCE, Costs
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import COSTS, PROMPT, STEP, TOKEN, Work

SECOND = 1_000_000_000


def work_of(
    unit: Sequence[int], step: Sequence[int], entry: Floats, due_s: Sequence[float], overhead: float = 0
) -> Work:
    n = len(due_s)
    where, ones = np.array(step), np.ones(n)
    per_step = np.stack([sums(where, row, n) for row in entry])
    return Work(
        np.array(unit), where, entry, np.zeros(len(unit), bool), per_step, ones, ones, 0 * ones, overhead * ones,
        np.array(due_s),
    )  # fmt: skip


# --- ends that were seen late ----------------------------------------------------------------------------------------

LATE_J2 = (0.25 * 10) ** 2 / 3
"""A quarter of the 10 J of a step, or any less, is of the next one."""


def ends(shares: Sequence[Sequence[float]], *late: int) -> list[float]:
    """J²: of owners that had such shares in steps of a second and 10 J, of which some seem a quarter too long."""
    table = np.array(shares)
    n = table.shape[1]
    unit, step = np.nonzero(table)
    small, none = np.zeros(0, np.int32), np.zeros(0, np.int64)
    end = (np.arange(n) + 1) * SECOND
    steps = Steps(end - SECOND, end, small, small, np.zeros(0), none, none)
    due_s = [0.75 if k in late else 1.0 for k in range(n)]
    work = work_of(unit.tolist(), step.tolist(), np.zeros((4, unit.size)), due_s)
    found: list[float] = _ends_variance(steps, work, 10 * table[unit, step], np.full(n, 10.0), table.shape[0]).tolist()
    return found


def test_an_end_seen_late_moves_what_the_share_of_an_owner_changes_by_from_step_to_step() -> None:
    found = ends([[0.5, 0.5, 0.75], [0.5, 0.5, 0.25]], 1)
    assert found == pytest.approx([0.25**2 * LATE_J2] * 2)


def test_of_who_begins_or_ends_there_it_moves_the_whole_share() -> None:
    found = ends([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]], 1)
    assert found == pytest.approx([0.5**2 * LATE_J2, 0.5**2 * LATE_J2, 0])


def test_it_moves_nothing_of_owners_with_the_same_share_in_both_steps() -> None:
    assert ends([[0.25, 0.25, 0.25], [0.75, 0.75, 0.75]], 1) == [0, 0]


def test_a_step_that_lasted_as_long_as_it_should_was_seen_to_end_in_time() -> None:
    assert ends([[0.5, 0, 0], [0.5, 1, 1]]) == [0, 0]


def test_the_end_of_the_last_step_is_seen_late_too() -> None:
    assert ends([[0, 1.0], [1.0, 0]], 1) == pytest.approx([LATE_J2, 0])


def test_an_owner_with_several_entries_in_a_step_has_their_sum() -> None:
    small, none = np.zeros(0, np.int32), np.zeros(0, np.int64)
    end = np.array([1, 2, 3]) * SECOND
    steps = Steps(end - SECOND, end, small, small, np.zeros(0), none, none)
    work = work_of([0, 1, 0, 0], [2, 2, 1, 2], np.zeros((4, 4)), [1.0, 0.75, 1.0])  # in no order of time
    by_entry = np.array([2.0, 5.0, 5.0, 3.0])
    assert _ends_variance(steps, work, by_entry, np.array([1.0, 5, 10]), 2) == pytest.approx(
        [(0.5 - 1) ** 2 * (0.25 * 5) ** 2 / 3, 0.5**2 * (0.25 * 5) ** 2 / 3]
    )


# --- costs and overhead ----------------------------------------------------------------------------------------------

STEP_J, TOKEN_J, PROMPT_J = 2.0, 0.1, 0.04
ROWS = {STEP: 0.5 - 5 / 6.1, TOKEN: 0 - 5 / 6.1, PROMPT: 100 - 5 / 6.1 * 100}
"""Of the first owner: what it did in the second step, less its share of 5 J of 6.1 J of what was done there. In the
first step, both did the same."""


def left_open(
    *,
    due_s: Sequence[float] = (0.02, 0.02),
    overhead: Sequence[float] = (0, 0),
    sd: float = 0.0,
    lasting: float = 1.0,
    token_j: float = TOKEN_J,
    odd: float = 1.0,
) -> list[float]:
    """J²: of two owners, the first of which has a prompt of 100 tokens in the second step, where costs are known."""
    entry = np.zeros((len(COSTS), 4))
    entry[STEP], entry[TOKEN], entry[PROMPT] = 0.5, [1, 1, 0, 1], [0, 0, 100, 0]
    work = work_of([0, 1, 0, 1], [0, 0, 1, 1], entry, due_s)._replace(overhead=np.array(overhead), odd=np.full(2, odd))
    joules = np.array([STEP_J, token_j, PROMPT_J, 0])
    costs = Costs(joules, np.zeros((4, 4)), 0.01, 0.1, np.ones(1), 0.0, lasting=lasting)
    by_entry = joules @ entry
    found: list[float] = _variance(work, costs, by_entry, joules @ work.step, np.ones(2), 2, sd).tolist()
    return found


def moved_j2(less: float) -> list[float]:
    """J²: of both, where the second step may draw so much less, as a fraction, and no token costs anything.

    The first step, which has no prompt in it, tells what a step costs. So of the 6 J of the second one, the prompt then
    has more, and 5 J of 6 J of that was taken from all in it.
    """
    more_j = less * (STEP_J + 100 * PROMPT_J)
    return [(more_j * (1 - 5 / 6)) ** 2] * 2


def test_costs_that_are_known_leave_nothing_open_where_all_steps_have_the_same_part_of_overhead() -> None:
    assert left_open() == [0, 0]
    assert left_open(overhead=(0.2, 0.2), sd=0.5) == [0, 0]


def test_costs_that_steps_depart_from_for_long_are_known_to_a_hundredth_each() -> None:
    whole = sum((LAWLESS * cost * ROWS[k]) ** 2 for k, cost in ((STEP, STEP_J), (TOKEN, TOKEN_J), (PROMPT, PROMPT_J)))
    assert left_open(lasting=BY_CHANCE) == [0, 0]
    assert left_open(lasting=BY_CHANCE + 1) == pytest.approx([whole] * 2)  # what one has too much, the other lacks
    assert left_open(lasting=BY_CHANCE + 0.5) == pytest.approx([whole / 4] * 2)


def test_overhead_that_draws_more_or_less_moves_costs_such_that_steps_still_draw_what_they_draw() -> None:
    assert left_open(overhead=(0.2, 0.05), sd=0.35, token_j=0) == pytest.approx(moved_j2(0.35 * 0.15))
    assert left_open(overhead=(0.2, 0.05), sd=0, token_j=0) == [0, 0]


def test_where_overhead_is_not_told_two_milliseconds_of_each_step_may_be() -> None:
    less = (DELAY_S / 0.02 - DELAY_S / 0.1) / np.sqrt(3)  # anywhere from none to all of it: uniform
    assert left_open(due_s=(0.02, 0.1), token_j=0) == pytest.approx(moved_j2(less))
    assert left_open(due_s=(0.001, 0.002)) == [0, 0]  # never more than all of a step


def test_more_of_each_may_be_where_steps_are_held_up_by_more_or_less() -> None:
    delay_s = 3 * MEDIAN_SD * 0.06 * (0.04 + 0.08) / 2  # three times the standard deviation
    assert delay_s > DELAY_S
    less = (delay_s / 0.04 - delay_s / 0.08) / np.sqrt(3)
    for odd in (0.94, 1.06):
        assert left_open(due_s=(0.04, 0.08), token_j=0, odd=odd) == pytest.approx(moved_j2(less))
    assert left_open(overhead=(0.2, 0.05), sd=0.35, token_j=0, odd=1.1) == pytest.approx(moved_j2(0.35 * 0.15))
