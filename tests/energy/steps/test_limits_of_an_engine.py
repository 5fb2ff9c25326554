"""What an engine takes at most, told by which steps first results came in: tokens in a step, and units at once."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from energy.batching import Client, Rules, run

from ipw.energy.steps.budget import told_by_counts
from ipw.energy.steps.engine import engine_of
from ipw.energy.steps.prompts import located


def served(
    budget: int, prompts: list[int], *, going_on: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take prompts one behind the other, as much as fits into each step; what came of it, step by step."""
    waiting, steps = deque(prompts), [(0.0, float(going_on), float(prompts[0]), False)]
    left = 0
    while waiting or left:
        room, finished = budget - going_on, 0.0
        while room and (left or waiting):
            left = left or waiting.popleft()
            taken = min(room, left)
            room, left = room - taken, left - taken
            finished += 0 if left else prompts[len(prompts) - len(waiting) - 1]
        following = prompts[len(prompts) - len(waiting) - 1] if left else waiting[0] if waiting else 0
        steps.append((finished, float(going_on), float(following), bool(left or waiting)))
    finishing, others, following_work, full = (np.array(column) for column in zip(*steps, strict=True))
    return finishing, others, following_work, full


@pytest.mark.parametrize("budget", [64, 200, 512, 1000, 2048])
def test_the_most_that_a_step_takes_is_told_by_counts_alone(budget: int) -> None:
    prompts = np.random.default_rng(budget).integers(budget // 3, 3 * budget, 60).tolist()
    assert told_by_counts(*served(budget, prompts)).most == pytest.approx(budget, abs=2)


def test_of_numbers_that_fit_alike_the_roundest_is_taken() -> None:
    assert told_by_counts(*served(512, [900, 700, 800] * 10)).most == 512


def test_too_few_full_steps_or_such_as_disagree_tell_nothing() -> None:
    assert told_by_counts(*served(512, [600] * 5)).most == np.inf
    finishing, others, following, full = served(512, [900, 700, 800] * 20)
    mixed = np.random.default_rng(1).permutation(finishing)
    assert told_by_counts(mixed, others, following, full).most == np.inf
    assert told_by_counts(finishing, others, following, np.zeros(full.size, bool)).most == np.inf


def test_a_limit_is_told_where_steps_are_seldom_full() -> None:
    finishing, others, following, full = served(512, [900, 700, 800] * 4)
    alone = np.zeros(1500)  # prompts of one step each, while nothing else waits
    told = told_by_counts(
        np.append(finishing, alone + 300),
        np.append(others, alone + 3),
        np.append(following, alone),
        np.append(full, alone > 0),
    )
    assert full.sum() < 0.02 * alone.size
    assert told.most == 512


def placed_where(rules: Rules, client: Client) -> tuple[float, float]:
    """Of the work before first results, what was placed in steps that did it; and how wide of the step's count."""
    seen = run(np.random.default_rng(4), rules, client)
    engine = engine_of(seen.requests, seen.arrivals)
    assert engine.steps is not None
    found = located(seen.requests, engine.steps)
    most = (found.step_tokens / found.passes).max() + np.bincount(engine.steps.entry_step).max()
    first = engine.steps.first_step[found.unit]
    return float(found.tokens[found.step < first].sum() / found.tokens.sum()), float(most)


def test_prompts_that_hide_under_the_reading_of_weights_are_placed_by_counts() -> None:
    # a full step computes 256 tokens in less time than weights take: no step lasts longer than another
    rules = Rules(weights_s=0.03, token_s=0.0001, budget=256)
    before_last, most = placed_where(rules, Client(requests=80, in_flight=16, prompt=(200, 900), answer=(20, 60)))
    assert before_last > 0.4
    assert most < 256 + 30


def test_prompts_of_much_the_same_length_tell_how_long_a_token_takes_on_average() -> None:
    # a line through prompts of 790 to 900 tokens is that of how uneven steps are: it told 0.00016 s
    rules = Rules(weights_s=0.0165, token_s=0.0002, budget=512, most=128, shaky=0.02)
    seen = run(np.random.default_rng(5), rules, Client(requests=160, rate=2.7, prompt=(789, 902), answer=(14, 61)))
    engine = engine_of(seen.requests, seen.arrivals)
    assert engine.steps is not None
    found = located(seen.requests, engine.steps)
    assert found.token_s == pytest.approx(0.0002, rel=0.05)
    assert (found.step_tokens / found.passes).max() <= 512


def test_what_waits_for_a_place_among_those_that_run_is_in_no_step_before_it_has_one() -> None:
    rules = Rules(most=8, budget=2048, shaky=0.02)
    before_last, _ = placed_where(rules, Client(requests=80, in_flight=16, prompt=(600, 900), answer=(20, 60)))
    assert before_last < 0.02


def test_what_waits_for_a_batch_to_end_is_in_no_step_before() -> None:
    # tokens take longer than weights: a step with one more prompt would last as long as many without
    rules = Rules(static=True, budget=1 << 16, token_s=0.0005, weights_s=0.036)
    before_last, _ = placed_where(rules, Client(requests=80, in_flight=8, prompt=(280, 940), answer=(40, 120)))
    assert before_last == 0


def test_a_most_that_steps_have_surely_exceeded_is_not_told() -> None:
    finishing, others, following, full = served(512, [900, 700, 800] * 20)
    alone = np.flatnonzero(~full & (np.arange(full.size) > 0))
    more = np.append(np.full(400, 900.0), finishing)  # prompts of one step each, while nothing else waits
    none = np.zeros(400)
    assert alone.size < 3
    told = told_by_counts(more, np.append(none + 3, others), np.append(none, following), np.append(none > 0, full))
    assert told.most == np.inf


def test_drafts_are_of_what_a_step_takes_at_most() -> None:
    rules = Rules(budget=256, token_s=0.0002, weights_s=0.02, drafted=3, accepted=np.array([0.4, 0.2, 0.2, 0.2]))
    seen = run(np.random.default_rng(5), rules, Client(requests=80, in_flight=8, prompt=(300, 900), answer=(60, 120)))
    engine = engine_of(seen.requests, seen.arrivals)
    assert engine.steps is not None
    found = located(seen.requests, engine.steps)
    going_on = np.bincount(engine.steps.entry_step, minlength=found.step_tokens.size)
    several = (going_on > 3) & (found.step_tokens > 0)
    assert (found.step_tokens + 4 * (going_on - 1))[several].max() == pytest.approx(256, abs=3)
