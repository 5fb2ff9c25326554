from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipw.gate.interleave import plan


@given(st.integers(1, 40), st.integers(1, 10), st.integers(0, 20))
def test_every_pair_is_planned_once_in_starts_of_nearly_one_size(pairs: int, starts: int, earlier: int) -> None:
    before = plan(earlier, 2) if earlier else []
    planned = plan(pairs, starts, after=before)
    numbers = [pair.number for start in planned for pair in start.pairs]
    assert numbers == list(range(earlier, earlier + pairs))
    assert [start.number for start in planned] == list(range(len(before), len(before) + min(starts, pairs)))
    sizes = [len(start.pairs) for start in planned]
    assert max(sizes) - min(sizes) <= 1


def test_arms_take_turns_in_going_first_so_that_drift_hits_both_alike() -> None:
    orders = [pair.order[0] for start in plan(6, 2) for pair in start.pairs]
    assert orders == ["base", "candidate"] * 3


def test_a_seed_draws_the_order_the_same_way_each_time_and_both_ways() -> None:
    drawn = [pair.order for start in plan(20, 1, seed=7) for pair in start.pairs]
    assert drawn == [pair.order for start in plan(20, 1, seed=7) for pair in start.pairs]
    assert len(set(drawn)) == 2
    assert drawn != [pair.order for start in plan(20, 1, seed=8) for pair in start.pairs]
