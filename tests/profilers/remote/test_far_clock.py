"""A machine whose clock and whose records the test chooses: what is told of them here, nanosecond by nanosecond."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from doubles.clock import Clock
from doubles.patience import wait_for
from doubles.steps import Steps

from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.discovery import close, find
from ipw.profilers.remote import link as link_module
from ipw.profilers.remote import sensor as sensor_module
from ipw.profilers.remote import service as service_module
from ipw.profilers.remote.link import Trip
from ipw.profilers.remote.sensor import RemoteSensor, bounds, first_trips, told_channels
from ipw.profilers.sampler.relay import Told
from ipw.runs.readings import STATUS_CODES

SECOND, TICK_NS = 1_000_000_000, 10_000
LOST, SHUT = STATUS_CODES["lost"], STATUS_CODES["permission"]
ENTRY = {"name": "x", "kind": "power", "scope": "gpu", "method": "counter"}


@dataclass
class Far:
    """The clocks of both sides: theirs is ahead by so much."""

    ours: Clock
    ahead_ns: int = 5 * SECOND

    def now_ns(self) -> int:
        return self.ours.now_ns() + self.ahead_ns


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Far:
    """Time passes as somebody looks at the clock, and as the test says."""
    clock = Clock(TICK_NS)
    for module in (sensor_module, link_module):
        clock.drives(module, monkeypatch)
    found = Far(clock)
    monkeypatch.setattr(service_module, "now_ns", found.now_ns)
    monkeypatch.setattr(service_module, "BEAT_S", 0.01)
    return found


@pytest.fixture
def steps(far: Far, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Both threads wait for the test between their rounds."""
    return Steps(sensor_module, monkeypatch)


@contextmanager
def opened(url: str) -> Iterator[RemoteSensor]:
    (sensor,) = find(url)
    try:
        assert isinstance(sensor, RemoteSensor)
        yield sensor
    finally:
        close([sensor])


def told(sensor: RemoteSensor, index: int, count: int) -> list[Told]:
    found: list[Told] = []

    def enough() -> bool:
        found.extend(sensor.told(index))
        return len(found) >= count

    wait_for(enough)
    return found


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_how_far_a_clock_is_ahead_lies_between_the_tightest_of_all_exchanges() -> None:
    trips = [Trip(0, 60, 100), Trip(200, 270, 290), Trip(300, 340, 370)]
    assert bounds(trips, 0) == (-20, 40)
    assert bounds(trips, 50) == (-70, -10)
    assert bounds(trips[:1], 0) == (-40, 60)


@pytest.mark.parametrize(("trip_s", "count"), [(0.001, 32), (0.02, 20), (0.06, 8), (1.0, 8)])
def test_clocks_are_compared_for_a_moment_with_eight_exchanges_at_least(trip_s: float, count: int, far: Far) -> None:
    @dataclass
    class Wire:
        asked: int = 0

        def trip(self) -> Trip:
            self.asked += 1
            far.ours.sleep(trip_s)
            return Trip(0, 0, self.asked)

    wire: Any = Wire()
    assert len(first_trips(wire)) == wire.asked == pytest.approx(count, abs=1 if count == 20 else 0)


def test_the_first_channel_says_how_far_the_clock_is_ahead_and_tells_it_on(
    machine: Any, far: Far, steps: Steps
) -> None:
    with machine.up() as url, opened(url) as sensor:
        assert sensor.channels[0].note == "5.000000 s ahead at first, known to ±0.01 ms; round trip 0.02 ms"
        first = told(sensor, 0, 32)
        assert len(first) == 32
        assert {(each.value, each.code, each.uncertainty_ns) for each in first} == {(0.0, 0, TICK_NS)}
        assert all(each.t_ns == each.about_ns for each in first)
        assert far.ours.t_ns - SECOND < first[-1].t_ns < far.ours.t_ns
        assert steps.waited_s() == 0.25
        far.ahead_ns += 3 * SECOND
        steps.go_on()
        (later,) = told(sensor, 0, 1)
        assert later.value == pytest.approx(3.0, abs=0.01)


def test_lately_is_the_last_forty_exchanges(machine: Any, far: Far, steps: Steps) -> None:
    with machine.up() as url, opened(url) as sensor:
        ahead_ns, error_ns = sensor.ahead()
        assert (ahead_ns, error_ns) == pytest.approx((5e9, 1e4), abs=1e4)
        assert len(told(sensor, 0, 32)) == 32
        far.ahead_ns += 10_000_000
        for round_ in range(1, 41):
            assert steps.waited_s() == 0.25
            steps.go_on()
            told(sensor, 0, 1)
            assert (sensor.ahead()[1] > 1e6) is (round_ < 40)
        assert sensor.ahead()[0] == pytest.approx(5.01e9, abs=1e6)


# --- readings ---------------------------------------------------------------------------------------------------------


def test_a_record_is_told_on_that_clock_less_its_lead_at_first_and_about_ours(
    machine: Any, far: Far, steps: Steps
) -> None:
    moments = [0, 7 * SECOND, 2**62 - 1, 2**62, -1]
    for t_ns in moments:
        machine.ring.add(t_ns, 4.5, 0, 0, 77)
    machine.ring.add(8 * SECOND, 5.5, 1, 0, 78)
    machine.ring.add(9 * SECOND, 5.5, 9, 0, 78)
    machine.ring.flush()
    with machine.up() as url, opened(url) as sensor:
        (other,) = told(sensor, 2, 1)
        found = sensor.told(1)
        assert [each.t_ns for each in found] == [t_ns - 5 * SECOND for t_ns in moments[:3]]
        assert {(each.value, each.code, each.uncertainty_ns) for each in found} == {(4.5, 0, 77)}
        assert other == Told(3 * SECOND, 5.5, 0, 78, other.about_ns)
        assert other.about_ns == pytest.approx(3 * SECOND, abs=1e5)
        assert sensor.told(1) == sensor.told(2) == []


def test_some_of_what_was_read_before_is_taken_too(machine: Any, far: Far) -> None:
    machine.read(2000)
    with machine.up() as url, opened(url) as sensor:
        machine.read(3)
        found = told(sensor, 1, 1027)
    assert [each.value for each in found] == [float(each) for each in range(977, 2004)]


def test_a_channel_read_one_by_one_gives_readings_failures_and_nothing(machine: Any, far: Far, steps: Steps) -> None:
    machine.ring.add(7 * SECOND, 4.5, 0, 0, 77)
    machine.ring.add(8 * SECOND, math.nan, 0, SHUT, 0)
    machine.ring.add(9 * SECOND, math.nan, 0, 77, 0)
    machine.ring.add(9 * SECOND, 1.0, 1, 0, 0)
    machine.ring.flush()
    with machine.up() as url, opened(url) as sensor:
        told(sensor, 2, 1)
        assert sensor.read(1) == Reading(2 * SECOND, 4.5, 77)
        for status in ("permission", "lost"):
            with pytest.raises(SensorError, match="it could not be read there") as failed:
                sensor.read(1)
            assert failed.value.status == status
        assert sensor.read(1) is None
        with pytest.raises(SensorError, match="energy_uj may not be read") as failed:
            sensor.read(3)
        assert failed.value.status == "permission"


@pytest.mark.parametrize(
    ("failures", "why"),
    [
        ([("nvml/gpu0", "first"), ("nvml/gpu0", "last"), ("nvml/gpu1", "other")], "last"),
        ([("nvml/gpu0", "x" * 300)], "x" * 200),
        ([("nvml/gpu1", "other")], "it could not be read there"),
        ("odd", "it could not be read there"),
        ([5, None], "it could not be read there"),
    ],
)
def test_why_a_channel_failed_is_asked_there(failures: Any, why: str, machine: Any, far: Far, steps: Steps) -> None:
    machine.failures = (
        [{"channel": each[0], "reason": each[1]} if isinstance(each, tuple) else each for each in failures]
        if isinstance(failures, list)
        else failures
    )
    machine.ring.add(7 * SECOND, math.nan, 0, LOST, 0)
    machine.ring.flush()
    with machine.up() as url, opened(url) as sensor:
        told(sensor, 1, 1)
        assert sensor.why(1) == why


# --- machines that go -------------------------------------------------------------------------------------------------


def test_after_twenty_seconds_without_a_word_what_is_not_read_is_lost(
    machine: Any, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor_module, "EXCHANGE_S", 10_000.0)
    monkeypatch.setattr(sensor_module, "RETRY_S", 0.001)
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        sensor = stack.enter_context(opened(first.enter_context(machine.up())))
        assert sensor.gone() is None
        machine.ring.add(7 * SECOND, 4.5, 0, 0, 77)
        machine.ring.flush()
        told(sensor, 1, 1)
        first.close()
        wait_for(sensor.gone)
        with pytest.raises(SensorError, match=r"refused|closed"):
            wait_for(lambda: sensor.read(1))
        far.ours.t_ns += 19 * SECOND
        asked_ns = far.ours.t_ns
        wait_for(lambda: far.ours.t_ns > asked_ns + 20 * TICK_NS)  # some rounds more
        assert sensor.told(1) == []
        far.ours.t_ns += SECOND
        (lost,) = told(sensor, 1, 1)
        assert (lost.t_ns, lost.code, lost.about_ns) == (2 * SECOND + 1, LOST, 2 * SECOND + 1)
        assert math.isnan(lost.value)
        assert sensor.why(1) == sensor.gone()
        asked_ns = far.ours.t_ns
        wait_for(lambda: far.ours.t_ns > asked_ns + 20 * TICK_NS)
        assert sensor.told(1) == []  # once
        assert sensor.told(2) == []  # of this one nothing was ever read


@pytest.mark.parametrize(
    ("before", "after", "shift_s"), [("a", "a", 5), ("a", "b", 7), (None, None, 7), (None, "b", 7), ("a", None, 7)]
)
def test_a_process_that_is_started_anew_keeps_its_clock_unless_the_machine_was(
    before: str | None, after: str | None, shift_s: int, machine: Any, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor_module, "EXCHANGE_S", 10_000.0)
    monkeypatch.setattr(sensor_module, "RETRY_S", 0.01)
    machine.boot = before
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(machine.up())
        sensor = stack.enter_context(opened(url))
        machine.ring.add(7 * SECOND, 4.5, 0, 0, 0)
        machine.ring.flush()
        told(sensor, 1, 1)
        first.close()
        wait_for(sensor.gone)
        machine.ring.__init__(64)
        machine.boot, far.ahead_ns = after, 7 * SECOND
        for t_ns in (9 * SECOND, 10 * SECOND):
            machine.ring.add(t_ns, 5.5, 0, 0, 0)
        machine.ring.flush()
        stack.enter_context(machine.up(port=int(url.rpartition(":")[2]), instance="two"))
        found = told(sensor, 1, 3)
    assert [each.t_ns for each in found] == [2 * SECOND + 1, (9 - shift_s) * SECOND, (10 - shift_s) * SECOND]
    assert "was started anew" in sensor.why(1)


# --- what there is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([{**ENTRY, "name": f"x{k}"} for k in range(4096)], None),
        ([{**ENTRY, "name": f"x{k}"} for k in range(4097)], "tells no channels"),
        ([{**ENTRY, "name": "x" * 200}], None),
        ([{**ENTRY, "name": "x" * 201}], "cannot be used: its name"),
        ([{**ENTRY, "name": ""}], "cannot be used: its name"),
        ([{**ENTRY, "host": "y"}], "cannot be used: its name"),
        ([{**ENTRY, "clock": "y"}], "cannot be used: its name"),
        ([{**ENTRY, "index": 2**16 - 2}], None),
        ([{**ENTRY, "index": 2**16 - 1}], "cannot be used: .*index"),
        ([ENTRY, ENTRY], "two channels of the other side have one name"),
        ([], None),
        (None, "tells no channels"),
    ],
)
def test_channels_of_another_machine_are_within_limits(entries: Sequence[Any], reason: str | None) -> None:
    if reason is None:
        assert told_channels({"channels": entries}) == entries
    else:
        with pytest.raises(SensorError, match=reason) as failed:
            told_channels({"channels": entries})
        assert failed.value.status == "unsupported"


def test_a_channel_says_here_what_it_says_there(machine: Any, far: Far, steps: Steps) -> None:
    machine.channels = [
        Channel(name="a/b", kind="power", scope="gpu", method="integrated_power", unit="W", asked=True, note="n",
                included_in="a", shape="a/s", device="d").as_dict() | {"index": 0, "new": "5"},
        Channel(name="a/c", kind="power", scope="gpu", method="integrated_power").as_dict(),
        Channel(name="a/d", kind="power", scope="gpu", method="counter", status="absent", reason="r").as_dict(),
    ]  # fmt: skip
    with machine.up() as url, opened(url) as sensor:
        clock, first, second, third = sensor.channels
    assert (first.name, first.included_in, first.shape) == ("127.0.0.1/a/b", "127.0.0.1/a", "127.0.0.1/a/s")
    assert (first.status, first.asked, first.note, first.device, first.hint) == ("ok", False, "n", "d", None)
    assert (first.host, first.here, first.clock) == ("127.0.0.1", False, "127.0.0.1/clock")
    assert (second.status, second.included_in, second.shape) == ("unsupported", None, None)
    assert (third.status, third.reason) == ("absent", "r")
    assert (clock.name, clock.host, clock.here, clock.device) == (
        "127.0.0.1/clock", "127.0.0.1", False, f"{url} gpubox"
    )  # fmt: skip


def test_an_empty_token_is_none_and_where_nobody_serves_it_is_told_what_to_run(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPW_SENSORS_TOKEN", "")
    with machine.up() as url, opened(url) as sensor:
        assert len(sensor.channels) == 4
    (sensor_that_is_missing,) = find(url)
    (channel,) = sensor_that_is_missing.channels
    port = url.rpartition(":")[2]
    assert channel.hint == f"on 127.0.0.1: ipw sensors serve --listen 0.0.0.0:{port}"
    assert (channel.name, channel.host, channel.here, channel.scope) == ("127.0.0.1", "127.0.0.1", False, "system")
