"""What lengths of steps tell of work before first results, and of context: speed, overhead, and what was held up."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from energy.batching import Client, Rules, run

from ipw.energy.arrays import Floats
from ipw.energy.steps import prompts
from ipw.energy.steps.engine import engine_of
from ipw.energy.steps.pace import LONGER, Pace
from ipw.energy.steps.prompts import Prompts, located
from ipw.energy.steps.waiting import Queue
from ipw.energy.steps.work import _with_context


def placed(rules: Rules) -> Prompts:
    seen = run(np.random.default_rng(4), rules, Client(requests=60, in_flight=12, prompt=(200, 900), answer=(20, 40)))
    engine = engine_of(seen.requests, seen.arrivals)
    assert engine.steps is not None
    return located(seen.requests, engine.steps)


# --- work that hides -------------------------------------------------------------------------------------------------


def hides(prompt_steps: int, longer_ones: int, *, decoding: float = 2.0) -> bool:
    """Whether work hides where so many steps have some, of which so many last longer than others."""
    n = 40
    some, longer = np.arange(n) < prompt_steps, np.arange(n) < longer_ones
    none = np.zeros(0, np.int64)
    queue = Queue(none, none, np.zeros(0), some, some, np.full(n, 100.0), np.zeros(n, np.int64))
    found = prompts._hides(queue, np.zeros(n), np.full(n, decoding), longer)
    ending: Floats = np.where(some, 100.0, 0.0)
    ends = prompts._hides(queue._replace(asked=np.zeros(n, bool)), ending, np.full(n, decoding), longer)
    assert found == ends  # work that waits or ends there is work
    return found


def test_work_hides_where_fewer_than_half_of_the_steps_with_some_last_longer() -> None:
    assert hides(20, 9)
    assert not hides(20, 10)


def test_too_few_steps_with_work_or_none_beside_what_goes_on_do_not_tell_that_it_hides() -> None:
    assert hides(8, 0)
    assert not hides(7, 0)
    assert not hides(20, 0, decoding=0)


def test_work_that_hides_under_the_weights_tells_no_speed_and_no_overhead() -> None:
    # a full step computes 256 tokens in less time than weights take
    hidden = placed(Rules(weights_s=0.03, token_s=0.0001, budget=256, shaky=0.01))
    assert hidden.token_s == 0
    assert not hidden.overhead.any()
    assert not hidden.unseen.any()
    assert hidden.passes.tolist() == [3, *[1] * (hidden.odd.size - 1)]
    assert hidden.odd[1:] == pytest.approx(np.ones(hidden.odd.size - 1), abs=0.1)  # none is due to last longer
    seen = placed(Rules(weights_s=0.014, token_s=0.0001, budget=256, shaky=0.01))
    assert seen.token_s == pytest.approx(0.0001, rel=0.1)


def test_where_work_hides_full_steps_that_last_a_little_longer_are_due_to() -> None:
    hidden = placed(Rules(weights_s=0.02, token_s=0.000085, budget=256))  # 21.8 ms for 256 tokens
    full = (hidden.step_tokens > 0.9 * 256) & (hidden.passes == 1)
    assert hidden.token_s == 0
    assert full.sum() > 20
    assert hidden.due_s[full] == pytest.approx(np.full(int(full.sum()), 0.0218), rel=0.03)
    assert np.median(hidden.odd[full]) == pytest.approx(1, abs=0.01)
    assert hidden.due_s[hidden.step_tokens == 0] == pytest.approx(0.02, rel=0.02)


# --- overhead --------------------------------------------------------------------------------------------------------

N = 60
USUAL_S = 0.020


def overhead(base_s: float, *, uneven: float = 0.0, usual_s: float = USUAL_S) -> Prompts:
    """Steps of 100 to 400 tokens, of which each takes 0.1 ms, beside as many that only go on."""
    decoding = np.full(2 * N, 2.0)
    tokens = np.concatenate([np.linspace(98, 398, N), np.zeros(N)])
    usual: Floats = np.full(2 * N, usual_s)
    away = uneven * np.tile([1.0, -1, -1, 1], N // 2)
    seconds = np.where(tokens > 0, (base_s + 1e-4 * (tokens + decoding)) * (1 + away), USUAL_S)
    surely = tokens > 0
    made = prompts._Placed(np.cumsum(tokens), np.ones(2 * N, np.int64), 512.0, base_s, 1e-4, surely)
    pace = Pace(seconds, usual, seconds > LONGER * usual, 0.0)
    step = np.flatnonzero(tokens)
    return prompts._prompts(step, step, tokens[step], 0 * step, pace, made, decoding, 1)


def test_what_is_the_same_in_all_steps_is_told_as_a_part_of_how_long_each_is_due_to_last() -> None:
    found = overhead(0.004)
    assert found.due_s[:N] == pytest.approx(np.maximum(USUAL_S, 0.004 + 1e-4 * np.linspace(100, 400, N)))
    assert found.due_s[N:].tolist() == [USUAL_S] * N
    assert found.overhead == pytest.approx(0.004 / found.due_s)


@pytest.mark.parametrize(("part", "told"), [(0.29, True), (0.31, False)])
def test_more_than_three_tenths_of_a_usual_step_is_no_overhead(part: float, *, told: bool) -> None:
    assert bool(overhead(part * USUAL_S).overhead.any()) == told


@pytest.mark.parametrize(("uneven", "told"), [(0.01, True), (0.2, False)])
def test_overhead_is_told_only_where_it_is_well_known(uneven: float, *, told: bool) -> None:
    assert bool(overhead(0.004, uneven=uneven).overhead.any()) == told


def test_where_no_usual_length_is_told_no_step_without_work_is_taken_to_be_held_up() -> None:
    found = overhead(0.004, usual_s=0.0)
    assert found.due_s[N:].tolist() == [USUAL_S] * N
    assert found.odd[N:].tolist() == [1] * N
    assert not found.overhead.any()


# --- context ---------------------------------------------------------------------------------------------------------


def read(context: Floats, seconds: Floats) -> tuple[Floats, Floats]:
    """How much longer each lasted, and was due to, of steps that should take 20 ms but for the context they read."""
    n = context.size
    none, due_s = np.zeros(0, np.int64), np.full(n, USUAL_S)
    odd = seconds / due_s
    nothing = np.zeros(n)
    made = Prompts(none, none, np.zeros(0), none, nothing, none, 0.0, odd, odd, nothing, nothing, due_s, 1)
    return _with_context(made, context)


def test_where_context_takes_time_steps_that_read_more_are_not_held_up() -> None:
    context: Floats = np.random.default_rng(1).permutation(np.linspace(0, 20_000, 81))
    seconds = USUAL_S + 5e-7 * (context - 10_000)
    odd, due_s = read(context, seconds)
    assert odd == pytest.approx(np.ones(81), abs=1e-6)
    assert due_s == pytest.approx(seconds)
    seconds[7] *= 2  # and one that is held up beside is seen to be
    odd, _ = read(context, seconds)
    assert odd[7] == pytest.approx(2, rel=1e-3)


def test_what_lasts_longer_for_another_reason_than_context_is_held_up() -> None:
    rng = np.random.default_rng(2)
    context: Floats = rng.permutation(np.linspace(0, 20_000, 81))
    apart = USUAL_S * (1 + 0.1 * rng.standard_normal(81))
    for seconds in (apart, USUAL_S - 5e-7 * (context - 10_000)):  # lengths that do not follow context, or fall with it
        odd, due_s = read(context, seconds)
        assert odd.tolist() == (seconds / USUAL_S).tolist()
        assert due_s.tolist() == [USUAL_S] * 81


def test_a_step_is_due_to_last_half_as_long_at_least_as_without_regard_to_context() -> None:
    context = np.append(np.linspace(10_000, 20_000, 80), 0.0)
    _, due_s = read(context, np.maximum(USUAL_S + 2e-6 * (context - 15_000), 0.002))
    assert due_s.min() == USUAL_S / 2


def test_few_steps_or_context_that_is_the_same_in_all_tell_nothing_and_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        contexts: list[Floats] = [np.linspace(0, 20_000, 19), np.full(81, 1e6), np.linspace(1e6, 1e6 + 1e-8, 81)]
        for context in contexts:
            seconds = USUAL_S * np.linspace(1, 1.5, context.size)
            assert read(context, seconds)[1].tolist() == [USUAL_S] * context.size
