"""The driver's ring of power samples: which are taken, when they were true, and when the driver is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ipw.profilers.base import Reading, SensorError
from ipw.profilers.nvidia import samples
from ipw.profilers.nvidia.samples import Ring, slow, wall_clock_ahead_ns

MS = 1_000_000
AHEAD_NS = 5_000_000_000
"""By how much the wall clock is ahead at first."""


class Machine:
    """A clock that stands until the test moves it, and a driver that has what the test gave it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns, self.ahead_ns, self.asked_since_us = 0, AHEAD_NS, list[int]()
        self.ring: list[tuple[int, int]] = []
        """Microseconds of the wall clock, and milliwatts."""
        self.error: Exception | None = None
        monkeypatch.setattr(samples, "now_ns", lambda: self.now_ns)
        monkeypatch.setattr(samples, "time", SimpleNamespace(time_ns=lambda: self.now_ns + self.ahead_ns))

    NVML_TOTAL_POWER_SAMPLES = 0

    def nvmlDeviceGetSamples(self, handle: str, kind: int, since_us: int) -> tuple[int, list[Any]]:  # noqa: N802 - NVML's
        """Answer as pynvml does; drivers give samples that were given before, too."""
        assert (handle, kind) == ("handle", 0)
        self.asked_since_us.append(since_us)
        if self.error:
            raise self.error
        return 1, [SimpleNamespace(timeStamp=us, sampleValue=SimpleNamespace(uiVal=mw)) for us, mw in self.ring]

    def samples(self, *times_ms: float) -> None:
        """Have samples of 1 W, 2 W, … at these times of the monotonic clock."""
        self.ring = [(round(ms * 1000) + AHEAD_NS // 1000, 1000 * n) for n, ms in enumerate(times_ms, 1)]

    def reads(self, ring: Ring) -> list[Reading]:
        return list(iter(ring.read, None))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def failure(code: int) -> Exception:
    import pynvml

    error: Exception = pynvml.NVMLError(code)
    return error


def test_a_sample_is_watts_4_ms_before_its_time_on_our_clock(machine: Machine) -> None:
    machine.samples(40, 20, 60)
    ring = Ring(machine, "handle")
    assert ring.period_s == 0.02
    told = [Reading(16 * MS, 2.0, 4 * MS), Reading(36 * MS, 1.0, 4 * MS), Reading(56 * MS, 3.0, 4 * MS)]
    assert machine.reads(ring) == told


@pytest.mark.parametrize(
    ("times_ms", "reason"),
    [
        ((), "keeps no power samples"), ((20, 40), "keeps no power samples"), ((20, 40, 60), None),
        ((50, 100, 150), None), ((51, 102, 153), "power samples 51 ms apart"), ((20, 40, 60, 400, 420), None),
    ],
)  # fmt: skip
def test_three_samples_are_a_ring_if_most_are_no_more_than_50_ms_apart(
    machine: Machine, times_ms: tuple[float, ...], reason: str | None
) -> None:
    machine.samples(*times_ms)
    if reason is None:
        Ring(machine, "handle")
        return
    with pytest.raises(SensorError, match=reason) as told:
        Ring(machine, "handle")
    assert told.value.status == "unsupported"


def test_the_driver_is_asked_for_news_once_in_25_ms_and_only_when_all_were_given(machine: Machine) -> None:
    machine.samples(20, 40, 60)
    ring = Ring(machine, "handle")
    machine.now_ns = 100 * MS
    assert ring.read()
    assert machine.asked_since_us == [0]
    machine.now_ns = 25 * MS - 1
    assert len(machine.reads(ring)) == 2
    assert machine.asked_since_us == [0]
    machine.now_ns = 25 * MS
    machine.samples(20, 40, 60, 80)
    assert machine.reads(ring) == [Reading(76 * MS, 4.0, 4 * MS)]
    assert machine.asked_since_us == [0, 5_060_000]
    machine.now_ns = 50 * MS
    assert machine.reads(ring) == []  # the same four again
    machine.now_ns, machine.error = 75 * MS, failure(6)  # nothing since
    assert machine.reads(ring) == []
    machine.now_ns, machine.error = 100 * MS, failure(15)
    with pytest.raises(SensorError, match="GPU is lost"):
        ring.read()


@pytest.mark.parametrize(("step_ns", "given"), [(5 * MS, 1), (5 * MS + 1, 0), (-5 * MS, 1), (-5 * MS - 1, 0)])
def test_samples_around_a_step_of_the_wall_clock_of_more_than_5_ms_are_of_no_known_time(
    machine: Machine, step_ns: int, given: int
) -> None:
    machine.samples(20, 40, 60)
    ring = Ring(machine, "handle")
    machine.reads(ring)
    machine.ahead_ns += step_ns
    for now_ns, last_ms, news in ((30 * MS, 80, given), (60 * MS, 100, 1)):
        machine.now_ns = now_ns
        machine.samples(60, last_ms)
        told = machine.reads(ring)
        assert [each.t_ns for each in told] == [last_ms * MS - step_ns - 4 * MS] * news


def test_the_clocks_are_compared_where_that_took_least(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = iter([0, 100, 1000, 1002, 2000, 2050])
    walls = iter([7000, 8001, 9999])
    monkeypatch.setattr(samples, "now_ns", lambda: next(shown))
    monkeypatch.setattr(samples, "time", SimpleNamespace(time_ns=lambda: next(walls)))
    assert wall_clock_ahead_ns() == 8001 - 1001
    assert list(shown) == list(walls) == []


@pytest.mark.parametrize(
    ("took_us", "is_slow"),
    [
        ([500] * 5, False), ([501] * 5, True),
        ([400, 400, 400, 9000, 9000], False), ([400, 400, 9000, 9000, 9000], True),
        ([9000, 9000], True), ([400, 400], False), ([], False),
    ],
)  # fmt: skip
def test_a_counter_is_slow_whose_answers_mostly_take_more_than_half_a_millisecond(
    machine: Machine, took_us: list[int], is_slow: bool
) -> None:
    left = iter(took_us)

    def read() -> Reading:
        took = next(left, None)
        if took is None:
            raise SensorError("lost", "gone")
        machine.now_ns += took * 1000
        return Reading(machine.now_ns, 1.0, 0)

    assert slow(read) is is_slow
    assert next(left, None) is None
