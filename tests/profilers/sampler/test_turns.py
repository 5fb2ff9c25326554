from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.profilers.sampler.ticks import MS
from ipw.profilers.sampler.turns import TOGETHER_NS, moments, next_leader

PERIOD_NS = 100 * MS
PHASES = st.lists(st.integers(0, 10**8 - 1), min_size=1, max_size=16)


@pytest.mark.parametrize(
    ("phases_ms", "expected"),
    [([0.0], 1), ([0.0, 0.5, 99.8], 1), ([0.0, 50.0], 2), ([12.5 * i for i in range(8)], 8)],
    ids=["one", "three at one moment", "two moments", "eight moments"],
)
def test_ticks_that_come_together_are_one_moment(phases_ms: list[float], expected: int) -> None:
    assert moments([phase * MS for phase in phases_ms], PERIOD_NS) == expected


def test_turns_go_round_against_the_order_of_the_ticks() -> None:
    phases_ns = [phase * MS for phase in (80.0, 10.0, 10.4, 45.0)]
    led = [1]
    for _ in range(6):
        led.append(next_leader(phases_ns, PERIOD_NS, led[-1]))
    assert led == [1, 0, 3, 2, 0, 3, 2]


def test_counters_that_tick_together_leave_the_lead_where_it_is() -> None:
    assert next_leader([5.9 * MS, 5.2 * MS, 5.0 * MS], PERIOD_NS, 0) == 0


@given(PHASES)
def test_everybody_has_a_turn_before_it_goes_round_again(phases_ns: list[int]) -> None:
    led = [0]
    before = [0.0]
    for _ in phases_ns:
        led.append(next_leader(phases_ns, PERIOD_NS, led[-1]))
        before.append(before[-1] + (phases_ns[led[-2]] - phases_ns[led[-1]]) % PERIOD_NS)
    assert before[-1] >= PERIOD_NS - TOGETHER_NS or led[-1] == led[-2]
    for phase in phases_ns:
        assert any((phases_ns[leader] - phase) % PERIOD_NS <= TOGETHER_NS for leader in led)
