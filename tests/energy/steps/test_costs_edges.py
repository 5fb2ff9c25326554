"""What steps are known to cost, and how well: the parts of it, each against a case that is worked out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ipw.energy.arrays import Floats
from ipw.energy.curve import Curve
from ipw.energy.steps import step_costs
from ipw.energy.steps.step_costs import (
    Ticks,
    costs_again,
    costs_of,
    held_up_var,
    own_var,
    placing_var,
    plain_costs,
    ticks_of,
)
from ipw.energy.steps.steps import Steps
from ipw.energy.steps.work import PROMPT, STEP, TOKEN, Work

SECOND = 1_000_000_000
MEDIAN_SD = 1.4826
"""Times the median distance from the middle: a normal distribution's standard deviation."""


def work(odd: Sequence[float], prompt: Sequence[float]) -> Work:
    n = len(odd)
    step = np.ones((4, n))
    step[PROMPT] = prompt
    none = np.zeros(0, np.int64)
    return Work(
        none, none, np.zeros((4, 0)), none > 0, step, np.ones(n), np.array(odd), np.zeros(n), np.zeros(n), np.ones(n)
    )


def test_a_step_that_was_held_up_drew_anything_up_to_as_much_as_usual_in_that_time() -> None:
    # uniform over its width: variance of a twelfth of the square
    assert held_up_var(work([1, 2, 4, 0.5], [0, 0, 0, 0])).tolist() == pytest.approx([0, 1 / 12, 9 / 12, 0.25 / 12])


def test_steps_with_work_before_first_results_are_as_vague_as_their_lengths_are_odd() -> None:
    odd, prompt = [1.1, 0.8, 1.3, 3.0, 1.0], [5, 1, 7, 0, 0]
    usual = (MEDIAN_SD * 0.2) ** 2
    assert placing_var(work(odd, prompt)).tolist() == pytest.approx([usual, usual, usual, 0, 0])
    assert held_up_var(work(odd, prompt)).tolist() == pytest.approx([0.01 / 12, 0.04 / 12, 0.09 / 12, 4 / 12, 0])


def ticks(n: int = 4, **changes: object) -> Ticks:
    known: dict[str, object] = {
        "seconds": np.full(n, 0.1), "above_j": np.full(n, 3.0), "usable": np.ones(n, bool), "done": np.ones((4, n)),
        "squares": np.zeros((3, 4, 4, n)), "idle_var": np.zeros(n), "knot_var": np.full(n + 1, 2.0),
        "vague": np.zeros(n + 1, bool), "busy_s": np.full(n, 0.1),
    }  # fmt: skip
    return Ticks(**known | changes)  # type: ignore[arg-type]


def alike(done: Floats, placing: Floats | float = 0.0) -> Floats:
    """Squares of ticks whose steps are all alike, and of which so much variance is that of placing."""
    found = np.zeros((3, *done.shape[:1], *done.shape))
    found[0] = done[:, None] * done / np.maximum(done[STEP], 1e-9)
    found[2] = found[0] * placing
    return found


def test_of_several_steps_in_a_tick_departures_cancel_in_part() -> None:
    done = np.zeros((4, 3))
    done[STEP], done[TOKEN] = [1, 4, 0.5], [10, 40, 5]
    joules = np.array([2.0, 0.1, 0, 0])
    parts = ticks(3, done=done, squares=alike(done)).own_parts(joules)
    assert own_var(parts, 0.1, 1.0).tolist() == pytest.approx([(0.1 * 3) ** 2, (0.1 * 12) ** 2 / 4, (0.1 * 3) ** 2 / 2])


def test_steps_that_draw_more_depart_by_more_than_as_many_that_draw_alike() -> None:
    squares = np.zeros((3, 4, 4, 1))
    squares[0, STEP, STEP], squares[0, TOKEN, TOKEN] = 2, 100**2  # one of two has all tokens
    squares[0, STEP, TOKEN] = squares[0, TOKEN, STEP] = 100
    squares[1:] = squares[:1] * np.array([0.03, 0.05])[:, None, None, None]
    parts = ticks(1, squares=squares).own_parts(np.array([2.0, 0.1, 0, 0]))
    whole = 2**2 + 12**2
    assert parts[:, 0].tolist() == pytest.approx([whole, 0.03 * whole, 0.05 * whole])
    assert own_var(parts, 0.1, 0.5).tolist() == pytest.approx([(0.01 + 0.03 + 0.025) * whole])


def test_what_was_drawn_where_no_step_was_says_nothing_of_the_knots_beside() -> None:
    done = np.ones((4, 4))
    done[STEP] = [1, 0, 1, 1]
    made = ticks(done=done, usable=np.array([True, True, False, True]), idle_var=np.full(4, 0.25))
    found = made.chain(np.full(4, 0.5), 0.1)
    assert found.drift_var.tolist() == pytest.approx([0.75, step_costs.UNKNOWN_J2, step_costs.UNKNOWN_J2, 0.75])


def test_the_end_of_a_tick_is_as_vague_as_ticks_tell_unless_it_was_hardly_seen() -> None:
    vague = np.array([False, True, False, False, True])
    found = ticks(vague=vague).chain(np.zeros(4), 0.25)
    assert np.asarray(found.knot_var).tolist() == pytest.approx([0.5, 2, 0.5, 0.5, 2])


def test_nothing_is_known_better_than_to_a_ten_millionth_of_a_tick() -> None:
    assert np.sqrt(ticks(above_j=np.array([1.0, -3.0, 5.0, 7.0])).least) == pytest.approx(4e-7, rel=1e-6, abs=0)
    assert np.sqrt(ticks(above_j=np.zeros(4)).least) == pytest.approx(1e-12, rel=1e-6, abs=0)


def test_a_tick_has_what_its_steps_did_what_was_drawn_above_idle_and_how_vague_the_rest_is() -> None:
    t = np.array([0, 1, 2, 3, 4]) * SECOND
    err = np.array([1e6, 1e6, 2e6, 2.1e6, 1e6])
    curve = Curve(t, np.array([0.0, 10, 30, 60, 100]), err, 0.0, np.zeros((0, 2), np.int64), ())
    none, small = np.zeros(2, np.int64), np.zeros(2, np.int32)
    steps = Steps(
        np.array([0, 2]) * SECOND,
        np.array([1, 3]) * SECOND + 250_000_000,
        small,
        small,
        none.astype(np.float64),
        none,
        none,
    )
    done = work([1, 4], [0, 0])._replace(step=np.array([[1.0, 2], [4, 8], [0, 0], [100, 200]]))
    usable = np.array([True, True, True, False])
    found = ticks_of(curve, steps, done, np.array([1.0, 2, 3, 4]), usable, 3.0)
    assert found.seconds.tolist() == [1, 1, 1, 1]
    assert found.above_j.tolist() == [9, 18, 27, 0]
    assert found.usable is usable
    np.testing.assert_allclose(found.done[STEP], [0.8, 0.2, 1.6, 0.4])
    np.testing.assert_allclose(found.done[TOKEN], [3.2, 0.8, 6.4, 1.6])
    np.testing.assert_allclose(found.squares[0, STEP, TOKEN], [4 * 0.8, 4 * 0.2, 16 * 0.8, 16 * 0.2])
    # the second lasted four times as long as it should: 9/12 of its energy squared
    np.testing.assert_allclose(found.squares[1, STEP, STEP], [0, 0, 4 * 0.8 * 0.75, 4 * 0.2 * 0.75])
    assert not found.squares[2].any()
    np.testing.assert_allclose(found.idle_var, (3 * np.array([0, 0.75, 0, 0.75])) ** 2)
    assert found.vague.tolist() == [False, False, False, True, False]  # more than twice as wide as usual


def test_tokens_before_and_after_the_first_result_are_taken_to_cost_alike_to_three_tenths() -> None:
    columns = [STEP, TOKEN, PROMPT]
    done = np.array([[1.0, 10, 30], [1, 20, 0]])
    (row,) = step_costs._prior(columns, np.array([9.0, 0.2, 0.1]), done)
    usual = (0.2 * 30 + 0.1 * 30) / 60  # by how many there are of each
    assert row.tolist() == pytest.approx([0, 1 / (0.3 * usual), -1 / (0.3 * usual)])
    assert step_costs._prior(columns, np.array([9.0, 0, 0]), done).tolist() == [[0, 0, 0]]
    assert step_costs._prior(columns, np.array([9.0, 1, 1]), 0 * done).tolist() == [[0, 0, 0]]


N = 600


def seen(rng: np.random.Generator, joules: Floats, *, scatter: float, knot_j: float = 0.0) -> Ticks:
    """Ticks of four steps each, which depart each on its own, with the energy at each end off by so much."""
    done = np.stack([np.full(N, 4.0), rng.uniform(10, 90, N), rng.uniform(0, 400, N), np.zeros(N)])
    above = joules @ done * (1 + scatter / 2 * rng.standard_normal(N))
    above += np.diff(knot_j * rng.standard_normal(N + 1))
    return ticks(N, above_j=above, done=done, squares=alike(done), knot_var=np.full(N + 1, 1.0))


@pytest.mark.parametrize("scatter", [0.003, 0.025, 0.15])
def test_how_far_steps_depart_from_their_costs_is_found(scatter: float) -> None:
    rng = np.random.default_rng(3)
    found = costs_of(seen(rng, np.array([2.0, 0.05, 0.05, 0]), scatter=scatter))
    tried = step_costs.SCATTERS
    assert abs(tried.index(found.scatter) - tried.index(scatter)) <= 1
    assert found.timing in step_costs.TIMINGS[:2]  # knots are exact
    assert found.scatter * np.sqrt(found.apart.mean()) == pytest.approx(scatter, rel=0.25)


@pytest.mark.parametrize("timing", [0.06, 0.3, 1.0])
def test_how_far_the_ends_of_ticks_are_mistimed_is_found(timing: float) -> None:
    rng = np.random.default_rng(4)
    found = costs_of(seen(rng, np.array([2.0, 0.05, 0.05, 0]), scatter=0.001, knot_j=float(np.sqrt(timing))))
    tried = step_costs.TIMINGS
    assert abs(tried.index(found.timing) - tried.index(timing)) <= 1


def test_costs_are_as_far_from_what_they_are_as_their_intervals_say() -> None:
    joules = np.array([2.0, 0.05, 0.05])
    away = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        found = plain_costs(seen(rng, np.append(joules, 0), scatter=0.05, knot_j=0.3))
        away.append((found.joules[:3] - joules) / np.sqrt(np.diag(found.cov)[:3]))
    assert np.sqrt(np.mean(np.square(away))) == pytest.approx(1, abs=0.3)


def test_how_vaguely_work_is_placed_is_told_by_ticks() -> None:
    rng = np.random.default_rng(8)
    exact = seen(rng, np.array([2.0, 0.05, 0.05, 0]), scatter=0.003)
    assert costs_of(replace(exact, squares=alike(exact.done, 0.04))).placing == 0.0
    uneven = rng.random(N) < 0.5
    done = exact.done * (1 + 0.2 * rng.standard_normal(N) * uneven)
    vague = replace(exact, done=done, squares=alike(done, np.where(uneven, 0.16, 0.0)))
    assert costs_of(vague).placing == 1.0


def test_a_tick_that_departs_by_far_weighs_as_little_as_it_departs() -> None:
    rng = np.random.default_rng(5)
    made = seen(rng, np.array([2.0, 0.05, 0.05, 0]), scatter=0.02)
    made.above_j[[50, 250]] *= [1.5, 0.6]
    found = costs_of(made)
    assert found.apart[[50, 250]].min() > 50 * np.median(found.apart)
    assert set(np.flatnonzero(found.apart > 10 * np.median(found.apart))) <= {
        50,
        51,
        250,
        251,
    }  # what it left open is told by the next


def test_what_another_part_of_the_run_has_told_is_kept_but_for_the_costs() -> None:
    rng = np.random.default_rng(6)
    joules = np.array([2.0, 0.05, 0.05, 0])
    before = costs_of(seen(rng, joules, scatter=0.02))
    found = costs_again(seen(rng, 2 * joules, scatter=0.02), before)
    assert (found.scatter, found.timing) == (before.scatter, before.timing)
    assert found.joules[:3] == pytest.approx(2 * joules[:3], rel=0.05)
    assert found.joules[3] == found.cov[3, 3] == 0


def test_costs_are_found_where_no_tick_holds_half_a_step() -> None:  # near a limit of power, steps count for less
    joules = np.array([2.0, 0.05, 0.05, 0])
    made = seen(np.random.default_rng(7), joules, scatter=0.02)
    less = replace(
        made,
        done=made.done * 0.1,
        squares=made.squares * 0.1,
        above_j=made.above_j * 0.1,
        knot_var=made.knot_var * 0.01,
    )
    assert costs_of(less).joules[:3] == pytest.approx(joules[:3], rel=0.05)
