"""A process that asks is saturated while it is never idle, looked at second by second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from ipw.workloads.lm.clients.pulse import EVERY_S, Beat, Pulse
from ipw.workloads.lm.clients.strain import Strain


def second(
    strain: Strain, at_s: int, *, worked: float, queued: float | None = 0.0, beats: int = 10, before: Sequence[float]
) -> tuple[float, float]:
    """Beat for a second that was worked and waited for a processor in these shares; returns both so far."""
    for number in range(1, beats + 1):
        share = number / beats
        queued_ns = None if queued is None else int(1e9 * (before[1] + queued * share))
        strain.take(Beat(int(1e9 * (at_s + share)), 1_000_000, int(1e9 * (before[0] + worked * share)), queued_ns))
    return before[0] + worked, before[1] + (queued or 0.0)


def saturated_s(*seconds: dict[str, Any]) -> float:
    strain, so_far = Strain(), (0.0, 0.0)
    strain.take(Beat(0, None, 0, None if seconds[0].get("queued", 0.0) is None else 0))
    for at_s, told in enumerate(seconds):
        so_far = second(strain, at_s, before=so_far, **told)
    facts = strain.facts()
    assert facts["wall_s"] == pytest.approx(len(seconds))
    return float(facts["saturated_s"])


@pytest.mark.parametrize(
    ("told", "is_saturated"),
    [
        ({"worked": 0.95}, True),
        ({"worked": 0.85}, False),
        ({"worked": 0.95, "queued": None}, True),
        ({"worked": 0.85, "queued": None}, False),
        ({"worked": 0.4, "queued": 0.58}, True),
        ({"worked": 0.4, "queued": 0.4}, False),
        ({"worked": 0.15, "queued": 0.84}, False),  # it wants little, and gets it
        ({"worked": 0.15, "queued": 0.84, "beats": 4}, True),  # it wants little, and does not
        ({"worked": 0.15, "queued": 0.1, "beats": 4}, False),  # the system slept
    ],
)
def test_a_second_is_saturated_where_the_thread_was_never_idle(told: dict[str, float], is_saturated: bool) -> None:
    assert saturated_s(told) == (pytest.approx(1.0) if is_saturated else 0.0)


def test_seconds_are_looked_at_one_by_one_so_that_bursts_show() -> None:
    assert saturated_s({"worked": 0.99}, {"worked": 0.01}, {"worked": 0.99}) == pytest.approx(2.0)


def test_how_late_the_timer_is_comes_as_quantiles_of_three_digits() -> None:
    strain = Strain()
    strain.take(Beat(0, None, 0, None))
    for number in range(1, 101):
        strain.take(Beat(number * 100_000_000, number * 1_000_000, 0, None))
    facts = strain.facts()
    assert (facts["late_p50_s"], facts["late_p99_s"], facts["late_most_s"]) == (0.05, 0.099, 0.1)
    assert facts["queued_s"] is None


def test_without_a_beat_nothing_is_said() -> None:
    assert Strain().facts() == {"wall_s": 0.0}


def test_a_loop_that_is_held_up_makes_the_timer_late_and_shows_its_work() -> None:
    strain = Strain()

    async def work() -> None:
        pulse = Pulse(strain.take)
        await asyncio.sleep(EVERY_S / 2)
        until_s = time.thread_time() + 4 * EVERY_S
        while time.thread_time() < until_s:
            pass
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pulse.stop()

    asyncio.run(work())
    facts = strain.facts()
    assert facts["late_most_s"] >= 2 * EVERY_S  # whoever else had the processor made it later still
    assert facts["cpu_s"] >= 3 * EVERY_S
    assert facts["wall_s"] >= facts["cpu_s"]
