from __future__ import annotations

from ipw.clock import Anchor, anchor, now_ns, wall_step_ns


def test_an_anchor_is_taken_between_two_readings_of_the_clock() -> None:
    before, taken, after = now_ns(), anchor(), now_ns()
    assert before <= taken.monotonic_ns <= after


def test_a_wall_clock_that_was_stepped_shows_and_the_monotonic_one_does_not() -> None:
    assert wall_step_ns(Anchor(0, 1_000), Anchor(500, 1_500)) == 0
    assert wall_step_ns(Anchor(0, 1_000), Anchor(500, 3_600_000_001_500)) == 3_600_000_000_000
