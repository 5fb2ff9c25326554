"""The sampler's loop on a clock that only it and its reads move: when it reads, hands on, waits and gives up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from profilers.sampler.test_sampler_cost import MS, SECOND, START_NS, Flushes, World

from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.sampler import lane, process
from ipw.profilers.sampler.process import SamplerLoop
from ipw.profilers.sampler.relay import Told
from ipw.profilers.sources import Source, Sources, unreadable
from ipw.runs.readings import STATUS_CODES

POWER = Channel(name="made/a", kind="power", scope="gpu", method="integrated_power", poll_s=0.1)
BATCHED = Channel(name="made/b", kind="counter", scope="soc", method="counter", poll_s=0.1)


class Kept(Flushes):
    """Keeps the records too."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.told: list[tuple[int, float, int, int, int]] = []

    def add(self, *record: Any) -> None:
        super().add(*record)
        self.told.append(record)


@dataclass
class Run:
    """A loop, its world, and where its records go."""

    world: World
    loop: SamplerLoop
    kept: Kept

    def settle(self, *, first: bool = False) -> float:
        """Seconds for which it settles."""
        began = self.world.now_ns
        self.loop.settle(first=first)
        return (self.world.now_ns - began) / SECOND

    def go_on(self, seconds: float) -> None:
        end_ns = self.world.now_ns + int(seconds * SECOND)
        self.loop.run(lambda: self.world.now_ns > end_ns)


Begin = Callable[..., Run]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Begin:
    def begun(world: World, *sensors: Sensor) -> Run:
        monkeypatch.setattr(process, "now_ns", world.clock)
        monkeypatch.setattr(lane, "clock_ns", world.clock)
        monkeypatch.setattr(process, "time", SimpleNamespace(sleep=world.sleep, process_time=time.process_time))
        kept = Kept(world)
        return Run(world, SamplerLoop(sensors, kept, world.clock()), kept)

    return begun


def constant(world: World, poll_s: float, name: str = "made/a") -> Source:
    return world.source(replace(POWER, poll_s=poll_s, name=name), lambda _: 5.0)


def every(world: World, seconds: float) -> Source:
    return world.source(BATCHED, lambda t: (t - START_NS) // int(seconds * SECOND))


def gaps_ms(moments: Sequence[int]) -> list[float]:
    return [(after - before) / MS for before, after in pairwise(moments)]


@pytest.mark.parametrize(("poll_s", "each_ms"), [(0.1, 100), (0.25, 250), (0.002, 2), (0.0001, 1)])
def test_what_is_polled_is_read_each_period_and_no_more_often_than_each_millisecond(
    poll_s: float, each_ms: float, begin: Begin
) -> None:
    world = World(late_ns=0)
    begin(world, Sources([constant(world, poll_s)])).go_on(1.0)
    assert world.read_ns[0] < MS
    assert gaps_ms(world.read_ns) == pytest.approx([each_ms] * (len(world.read_ns) - 1), abs=0.01)


def test_beside_a_counter_that_ticks_a_poll_may_come_up_to_a_period_late(begin: Begin) -> None:
    world = World(late_ns=0)
    polled = constant(world, 0.25)
    moments: list[int] = []

    def read() -> Reading | None:
        moments.append(world.now_ns)
        return polled[1]()

    run = begin(world, Sources([world.counter(0, 100), (polled[0], read)]))
    run.go_on(20.0)
    later = gaps_ms(moments)[20:]
    assert min(later) > 250
    assert max(later) < 500
    assert sum(later) / len(later) == pytest.approx(400, abs=10)  # the first tick behind 350 ms: 250, and 0.4 of it


def test_records_are_handed_on_each_four_tenths_of_a_second_and_as_it_ends(begin: Begin) -> None:
    world = World(late_ns=0)
    run = begin(world, Sources([constant(world, 0.01)]))
    run.go_on(2.05)
    assert [round((at - START_NS) / MS) for at in run.kept.at_ns] == [400, 800, 1200, 1600, 2000, 2050]


def test_what_it_learned_is_told_in_seconds(begin: Begin) -> None:
    world = World(late_ns=3 * MS)
    run = begin(world, Sources([world.counter(0, 100), world.counter(1, 2500)]))
    run.go_on(20.0)
    stats = run.loop.stats()
    assert stats["learned"].keys() == {"nvml/gpu0"}
    learned = stats["learned"]["nvml/gpu0"]
    assert learned["period_s"] == pytest.approx(0.1, rel=1e-3)
    assert 1e-4 < learned["bracket_s"] < 5e-3
    assert 3e-3 < stats["max_late_s"] < 30e-3
    assert 0 < stats["late_wakeups"] <= stats["wakeups"]
    assert stats["reads"] == len(world.read_ns)
    assert stats["records"] == len(run.kept.told)
    assert 0 < stats["ticks_watched"] <= stats["ticks"]


def test_on_time_nothing_is_late(begin: Begin) -> None:
    world = World(late_ns=0)
    run = begin(world, Sources([constant(world, 0.1)]))
    run.go_on(5.0)
    stats = run.loop.stats()
    assert (stats["late_wakeups"], stats["max_late_s"], stats["ticks"], stats["ticks_missed"]) == (0, 0.0, 0, 0)
    assert stats["wakeups"] == 50


def test_channels_that_can_be_read_are_numbered_in_order_and_the_last_failures_are_told(begin: Begin) -> None:
    world = World()
    shut = replace(POWER, name="made/shut", status="permission", reason="root only")

    def fails() -> Reading | None:
        raise SensorError("permission", "shut") if world.now_ns // SECOND % 2 else ValueError("odd")

    sources = [unreadable(shut), constant(world, 0.5), unreadable(shut), (replace(POWER, name="made/c"), fails)]

    class Plain:
        """A sensor of another kind."""

        channels: Sequence[Channel] = (replace(POWER, name="made/plain"), replace(POWER, name="made/other"))

        def read(self, index: int) -> Reading | None:
            return Reading(world.now_ns, 10.0 + index, 0)

        def close(self) -> None:
            pass

    run = begin(world, Sources(sources), Plain())
    run.go_on(600.0)
    assert [channel.get("index") for channel in run.loop.channels] == [None, 0, None, 1, 2, 3]
    failures = run.loop.stats()["failures"]
    assert (len(failures), failures) == (256, run.loop.failures)
    assert {failure["channel"] for failure in failures} == {"made/c"}
    assert failures[-1]["t_ns"] > world.now_ns - 5 * SECOND
    values = {index: value for _, value, index, status, _ in run.kept.told if not status}
    assert values == {0: 5.0, 2: 10.0, 3: 11.0}


# --- waiting at either end --------------------------------------------------------------------------------------------


def test_what_has_nothing_to_tell_is_asked_each_thirty_milliseconds_for_a_second(begin: Begin) -> None:
    world = World(late_ns=0)
    asked: list[int] = []

    def silent() -> None:
        asked.append(world.now_ns)

    run = begin(world, Sources([(replace(POWER, poll_s=5.0), silent)]))
    assert run.settle(first=True) == pytest.approx(1.0, abs=0.031)
    assert gaps_ms(asked) == pytest.approx([30.0] * (len(asked) - 1), abs=0.02)


def test_a_counter_of_an_exporter_is_waited_for_as_long_as_it_takes(begin: Begin) -> None:
    world = World(late_ns=0)
    there = replace(BATCHED, update_period_s=30.0, age_periods=1.0)
    assert begin(world, Sources([world.source(there, lambda _: 5.0)])).settle(first=True) == pytest.approx(36, abs=0.05)
    moves = world.source(there, lambda t: (t - START_NS) // (20 * SECOND))
    assert begin(World(late_ns=0), Sources([moves])).settle(first=True) < 36


def test_a_power_that_says_it_is_published_seldom_is_waited_for_a_fifth_longer(begin: Begin) -> None:
    for told_s, waited_s in ((2.0, 2.4), (0.5, 1.0), (60.0, 4.0)):
        world = World(late_ns=0)
        run = begin(world, Sources([(replace(POWER, update_period_s=told_s), lambda: None)]))
        assert run.settle(first=True) == pytest.approx(waited_s, abs=0.05)


def test_a_counter_that_is_renewed_more_seldom_than_each_half_second_is_waited_for(begin: Begin) -> None:
    for told_s, waited_s in ((0.5, 0.0), (0.5005, 1.0)):
        world = World(late_ns=0)
        run = begin(world, Sources([world.source(replace(BATCHED, update_period_s=told_s), lambda _: 5.0)]))
        assert run.settle(first=True) == pytest.approx(waited_s, abs=0.05)


@pytest.mark.parametrize(("stall_s", "waited_s"), [(0, 1.0), (2, 3.0), (3, 4.0), (6, 6.0), (10, 10.0)])
def test_held_up_it_waits_as_much_longer_and_four_seconds_at_the_most(
    stall_s: int, waited_s: float, begin: Begin
) -> None:
    world = World(late_ns=0)
    sleep, stalls = world.sleep, [stall_s]

    def held_up(seconds: float) -> None:
        sleep(seconds + (stalls.pop() if stalls else 0))

    world.sleep = held_up  # type: ignore[method-assign]
    run = begin(world, Sources([(POWER, lambda: None)]))
    assert run.settle(first=True) == pytest.approx(waited_s, abs=0.07)
    stats = run.loop.stats()
    assert (stats["late_wakeups"], stats["max_late_s"]) == pytest.approx((int(stall_s > 0), stall_s), abs=1e-3)


def test_at_the_end_a_counter_in_batches_is_waited_for_as_long_as_it_took_before(begin: Begin) -> None:
    for every_s, waited_s in ((0.4, 0.0), (1.5, 1.5), (3.0, 3.0)):
        world = World(late_ns=0)
        run = begin(world, Sources([every(world, every_s)]))
        run.settle(first=True)
        run.go_on(10 * every_s - (world.now_ns - START_NS) / SECOND + 0.02)
        assert run.settle() == pytest.approx(waited_s, abs=0.15)


# --- of another machine -----------------------------------------------------------------------------------------------


@dataclass
class Far:
    """Another machine, which tells one reading each time that it is asked, from some moment on, until it is away."""

    world: World
    from_ns: int = 0
    away_ns: int = 1 << 62
    channels: Sequence[Channel] = (BATCHED, replace(POWER, status="absent", reason="none"), POWER)
    asked_ns: list[int] = field(default_factory=list)

    def read(self, index: int) -> Reading | None:
        raise NotImplementedError

    def told(self, index: int) -> Sequence[Told]:
        self.asked_ns += [self.world.now_ns] if index == 0 else []
        there = self.from_ns <= self.world.now_ns < self.away_ns
        about = self.world.now_ns
        return [Told(about + 7 * SECOND, float(len(self.asked_ns)), 0, 3, about)] if there else []

    def why(self, index: int) -> str:
        return "no"

    def gone(self) -> str | None:
        return "it was unplugged"

    def close(self) -> None:
        pass


def test_what_another_machine_told_is_taken_twenty_times_a_second(begin: Begin) -> None:
    world = World(late_ns=0)
    far = Far(world)
    run = begin(world, far)
    assert [channel.get("index") for channel in run.loop.channels] == [0, None, 1]
    run.go_on(2.0)
    assert gaps_ms(far.asked_ns) == pytest.approx([50.0] * (len(far.asked_ns) - 1), abs=0.02)
    t_ns, value, index, status, uncertainty_ns = run.kept.told[0]
    assert (value, index, status, uncertainty_ns) == (1.0, 0, 0, 3)
    assert t_ns > world.now_ns
    assert run.loop.stats()["reads"] == len(run.kept.told) == 2 * len(far.asked_ns)


def test_another_machine_is_waited_for_six_seconds_at_either_end(begin: Begin) -> None:
    world = World(late_ns=0)
    far = Far(world, from_ns=START_NS + 5 * SECOND)
    run = begin(world, far)
    assert 5.0 < run.settle(first=True) < 5.2
    run.go_on(10.0)
    assert run.settle() < 0.2
    far.away_ns = world.now_ns
    last = [record for record in run.kept.told if record[2] == 1][-1]
    assert run.settle() == pytest.approx(6.0, abs=0.1)
    lost = run.kept.told[-2:]
    assert [(index, status) for _, _, index, status, _ in lost] == [
        (0, STATUS_CODES["lost"]),
        (1, STATUS_CODES["lost"]),
    ]
    assert lost[1][0] == last[0] + 1
    assert math.isnan(lost[0][1])
    assert [failure["reason"] for failure in run.loop.failures] == ["it was unplugged"] * 2


def test_a_machine_that_never_told_anything_is_waited_for_six_seconds(begin: Begin) -> None:
    world = World(late_ns=0)
    run = begin(world, Far(world, from_ns=1 << 62))
    assert run.settle(first=True) == pytest.approx(6.0, abs=0.1)
    assert (run.kept.told, run.loop.failures) == ([], [])
