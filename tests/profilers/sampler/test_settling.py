"""How long the sampler waits, at either end of a run, for what is published seldom: on a clock of our own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
from profilers.sampler.test_sampler_cost import MS, SECOND, START_NS, Flushes, World

from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.sampler import lane, process
from ipw.profilers.sampler.process import SamplerLoop
from ipw.profilers.sources import Source, Sources

Settle = Callable[[World, Sequence[Source]], tuple[float, float]]
BATCHED = Channel(name="ioreport/cpu", kind="counter", scope="soc", method="counter", poll_s=0.1)


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch) -> Settle:
    """Seconds for which it settles at the start, and at the end of a run of ten seconds."""

    def settled(world: World, sources: Sequence[Source]) -> tuple[float, float]:
        monkeypatch.setattr(process, "now_ns", world.clock)
        monkeypatch.setattr(lane, "clock_ns", world.clock)
        monkeypatch.setattr(process, "time", SimpleNamespace(sleep=world.sleep, process_time=time.process_time))
        loop = SamplerLoop([Sources(sources)], Flushes(world), world.clock())
        began = world.now_ns
        loop.settle(first=True)
        first_s = (world.now_ns - began) / SECOND
        end_ns = world.now_ns + 10 * SECOND
        loop.run(lambda: world.now_ns > end_ns)
        began = world.now_ns
        loop.settle()
        return first_s, (world.now_ns - began) / SECOND

    return settled


def every(world: World, seconds: float, channel: Channel = BATCHED, phase_s: float = 0.0) -> Source:
    return world.source(channel, lambda t: (t - START_NS + int(phase_s * SECOND)) // int(seconds * SECOND))


def test_what_is_read_whenever_it_is_asked_is_waited_for_no_longer_than_that(settle: Settle) -> None:
    world = World()
    gauge = replace(BATCHED, name="made/gauge", kind="gauge")
    assert max(settle(world, [every(world, 1e-3, gauge)])) < 0.02


def test_a_counter_that_is_published_each_two_seconds_is_waited_for_at_both_ends(settle: Settle) -> None:
    for phase_s in (0.1, 0.9, 1.7):
        world = World()
        first_s, last_s = settle(world, [every(world, 2, phase_s=phase_s)])
        assert first_s == pytest.approx(2 - phase_s, abs=0.15)
        assert 0 < last_s < 2.2


def test_the_end_of_a_run_lies_within_the_readings_of_what_is_published_in_batches(settle: Settle) -> None:
    world = World()
    shown: list[tuple[int, float]] = []
    channel, read = every(world, 2.3)

    def reading() -> Reading | None:
        found = read()
        assert found
        shown.append((found.t_ns, found.value))
        return found

    settle(world, [(channel, reading)])
    end_ns = world.now_ns
    changed = [after for (_, a), (after, b) in pairwise(shown) if a != b]
    assert changed[-1] > end_ns - 0.2 * SECOND  # it went on until one more came


def test_a_counter_that_never_moves_is_waited_for_three_seconds_at_the_start_and_not_at_the_end(settle: Settle) -> None:
    world = World()
    first_s, last_s = settle(world, [world.source(BATCHED, lambda _: 5.0)])
    assert first_s == pytest.approx(3.0, abs=0.1)
    assert last_s < 0.1


def test_one_that_says_it_is_published_each_three_seconds_is_waited_for_a_fifth_longer_and_four_at_the_most(
    settle: Settle,
) -> None:
    for told_s, waited_s in ((3.0, 3.6), (30.0, 4.0), (0.6, 1.0)):
        world = World()
        first_s, _ = settle(world, [world.source(replace(BATCHED, update_period_s=told_s), lambda _: 5.0)])
        assert first_s == pytest.approx(waited_s, abs=0.1)


def test_one_that_is_renewed_often_a_part_of_another_and_one_that_fails_are_not_waited_for(settle: Settle) -> None:
    def fails(_: int) -> float:
        raise SensorError("lost", "gone")

    for channel, value in (
        (replace(BATCHED, update_period_s=0.5), lambda _: 5.0),
        (replace(BATCHED, included_in="ioreport/soc"), lambda _: 5.0),
        (replace(BATCHED, kind="power"), lambda _: 5.0),
        (BATCHED, fails),
    ):
        world = World()
        assert max(settle(world, [world.source(channel, value)])) < 0.1


def test_a_counter_that_ticks_is_waited_for_until_a_tick_was_seen_closely(settle: Settle) -> None:
    world = World()
    first_s, last_s = settle(world, [world.counter(0, 100, phase_ms=40)])
    assert first_s < 0.2
    assert last_s <= 0.11


class Stalled(World):
    """The process is held up for three seconds, once, in the sleep of this number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.now_ns += 3 * SECOND * (self.at == 0)
        self.at -= 1


@pytest.mark.parametrize("at", [0, 1, 2, 5, 20, 40])
def test_a_process_that_is_held_up_while_it_settles_waits_for_a_tick_all_the_same(at: int, settle: Settle) -> None:
    world = Stalled(at)
    shown: list[tuple[int, float]] = []
    channel, read = world.counter(0, 100, phase_ms=40)

    def reading() -> Reading | None:
        found = read()
        assert found
        shown.append((found.t_ns, found.value))
        return found

    first_s, last_s = settle(world, [(channel, reading)])
    ready_ns, end_ns = START_NS + int(first_s * SECOND), world.now_ns - int(last_s * SECOND)
    closely = [after for (before, a), (after, b) in pairwise(shown) if a != b and after - before < 5 * MS]
    assert min(closely) <= ready_ns
    assert max(closely) >= end_ns


@pytest.mark.parametrize("at", range(4))
def test_a_process_that_is_held_up_at_the_end_waits_for_a_tick_all_the_same(at: int, settle: Settle) -> None:
    world = Stalled(-1)
    shown: list[tuple[int, float]] = []
    channel, read = world.counter(0, 100, phase_ms=40)

    def reading() -> Reading | None:
        if world.now_ns > START_NS + 10 * SECOND and shown[-1][0] < START_NS + 10 * SECOND:
            world.at = at  # soon after this the run ends
        found = read()
        assert found
        shown.append((found.t_ns, found.value))
        return found

    _, last_s = settle(world, [(channel, reading)])
    end_ns = world.now_ns - int(last_s * SECOND)
    closely = [after for (before, a), (after, b) in pairwise(shown) if a != b and after - before < 5 * MS]
    assert max(closely) >= end_ns


def test_a_stream_without_news_is_asked_again_each_30_ms_for_a_second(settle: Settle) -> None:
    world = World()
    asked: list[int] = []

    def silent() -> Reading | None:
        asked.append(world.now_ns)
        return None

    first_s, last_s = settle(world, [(replace(BATCHED, kind="power", poll_s=1.0), silent)])
    for settled_s in (first_s, last_s):
        assert settled_s == pytest.approx(1.0, abs=0.05)
    during_s = [(after - START_NS) / SECOND for after in asked]
    assert sum(at < 1 for at in during_s) == pytest.approx(1 / 0.03, abs=3)
    assert sum(1.1 < at < 10.9 for at in during_s) <= 11


def test_sleeping_is_never_longer_than_a_fifth_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.sleep(seconds)

    monkeypatch.setattr(process, "now_ns", world.clock)
    monkeypatch.setattr(lane, "clock_ns", world.clock)
    monkeypatch.setattr(process, "time", SimpleNamespace(sleep=sleep, process_time=time.process_time))
    loop = SamplerLoop([Sources([world.polled("a", 5.0)])], Flushes(world), world.clock())
    loop.run(lambda: world.now_ns > START_NS + 12 * SECOND)
    assert max(slept) == 0.2
    assert loop.stats()["reads"] == 3
    assert loop.stats()["late_wakeups"] == 0
    assert world.now_ns - START_NS < 12 * SECOND + 250 * MS
