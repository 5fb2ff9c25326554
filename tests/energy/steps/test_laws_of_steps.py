"""By which law steps draw what they cost: each against a case that is worked out, and how one is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ipw.energy.arrays import sums
from ipw.energy.steps.laws import (
    ASKED_FOR,
    HELD_UP,
    LIMIT_ASKED_FOR,
    LIMITS,
    NOTICED,
    Law,
    _left_open,
    likeliest,
    others,
    under,
)
from ipw.energy.steps.step_costs import Costs
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import COSTS, PROMPT, STEP, TOKEN, Work

SECOND = 1_000_000_000
N = 4


def work(*, unseen: float = 0.0) -> Work:
    """Four steps of two units each, of which the first has all the work before first results; the last is held up."""
    step = np.repeat(np.arange(N), 2)
    entry = np.zeros((len(COSTS), 2 * N))
    entry[STEP], entry[TOKEN], entry[PROMPT, 0] = 0.5, 1.0, 100.0
    per_step = np.stack([sums(step, row, N) for row in entry])
    longer = np.array([1.0, 1, 1, 3])
    more = np.array([0, unseen, 0, 0])
    return Work(
        np.tile([0, 1], N), step, entry, np.zeros(2 * N, bool), per_step, longer, longer, more, np.zeros(N), np.ones(N)
    )


def steps(*seconds: float) -> Steps:
    end = (np.cumsum(seconds) * SECOND).astype(np.int64)
    small, none = np.zeros(0, np.int32), np.zeros(0, np.int64)
    return Steps(
        end - (np.array(seconds) * SECOND).astype(np.int64), end, small, small, none.astype(np.float64), none, none
    )


def costs(misfit: float, joules: tuple[float, ...] = (1, 0, 0, 0), scatter: float = 0.1) -> Costs:
    return Costs(np.array(joules, float), np.zeros((4, 4)), scatter, 0.1, np.ones(1), misfit)


def test_a_step_costs_more_as_it_is_held_up_in_part_or_in_whole() -> None:
    for part, last in ((0.0, 1), (0.5, 2), (1.0, 3)):
        found = under(Law(part), work(), steps(1, 1, 1, 1))
        assert found.step[STEP].tolist() == [1, 1, 1, last]
        assert found.entry[STEP].tolist() == [0.5] * 6 + [last / 2] * 2
        assert found.step[PROMPT].tolist() == [100, 0, 0, 0]


def test_others_are_as_many_beside_those_seen_as_their_work_is_beside_that_which_was_asked_for() -> None:
    assert others(work(unseen=50)) == pytest.approx(0.5 * 2)  # half as much work as that of two in each step
    assert others(work()) == 0
    nothing = work(unseen=50)
    nothing.step[PROMPT] = 0
    assert others(nothing) == 0


def test_others_share_each_step_have_turns_and_the_work_that_nobody_asked_for() -> None:
    found = under(Law(unseen=True), work(unseen=100), steps(1, 1, 1, 1))
    assert found.entry[STEP].tolist() == pytest.approx([0.5 * 2 / 4] * 8)
    assert found.entry[TOKEN].tolist() == [1] * 8
    assert found.step[STEP].tolist() == [1] * 4
    assert found.step[TOKEN].tolist() == pytest.approx([2 + 2] * 4)
    assert found.step[PROMPT].tolist() == [100, 100, 0, 0]
    drafts = work(unseen=100)
    drafts.entry[TOKEN] *= 4
    drafts.step[TOKEN] *= 4
    assert under(Law(unseen=True), drafts, steps(1, 1, 1, 1)).step[TOKEN].tolist() == pytest.approx([4 * (2 + 2)] * 4)


def test_power_nears_a_limit_as_more_is_done_and_follows_the_costs_far_below_it() -> None:
    joules = np.array([2.0, 0, 0, 0])
    lengths = np.array([1e-3, 1, 1000, 2])
    found = under(Law(limit_w=10), work(), steps(*lengths), joules)
    drawn_w = 2 * found.step[STEP] / lengths
    assert drawn_w.tolist() == pytest.approx((10 * (1 - np.exp(-2 / lengths / 10))).tolist())
    assert drawn_w[0] == pytest.approx(10)
    assert drawn_w[2] == pytest.approx(2 / 1000, rel=2e-4)
    assert found.entry[STEP, 0] / found.step[STEP, 0] == 0.5
    # without costs, or without a limit, it is as it was
    assert under(Law(limit_w=10), work(), steps(*lengths)).step.tolist() == work().step.tolist()
    assert under(Law(), work(), steps(*lengths), joules).step.tolist() == work().step.tolist()
    still = under(Law(limit_w=10), work(), steps(*lengths), 0 * joules)
    assert still.step.tolist() == work().step.tolist()


def chosen(misfits: Callable[[float], float], *, unseen: float = 0.0) -> tuple[Law, int]:
    """The law that is chosen, given the misfit by how much steps cost in all, and how many were looked at."""
    looked: list[float] = []

    def full(done: Work) -> Costs:
        looked.append(float(done.step[STEP].sum()))
        return costs(misfits(looked[-1]))

    law, found, _ = likeliest(work(unseen=unseen), steps(1, 1, 1, 1), lambda _: costs(0.0), full)
    assert (
        law.limit_w < np.inf or found.step.tolist() == under(law, work(unseen=unseen), steps(1, 1, 1, 1)).step.tolist()
    )
    return law, len(looked)


def test_the_plainest_law_holds_unless_ticks_ask_for_another() -> None:
    def held_up(better: float) -> Callable[[float], float]:
        return lambda total: 100.0 - better * (total == 5)  # 5: held up by half

    assert chosen(held_up(0.9 * ASKED_FOR))[0] == Law()
    assert chosen(held_up(1.1 * ASKED_FOR))[0] == Law(0.5)


@pytest.mark.parametrize(("unseen", "more"), [(100 * NOTICED, 0), (101 * NOTICED, 1)])
def test_others_are_thought_of_where_more_than_a_fiftieth_of_the_work_is_not_asked_for(
    unseen: float, more: int
) -> None:
    # three by how steps are held up, five limits and three pairs of finer ones where a limit is better
    assert chosen(lambda _: 100.0, unseen=unseen)[1] == len(HELD_UP) + more + len(LIMITS)


def test_a_limit_of_power_must_be_asked_for_too_and_is_then_looked_at_more_finely() -> None:
    def limited(better: float) -> Callable[[float], float]:
        return lambda total: 100.0 - better * (total < 3.6)

    law, looked = chosen(limited(0.9 * LIMIT_ASKED_FOR))
    assert law == Law()
    assert looked == 8
    law, looked = chosen(limited(1.1 * LIMIT_ASKED_FOR))
    assert np.isfinite(law.limit_w)
    assert looked == 8 + 2 * 3


def test_of_limits_the_one_that_suits_best_is_taken_and_then_those_a_little_beside_it() -> None:
    seen: list[float] = []

    def best_at(limit_w: float) -> Callable[[float], float]:
        total = 4 * limit_w * (1 - np.exp(-1 / limit_w))  # four steps of 1 J and 1 s each

        def misfit(done: float) -> float:
            seen.append(done)
            return 900.0 if abs(done - 4) < 1e-9 else 1000 * abs(done - total)

        return misfit

    assert chosen(best_at(2.0))[0].limit_w == pytest.approx(2.0)
    assert chosen(best_at(2.5))[0].limit_w == pytest.approx(2.5)  # a quarter more
    assert chosen(best_at(1.6))[0].limit_w == pytest.approx(1.6)  # a fifth less
    assert chosen(best_at(0.64))[0].limit_w == pytest.approx(0.64)


@pytest.mark.parametrize(
    ("unseen", "by_others", "expected"),
    [(50.0, 60.0, Law(unseen=True)), (50.0, 900.0, Law(1.0)), (5.0, 60.0, Law(1.0))],
)
def test_power_in_all_of_longer_steps_may_be_that_of_others_where_that_explains_as_much(
    unseen: float, by_others: float, expected: Law
) -> None:
    def full(done: Work) -> Costs:
        if done.step[PROMPT].sum() > 100:
            return costs(by_others)
        return costs({4: 1000.0, 5: 500.0, 6: 50.0}.get(round(float(done.step[STEP].sum())), 1000.0))

    law, *_ = likeliest(work(unseen=unseen), steps(1, 1, 1, 1), lambda _: costs(0.0), full)
    assert law == expected


def test_limits_that_ticks_do_not_rule_out_leave_costs_open_by_how_far_they_move_them() -> None:
    better = 0.9 * LIMIT_ASKED_FOR  # not enough to believe in a limit

    def full(done: Work) -> Costs:
        limited = done.step[STEP].sum() < 4 - 1e-9
        return costs(100 - better * limited, (3, 0, 1, 0) if limited else (1, 0, 0, 0))

    law, _, open_j2 = likeliest(work(), steps(1, 1, 1, 1), lambda _: costs(0.0), full)
    assert law == Law()
    weight = 1 / (1 + np.exp(-better / 2))
    assert open_j2 == pytest.approx(weight * np.outer([2, 0, 1, 0], [2, 0, 1, 0]))
    # none that is less likely by far, and of one that is as likely, a half
    assert _left_open(costs(0.0), [costs(0.0), costs(200.0, (9, 0, 0, 0))]) == pytest.approx(np.zeros((4, 4)))
    alike = _left_open(costs(0.0), [costs(0.0), costs(0.0, (3, 0, 0, 0)), costs(0.0, (1, 0, 0, 4))])
    assert alike[STEP, STEP] == pytest.approx(2**2 / 4)
    assert alike[3, 3] == pytest.approx(4**2 / 4)


def test_where_steps_depart_from_the_best_law_for_long_others_are_ruled_out_by_as_much_less() -> None:
    def left(lasting: float, of_other: float = 1.0) -> float:
        best = replace(costs(0.0, (1, 0, 0, 0)), lasting=lasting)
        other = replace(costs(6.0, (7, 0, 0, 0)), lasting=of_other)
        return float(_left_open(best, [best, other])[STEP, STEP])

    assert left(1) == pytest.approx(6**2 * np.exp(-3) / (1 + np.exp(-3)))
    assert left(3) == pytest.approx(6**2 * np.exp(-1) / (1 + np.exp(-1)))
    assert left(1, 20) == left(1)  # that they do from a law that is much less likely says nothing of the best
