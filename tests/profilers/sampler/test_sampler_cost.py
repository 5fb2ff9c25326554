"""How often the sampler wakes and reads, on a clock of our own: what it costs on real machines follows from that.

Each world is a minute of counters that tick, seen through a loop whose sleep ends a little late. The counts are those
of today. Fewer wake-ups or reads with as many ticks watched are welcome; more of them must be worth it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, SimpleNamespace

import pytest

from ipw.profilers.base import Channel, Reading
from ipw.profilers.sampler import lane, process
from ipw.profilers.sampler.lane import PowerFile
from ipw.profilers.sampler.process import SamplerLoop
from ipw.profilers.sources import Source, Sources

MS, SECOND = 1_000_000, 1_000_000_000
START_NS, MINUTE_NS = 1_000 * SECOND, 60 * SECOND
CLOCK_NS, READ_NS = 300, 2_000
"""How long it takes to look at the clock, and to read."""


class World:
    """A clock that goes on as it is looked at, read by and slept on, and what may be read."""

    def __init__(self, late_ns: int = 90_000) -> None:
        self.now_ns = START_NS
        self.read_ns: list[int] = []
        """When something was read."""
        self._late_ns, self._sleeps = late_ns, 0

    def clock(self) -> int:
        self.now_ns += CLOCK_NS
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        """Sleep a little too long: two thirds to twice of what is usual, and now and then by far."""
        self._sleeps += 1
        often, seldom = self._sleeps * 37 % 100, self._sleeps % 89 == 0
        self.now_ns += int(seconds * SECOND) + self._late_ns * (50 + often + 400 * seldom) // 75

    def source(self, channel: Channel, value: Callable[[int], float]) -> Source:
        def read() -> Reading:
            before = self.now_ns
            self.read_ns.append(before - START_NS)
            self.now_ns += READ_NS
            return Reading(before + READ_NS // 2, float(value(before)), READ_NS // 2)

        return channel, read

    def counter(
        self, number: int, period_ms: float, phase_ms: float = 0.0, jitter_ms: float = 0.0, shape: str | None = None
    ) -> Source:
        """A GPU's counter, whose ticks stray from their grid by up to `jitter_ms`, each by its own."""

        def joules(t_ns: int) -> float:
            at = (t_ns - START_NS) / MS - phase_ms
            tick = int(at // period_ms)
            stray = ((tick * 7919 + number * 104729) % 201 - 100) / 100 * jitter_ms
            return float(tick if at - tick * period_ms >= stray else tick - 1)

        channel = Channel(
            name=f"nvml/gpu{number}", kind="counter", scope="gpu", method="counter", ticks=True, shape=shape
        )
        return self.source(channel, joules)

    def polled(self, name: str, poll_s: float) -> Source:
        return self.source(
            Channel(name=name, kind="gauge", scope="gpu", method="counter", poll_s=poll_s), lambda t: t // MS
        )


@dataclass
class Counted:
    """A second's mean over the minute, and what was seen of the ticks."""

    wakeups: float
    reads: float
    records: float
    watched: int
    missed: int
    late: int
    bracket_ms: float
    """The widest."""


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[World, Sequence[Source]], Counted]:
    """Settle, learn for two seconds, and count for a minute."""

    def counted(world: World, sources: Sequence[Source]) -> Counted:
        monkeypatch.setattr(process, "now_ns", world.clock)
        monkeypatch.setattr(lane, "clock_ns", world.clock)
        monkeypatch.setattr(process, "time", SimpleNamespace(sleep=world.sleep, process_time=time.process_time))
        file = PowerFile(tmp_path / "power.bin")
        loop = SamplerLoop([Sources(sources)], file, world.clock())
        loop.settle(first=True)
        for seconds in (2, 60):
            before, end_ns = loop.stats(), world.now_ns + seconds * SECOND
            loop.run(lambda end_ns=end_ns: world.now_ns > end_ns)  # type: ignore[misc]
        after = loop.stats()
        file.close()
        grown = {key: after[key] - before[key] for key in after if isinstance(after[key], int)}
        return Counted(
            wakeups=grown["wakeups"] / 60,
            reads=grown["reads"] / 60,
            records=grown["records"] / 60,
            watched=grown["ticks_watched"],
            missed=grown["ticks_missed"],
            late=grown["late_wakeups"],
            bracket_ms=max((each["bracket_s"] * 1e3 for each in after["learned"].values()), default=0.0),
        )

    return counted


Sample = Callable[[World, Sequence[Source]], Counted]


def gauges(world: World, gpus: int) -> list[Source]:
    """What is polled beside the counters of a server with so many GPUs."""
    of_each = [("power", 0.25), ("temperature", 2), ("sm_clock", 2), ("memory_clock", 5), ("power_limit", 5)]
    found = [world.polled(f"nvml/gpu{k}/{name}", poll_s) for k in range(gpus) for name, poll_s in of_each]
    found += [world.polled(f"load/gpu{k}/others", 5 + 0.25 * k) for k in range(gpus)]
    return [*found, world.polled("load/host", 1.0), *(world.polled(f"rapl/package-{k}", 0.1) for k in (0, 1))]


def test_a_server_wakes_once_a_tick_and_reads_all_its_counters_then(sample: Sample) -> None:
    world = World()
    found = sample(world, [*(world.counter(k, 100) for k in range(8)), *gauges(world, 8)])
    assert (found.missed, found.late) == (0, 0)
    assert found.watched == pytest.approx(8 * 60 / 1.6, rel=0.03)  # each has its turn every 1.6 s
    assert found.wakeups == pytest.approx(10.9, abs=0.1)
    assert found.reads == pytest.approx(126, abs=2)
    assert found.records == pytest.approx(found.reads, abs=1)
    assert found.bracket_ms < 0.7


def test_what_is_polled_wakes_nobody_who_is_awake_for_a_counter_anyway(sample: Sample) -> None:
    world, other = World(), World()
    alone = sample(world, [world.counter(k, 100) for k in range(8)])
    beside = sample(other, [*(other.counter(k, 100) for k in range(8)), *gauges(other, 8)])
    assert beside.wakeups <= alone.wakeups + 0.1


def test_eight_counters_of_eight_phases_are_read_at_one_moment_but_for_whose_turn_it_is(sample: Sample) -> None:
    world = World()
    found = sample(world, [world.counter(k, 100, phase_ms=12.5 * k) for k in range(8)])
    assert found.missed <= 1
    assert found.watched == pytest.approx(8 * 60 / 2.4, rel=0.1)  # eight turns of three ticks each
    assert 10 < found.wakeups < 17
    assert found.reads == pytest.approx(8 * 10 + 2 * found.watched / 60, abs=3)


def test_ticks_that_stray_are_watched_more_often_and_few_are_missed(sample: Sample) -> None:
    world = World()
    found = sample(world, [world.counter(k, 100, jitter_ms=2) for k in range(2)])
    assert 0 < found.missed <= 0.03 * found.watched
    assert found.watched > 2 * 60 / 1.6
    assert 0.8 < found.bracket_ms < 1.2


def test_a_counter_that_ticks_each_fiftieth_of_a_second_is_read_that_often(sample: Sample) -> None:
    world = World()
    found = sample(world, [world.counter(0, 20)])
    assert found.missed == 0
    assert found.reads == pytest.approx(50, rel=0.1)
    assert found.wakeups == pytest.approx(found.reads, rel=0.1)


def test_a_counter_that_is_costly_to_read_is_read_around_watched_ticks_only(sample: Sample) -> None:
    world = World()
    found = sample(world, [world.counter(0, 100, shape="nvml/gpu0/samples"), world.polled("nvml/gpu0/samples", 0.4)])
    assert found.missed == 0
    assert found.watched == pytest.approx(60 / 1.6, abs=2)
    assert found.reads == pytest.approx(2 * found.watched / 60 + 1 / (1.4 * 0.4), rel=0.05)  # at most 1.4 times as late


def test_without_a_counter_that_ticks_each_is_read_when_it_is_due(sample: Sample) -> None:
    world = World()
    found = sample(world, [world.polled("a", 0.1), world.polled("b", 1.0), world.polled("c", 0.25)])
    assert found.reads == pytest.approx(10 + 1 + 4, rel=0.02)
    assert found.wakeups <= 15.5
    assert (found.watched, found.late) == (0, 0)


def test_waking_later_than_a_millisecond_is_counted(sample: Sample) -> None:
    world = World(late_ns=3 * MS)
    found = sample(world, [world.polled("a", 0.1)])
    assert found.late == pytest.approx(found.wakeups * 60, abs=2)


class Flushes:
    """Where records go, and when they are handed on."""

    def __init__(self, world: World) -> None:
        self._world, self.records = world, 0
        self.at_ns: list[int] = []
        self.oldest_ns = 0
        self._since_ns: int | None = None

    def add(self, _t_ns: int, _value: float, _index: int, _code: int, _uncertainty_ns: int) -> None:
        self.records += 1
        self._since_ns = self._world.now_ns if self._since_ns is None else self._since_ns

    def flush(self) -> None:
        self.at_ns.append(self._world.now_ns)
        if self._since_ns is not None:
            self.oldest_ns = max(self.oldest_ns, self._world.now_ns - self._since_ns)
        self._since_ns = None


def test_readings_are_handed_on_half_a_second_later_at_the_most_and_no_more_often_than_they_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    monkeypatch.setattr(process, "now_ns", world.clock)
    monkeypatch.setattr(lane, "clock_ns", world.clock)
    monkeypatch.setattr(process, "time", SimpleNamespace(sleep=world.sleep, process_time=time.process_time))
    sink = Flushes(world)
    loop = SamplerLoop([Sources([world.counter(0, 100), world.polled("a", 0.25)])], sink, world.clock())
    loop.run(lambda: world.now_ns > START_NS + MINUTE_NS)
    assert sink.oldest_ns < 0.5 * SECOND
    assert len(sink.at_ns) == pytest.approx(60 / 0.45, rel=0.1)


WORLDS: dict[str, Callable[[World], Sequence[Source]]] = {
    "eight in phase": lambda world: [*(world.counter(k, 100) for k in range(8)), *gauges(world, 8)],
    "eight phases": lambda world: [world.counter(k, 100, phase_ms=12.5 * k) for k in range(8)],
    "three periods": lambda world: [world.counter(k, period) for k, period in enumerate((20, 100, 333))],
    "stray": lambda world: [world.counter(k, 100, phase_ms=30 * k, jitter_ms=3) for k in range(3)],
    "stray by far": lambda world: [world.counter(0, 50, jitter_ms=20), world.polled("a", 0.1)],
    "too quick and too slow": lambda world: [world.counter(0, 2), world.counter(1, 2500)],
    "costly": lambda world: [world.counter(0, 100, shape="b"), world.counter(1, 20), world.polled("b", 0.4)],
}
KNOWN = {
    "eight in phase": (8766, 977382858.3145),
    "eight phases": (6045, 657896112.3388),
    "three periods": (4591, 507827067.4451),
    "stray": (2380, 258033192.2264),
    "stray by far": (1325, 132893597.1795),
    "too quick and too slow": (5474, 431188397.8028),
    "costly": (3548, 417658821.0379),
}
"""Reads, and the sum of their moments in ms, each weighing one to seven times."""


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_read_when_is_as_it_was(name: str, sample: Sample) -> None:
    world = World()
    sample(world, WORLDS[name](world))
    moments = sum((1 + k % 7) * (t_ns / MS) for k, t_ns in enumerate(world.read_ns))
    reads, known = KNOWN[name]
    assert len(world.read_ns) == reads
    assert moments == pytest.approx(known, rel=1e-7)


def test_a_read_runs_few_functions_and_its_objects_are_no_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every read is run where caches are cold: what it costs is how much code and how many objects it comes by."""
    world = World()
    monkeypatch.setattr(process, "now_ns", world.clock)
    monkeypatch.setattr(lane, "clock_ns", world.clock)
    monkeypatch.setattr(process, "time", SimpleNamespace(sleep=world.sleep, process_time=time.process_time))
    file = PowerFile(tmp_path / "power.bin")
    loop = SamplerLoop([Sources([world.counter(k, 100) for k in range(8)])], file, world.clock())
    loop.run(lambda: world.now_ns > START_NS + 10 * SECOND)
    reads, calls = loop.stats()["reads"], 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call" and f"{Path('ipw') / 'profilers'}" in frame.f_code.co_filename

    sys.setprofile(count)
    try:
        loop.run(lambda: world.now_ns > START_NS + 20 * SECOND)
    finally:
        sys.setprofile(None)
    file.close()
    assert calls < 7 * (loop.stats()["reads"] - reads)
    assert not any(hasattr(each, "__dict__") for pair in loop._followed for each in pair)
