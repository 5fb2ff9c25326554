"""What ticks must tell before a law or a cost is believed, where steps depart from their costs for long."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from ipw.energy.arrays import Floats, sums
from ipw.energy.steps import step_costs
from ipw.energy.steps.laws import LIMIT_ASKED_FOR, OVERHEAD_SD, OVERHEADS, SURER, Law, likeliest, under
from ipw.energy.steps.step_costs import BY_CHANCE, CONTEXT_ASKED_FOR, FEWEST_ROWS, ROWS, Costs, Ticks, costs_of
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import CONTEXT, COSTS, PROMPT, STEP, TOKEN, Work

SECOND = 1_000_000_000
SURE = BY_CHANCE + 1
"""How long steps depart from their costs, where that they do is sure."""


# --- how long steps depart from their costs --------------------------------------------------------------------------


def white(n: int) -> Floats:
    return np.random.default_rng(1).standard_normal(n)


def test_surprises_that_are_each_on_its_own_add_up_by_no_more_than_chance_has_it() -> None:
    assert 1 <= step_costs._lasting(white(4000)) <= BY_CHANCE
    assert step_costs._lasting(5 + white(4000)) == pytest.approx(step_costs._lasting(white(4000)))
    assert step_costs._lasting(np.tile([1.0, -1], 2000)) == 1  # never less


@pytest.mark.parametrize("long", [2, 5, 20])
def test_sums_vary_by_as_many_times_more_as_neighbours_agree(long: int) -> None:
    alike: Floats = np.repeat(white(4000)[: 4000 // long], long)
    assert step_costs._lasting(alike) == pytest.approx(long, rel=0.3)
    assert step_costs._lasting(alike * 7) == pytest.approx(step_costs._lasting(alike))


def test_too_few_ticks_tell_nothing_of_it() -> None:
    alike: Floats = np.repeat([1.0, -1] * FEWEST_ROWS, ROWS[0])
    enough = FEWEST_ROWS * ROWS[0]
    assert step_costs._lasting(alike[:enough]) == pytest.approx(ROWS[0])
    assert step_costs._lasting(alike[: enough - 1]) == 1
    assert step_costs._lasting(np.zeros(0)) == step_costs._lasting(np.zeros(enough)) == 1


def costs(misfit: float, lasting: float = 1.0, joules: tuple[float, ...] = (1, 0, 0, 0)) -> Costs:
    return Costs(np.array(joules, float), np.zeros((4, 4)), 0.1, 0.1, np.ones(1), misfit, lasting=lasting)


@pytest.mark.parametrize(
    ("lasting", "lawless"), [(1.0, 0), (BY_CHANCE, 0), (BY_CHANCE + 0.25, 0.25), (SURE, 1), (50.0, 1)]
)
def test_steps_surely_do_not_follow_their_costs_where_sums_vary_by_more_than_chance(
    lasting: float, lawless: float
) -> None:
    assert costs(0, lasting).lawless == pytest.approx(lawless)


# --- context ---------------------------------------------------------------------------------------------------------

N = 400


def ticks(context_j: float, lasting: int = 1) -> Ticks:
    """Ticks of four steps each, which depart from their costs in as many alike, and of which context costs so much."""
    rng = np.random.default_rng(2)
    each = [np.full(N, 4), rng.integers(10, 90, N), rng.integers(0, 400, N), rng.integers(1_000, 90_000, N)]
    done = np.stack(each).astype(np.float64)
    away: Floats = np.repeat(rng.standard_normal(N // lasting), lasting)
    known: dict[str, Any] = {
        "seconds": np.full(N, 0.1), "usable": np.ones(N, bool), "done": done, "idle_var": np.full(N, 1e-6),
        "above_j": np.array([2.0, 0.05, 0.04, context_j]) @ done * (1 + 0.01 * away), "knot_var": np.full(N + 1, 1e-4),
        "vague": np.zeros(N + 1, bool), "squares": np.zeros((3, 4, 4, N)), "busy_s": np.full(N, 0.1),
    }  # fmt: skip
    known["squares"][0] = done[:, None] * done / 4
    return Ticks(**{each.name: known[each.name] for each in fields(Ticks)})


def asked_for(made: Ticks) -> tuple[float, float]:
    """By how much context lowers the misfit, and how long steps depart from their costs beside it."""
    plain = step_costs.plain_costs(made)
    full = step_costs._fitted(made, [STEP, TOKEN, PROMPT, CONTEXT], plain.joules)
    return plain.misfit - full.misfit, full.lasting


@pytest.mark.parametrize(
    ("context_j", "lasting", "believed"), [(1e-6, 1, False), (6e-6, 1, True), (2e-6, 10, False), (9e-6, 10, True)]
)
def test_context_must_be_asked_for_by_as_many_times_more_as_steps_depart_for_long(
    context_j: float, lasting: int, *, believed: bool
) -> None:
    made = ticks(context_j, lasting)
    gain, found = asked_for(made)
    assert found == pytest.approx(lasting, rel=0.25)
    assert (gain > CONTEXT_ASKED_FOR * found) == believed
    assert (gain > CONTEXT_ASKED_FOR) == (believed or lasting > 1)  # where they depart alike, it would be enough
    assert bool(costs_of(made).joules[CONTEXT]) == believed


# --- overhead --------------------------------------------------------------------------------------------------------

LESS = 0.1
"""By how much less of the first step is overhead."""


def work(*, overhead: bool = True) -> Work:
    """Four steps of two units each, of which the first has all work before first results."""
    step = np.repeat(np.arange(4), 2)
    entry = np.zeros((len(COSTS), 8))
    entry[STEP], entry[TOKEN], entry[PROMPT, 0] = 0.5, 1.0, 100.0
    per_step = np.stack([sums(step, row, 4) for row in entry])
    ones = np.ones(4)
    part = np.array([0.2 - LESS, 0.2, 0.2, 0.2]) * overhead
    return Work(np.tile([0, 1], 4), step, entry, np.zeros(8, bool), per_step, ones, ones, 0 * ones, part, ones)


def steps() -> Steps:
    end = (np.arange(4) + 1) * SECOND
    small, none = np.zeros(0, np.int32), np.zeros(0, np.int64)
    return Steps(end - SECOND, end, small, small, np.zeros(0), none, none)


def chosen(
    by_part: dict[float, float], lasting: float, *, overhead: bool = True, by_limit: float = 1000.0
) -> tuple[Law, Work]:
    """The law that is chosen, where parts of overhead that draw leave so much open, and a limit so much."""

    def full(done: Work) -> Costs:
        if done.step[STEP, 1] < 1 - 1e-9:
            return costs(by_limit, lasting)
        part = (1 - done.step[STEP, 0]) / LESS
        return costs(min((abs(part - each), misfit) for each, misfit in by_part.items())[1], lasting)

    law, done, _ = likeliest(work(overhead=overhead), steps(), lambda _: costs(0.0), full)
    return law, done


def test_a_step_costs_less_by_the_part_that_draws_of_how_much_more_of_it_than_usual_is_tokens() -> None:
    found = under(Law(overhead=0.5), work(), steps())
    assert found.step[STEP].tolist() == pytest.approx([1 - 0.5 * LESS, 1, 1, 1])
    assert found.entry[STEP, :2].tolist() == pytest.approx([(1 - 0.5 * LESS) / 2] * 2)
    # what is usual is so in steps that only go on, not in all
    assert work().less(np.array([5.0, 1, 2, 3])).tolist() == [-3, 1, 0, -1]


def test_how_much_draws_in_overhead_is_weighed_by_likelihood() -> None:
    halved = 2 * SURE * np.log(2)  # twice the log-likelihood, tempered by how long steps depart from their costs
    misfits = {part: 100 + k * halved for k, part in enumerate(OVERHEADS)}
    weight = 0.5 ** np.arange(len(OVERHEADS))
    law, found = chosen(misfits, SURE)
    assert law.overhead == pytest.approx(np.average(OVERHEADS, weights=weight))
    assert found.step[STEP, 0] == pytest.approx(1 - law.overhead * LESS)
    # what departs for twice as long tells half as much
    twice, _ = chosen({part: 100 + 2 * k * halved for k, part in enumerate(OVERHEADS)}, 2 * SURE)
    assert twice.overhead == pytest.approx(law.overhead)


def test_the_part_that_is_surely_the_likeliest_is_taken_and_known_no_better_than_to_a_third() -> None:
    law, _ = chosen({part: 100 + 1000 * (part != 0.75) for part in OVERHEADS}, SURE)
    assert (law.overhead, law.overhead_sd) == pytest.approx((0.75, OVERHEAD_SD))
    either, _ = chosen({part: 100 + 1000 * (part not in {0, 1}) for part in OVERHEADS}, SURE)
    assert (either.overhead, either.overhead_sd) == pytest.approx((0.5, 0.5))


def test_the_less_sure_it_is_that_steps_depart_for_long_the_more_weighs_that_overhead_draws_nothing() -> None:
    alike = dict.fromkeys(OVERHEADS, 100.0)
    assert chosen(alike, SURE)[0].overhead == pytest.approx(0.5)
    nothing = 1 + 0.75 * len(OVERHEADS)
    assert chosen(alike, BY_CHANCE + 0.25)[0].overhead == pytest.approx(2.5 / (nothing + 4))


def test_where_overhead_is_not_told_no_law_has_any_and_where_steps_follow_their_costs_it_is_better_known() -> None:
    better = {part: 100 - 1000 * part for part in OVERHEADS}
    assert chosen(better, SURE, overhead=False)[0] == Law()
    law, _ = chosen(better, BY_CHANCE)
    assert (law.overhead, law.overhead_sd) == pytest.approx((1.0, SURER * OVERHEAD_SD))


@pytest.mark.parametrize(("part", "believed"), [(0.9, False), (1.1, True)])
@pytest.mark.parametrize("lasting", [1.0, 3.0])
def test_a_limit_must_be_asked_for_by_the_square_of_how_long_steps_depart(
    part: float, lasting: float, *, believed: bool
) -> None:
    by_limit = 1000 - part * LIMIT_ASKED_FOR * lasting**2
    law, _ = chosen({0.0: 1000.0}, lasting, overhead=False, by_limit=by_limit)
    assert bool(np.isfinite(law.limit_w)) == believed
