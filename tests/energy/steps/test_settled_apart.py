"""Several engines behind one address: a unit belongs where its results come closest to those of others."""

from __future__ import annotations

import numpy as np
import pytest
from energy.batching import Client, Rules, run

from ipw.energy.steps.apart import _away_ns, _settled, engine_of_units
from ipw.energy.steps.arrivals import Arrivals

MS = 1_000_000


def two(seed: int = 0) -> tuple[Arrivals, np.ndarray]:
    """Two engines of steps of 20 ms and of 20.3 ms, which fall together now and then; four units on each."""
    rng = np.random.default_rng(seed)
    rows = [
        (int((k * (20 + 0.3 * engine) + 5 * engine + 0.02 * unit) * MS + rng.exponential(0.02 * MS)), 2 * unit + engine)
        for engine in (0, 1)
        for unit in range(4)
        for k in range(120)
    ]
    t, unit = np.array(sorted(rows)).T
    return Arrivals(t, np.ones(t.size, np.int64), unit.astype(np.int32)), np.arange(8) % 2


def test_how_far_a_result_is_from_the_next_of_an_engine_leaves_out_itself_and_ends_at_what_is_at_once() -> None:
    t = np.array([0, 10, 20, 500_000, 9 * MS])
    seen = Arrivals(t, np.ones(5, np.int64), np.array([0, 1, 2, 0, 1], np.int32))
    assert _away_ns(seen, np.array([True, False, True, True, False])).tolist() == [20, 10, 20, 499_980, MS]


@pytest.mark.parametrize("wrong", [[0], [3], [1, 6]])
def test_a_unit_that_was_taken_for_anothers_is_moved_back(wrong: list[int]) -> None:
    seen, truth = two()
    taken = truth.copy()
    taken[wrong] = 1 - taken[wrong]
    assert _settled(seen, taken).tolist() == truth.tolist()


def test_one_engine_and_units_without_results_stay_as_they_are() -> None:
    seen, truth = two()
    assert _settled(seen, 0 * truth).tolist() == [0] * 8
    assert _settled(seen, np.append(truth, -1)).tolist() == [*truth.tolist(), -1]


def test_units_of_two_engines_are_parted_also_where_these_fall_together_for_a_while() -> None:
    rules = Rules(weights_s=0.036, token_s=0.0005)
    seen = run(np.random.default_rng(3), rules, Client(requests=80, in_flight=16, answer=(20, 80)), 2)
    found, truth = engine_of_units(seen.arrivals, 80), np.arange(80) % 2
    assert max(np.mean(found == truth), np.mean(found == 1 - truth)) == 1
