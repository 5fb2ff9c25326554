"""A plug that is asked once a second, round by round: what is told of each answer, of a failure and of silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from doubles.clock import Clock
from doubles.exporter import answering
from doubles.meter import Meter, serving
from doubles.patience import wait_for
from doubles.steps import Steps

from ipw.profilers import http_meter
from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.discovery import find
from ipw.profilers.http_meter import HttpMeter

SECOND, TICK_NS = 1_000_000_000, 10_000
POWER, ENERGY = 0, 1


@dataclass
class Plug:
    """A meter, the sensor that asks it, and the clock and the rounds of that."""

    meter: Meter
    sensor: HttpMeter
    clock: Clock
    steps: Steps

    def round(self) -> None:
        """Let it ask once more. It has asked, and waits again, when this returns."""
        self.steps.go_on()
        assert self.steps.waited_s() == 1.0

    def told(self, index: int) -> Reading | str | None:
        """What a channel says: a reading, nothing, or why it failed."""
        try:
            return self.sensor.read(index)
        except SensorError as error:
            return error.reason


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plug]:
    clock = Clock(TICK_NS).drives(http_meter, monkeypatch)
    steps = Steps(http_meter, monkeypatch)
    with serving("shelly", 61.5) as meter:
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        (sensor,) = find("meter")
        assert isinstance(sensor, HttpMeter)
        assert steps.waited_s() == 1.0
        yield Plug(meter, sensor, clock, steps)
        sensor.close()


def test_its_channels_say_what_a_plug_is_good_for(plug: Plug) -> None:
    power, energy = plug.sensor.channels
    shown = plug.meter.url.partition("?")[0]
    common = {"scope": "wall", "method": "external_meter", "update_period_s": 1.0, "poll_s": 0.25, "gain_rel": 0.03}
    for channel in (power, energy):
        assert common.items() <= channel.as_dict().items()
        assert channel.device.startswith(shown)
    assert (power.name, power.kind, power.unit, power.resolution_j) == ("meter/power", "power", "W", None)
    assert (energy.name, energy.kind, energy.unit) == ("meter/energy", "counter", "J")
    assert energy.resolution_j == pytest.approx(3.6)
    assert energy.included_in == "meter/power"
    assert energy.note == "counts in steps of 3.6 J: for runs that draw many of them"


def test_an_answer_is_of_the_middle_of_the_question_and_is_told_once_by_each_channel(plug: Plug) -> None:
    reading = plug.told(POWER)
    assert isinstance(reading, Reading)
    assert (reading.value, reading.uncertainty_ns) == (61.5, TICK_NS // 2)
    assert reading.t_ns == 10**12 + 2 * TICK_NS + TICK_NS // 2  # the first look was as it was opened
    assert plug.told(POWER) is None
    counted = plug.told(ENERGY)
    assert isinstance(counted, Reading)
    assert counted[::2] == reading[::2]
    assert counted.value == pytest.approx(3_600_000, rel=0.01)
    assert plug.told(ENERGY) is None
    plug.meter.watts = 70.0
    plug.round()
    later = plug.told(POWER)
    assert isinstance(later, Reading)
    assert (later.value, plug.told(POWER)) == (70.0, None)


def test_each_question_without_an_answer_is_one_failure_of_each_channel(plug: Plug) -> None:
    plug.told(POWER)
    for _ in range(2):
        plug.meter.body = b"oops"
        plug.round()
        for index in (POWER, ENERGY):
            assert str(plug.told(index)).startswith("the meter did not answer: http://127.0.0.1")
        assert plug.told(POWER) is None
        assert isinstance(plug.told(ENERGY), Reading | None)
    plug.meter.body = None
    plug.round()
    assert isinstance(plug.told(POWER), Reading)


def test_what_an_answer_no_longer_tells_is_lost(plug: Plug) -> None:
    plug.meter.body = b'{"apower": 5.0}'
    plug.round()
    assert isinstance(plug.told(POWER), Reading)
    assert plug.told(ENERGY) == "the meter no longer tells its energy"
    plug.meter.body = b'{"aenergy": {"total": 5.0}}'
    plug.round()
    assert plug.told(POWER) == "the meter no longer tells its power"
    assert isinstance(plug.told(ENERGY), Reading)


def test_after_five_seconds_without_an_answer_it_is_silent(plug: Plug) -> None:
    reading = plug.told(POWER)
    assert isinstance(reading, Reading)
    plug.clock.t_ns = reading.t_ns + 5 * SECOND - TICK_NS
    assert plug.told(POWER) is None
    assert plug.told(POWER) == "the meter is silent: no answer"
    plug.meter.body = b"oops"
    plug.round()
    assert str(plug.told(POWER)).startswith("the meter is silent: http://127.0.0.1")
    plug.meter.body = None
    plug.round()
    assert str(plug.told(POWER)).startswith("the meter did not answer")
    assert isinstance(plug.told(POWER), Reading)
    plug.sensor.close()
    assert str(plug.told(POWER)).startswith("the meter is silent")


def test_a_plug_that_tells_one_of_both_has_that_channel_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[Channel]] = []
    with serving("shelly") as meter:
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        for body in (b'{"apower": 0}', b'{"aenergy": {"total": 0}}'):
            meter.body = body
            (sensor,) = find("meter")
            assert isinstance(sensor, HttpMeter)
            found.append(list(sensor.channels))
            assert wait_for(lambda sensor=sensor: sensor.read(0)).value == 0.0  # type: ignore[misc]
            sensor.close()
    assert [(c.name, c.included_in) for each in found for c in each] == [("meter/power", None), ("meter/energy", None)]


def test_what_a_meter_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("shelly") as meter:
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        meter.login = "a:b"
        (channel,) = find("meter")[0].channels
        assert (channel.name, channel.scope, channel.status) == ("meter", "wall", "permission")
        assert "the meter asks for a user and a password" in (channel.reason or "")
    (channel,) = find("meter")[0].channels
    assert (channel.status, (channel.reason or "").endswith(": Connection refused")) == ("lost", True)


@pytest.mark.parametrize(
    ("status", "told"), [(401, "permission"), (403, "permission"), (404, "lost"), (402, "lost"), (500, "lost")]
)
def test_a_status_that_is_no_answer_is_told(status: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda *_: (status, "")) as url:
        monkeypatch.setenv("IPW_METER_URL", url)
        (channel,) = find("meter")[0].channels
    assert channel.status == told
    assert (f"HTTP status {status}" in (channel.reason or "")) is (told == "lost")


def test_an_answer_of_more_than_a_mebibyte_is_read_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    head = '{"apower": 5.0, "x": "'
    for size, status in ((1 << 20, "ok"), ((1 << 20) + 1, "unsupported")):
        body = head + "y" * (size - len(head) - 2) + '"}'
        with answering(lambda *_, body=body: (200, body)) as url:
            monkeypatch.setenv("IPW_METER_URL", url)
            (sensor,) = find("meter")
        sensor.close()
        assert sensor.channels[0].status == status
