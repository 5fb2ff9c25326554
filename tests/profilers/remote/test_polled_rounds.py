"""What asks an exporter in a thread of its own, round by round; and where an address leads that names no port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from doubles.clock import Clock
from doubles.patience import wait_for
from doubles.steps import Steps

from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.discovery import close, find
from ipw.profilers.remote import polled
from ipw.profilers.remote.polled import Polled, Values

TICK_NS = 10_000
CHANNELS = [
    Channel(name=f"far/gpu{k}", kind="power", scope="gpu", method="integrated_power", unit="W") for k in range(2)
]


@dataclass
class Exporter:
    """Tells what the test says, in so many seconds."""

    clock: Clock
    steps: Steps
    values: dict[str, float] = field(default_factory=lambda: {"a": 1.0, "b": 2.0})
    takes_s: float = 0.0
    fails: str | None = None
    closed: int = 0
    sensor: Any = None

    def ask(self) -> Values:
        self.clock.sleep(self.takes_s)
        if self.fails:
            raise SensorError("permission", self.fails)
        return dict(self.values)

    def close(self) -> None:
        self.closed += 1

    def told(self, index: int) -> Reading | str | None:
        try:
            reading: Reading | None = self.sensor.read(index)
        except SensorError as error:
            return f"{error.status}: {error.reason}"
        return reading


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exporter]:
    clock = Clock(TICK_NS).drives(polled, monkeypatch)
    made = Exporter(clock, Steps(polled, monkeypatch))
    made.sensor = Polled(CHANNELS, ["a", "b"], made.ask, 0.5, made.close)
    yield made
    made.sensor.close()
    assert made.closed == 1


def test_a_value_is_told_once_of_the_middle_of_the_question(exporter: Exporter) -> None:
    assert exporter.steps.waited_s() == pytest.approx(0.5 - 2 * TICK_NS / 1e9)
    assert exporter.told(0) == Reading(10**12 + TICK_NS + TICK_NS // 2, 1.0, TICK_NS // 2)
    assert exporter.told(0) is None
    assert exporter.told(1) == Reading(10**12 + TICK_NS + TICK_NS // 2, 2.0, TICK_NS // 2)
    exporter.takes_s = 0.2
    began_ns = exporter.clock.t_ns
    exporter.steps.go_on()
    assert exporter.steps.waited_s() == pytest.approx(0.3, abs=1e-4)
    later = exporter.told(1)
    assert isinstance(later, Reading)
    assert later.uncertainty_ns == (200_000_000 + TICK_NS) // 2
    assert later.t_ns == began_ns + TICK_NS + later.uncertainty_ns


def test_what_is_slow_to_answer_is_left_alone_for_a_moment_all_the_same(exporter: Exporter) -> None:
    exporter.steps.waited_s()
    exporter.takes_s = 3.0
    exporter.steps.go_on()
    assert exporter.steps.waited_s() == 0.05


def test_a_question_that_failed_is_told_once_by_each_channel_and_a_value_that_is_gone_by_its_own(
    exporter: Exporter,
) -> None:
    exporter.steps.waited_s()
    exporter.fails = "the token is wrong"
    exporter.steps.go_on()
    exporter.steps.waited_s()
    for index in (0, 1):
        assert exporter.told(index) == "permission: the token is wrong"
        assert exporter.told(index) is None
    exporter.fails = None
    del exporter.values["a"]
    exporter.values["b"] = 0.0
    exporter.steps.go_on()
    exporter.steps.waited_s()
    assert exporter.told(0) == "lost: it is no longer told"
    assert exporter.told(0) is None
    zero = exporter.told(1)
    assert isinstance(zero, Reading)
    assert zero.value == 0.0


def test_before_the_first_answer_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(TICK_NS).drives(polled, monkeypatch)
    made = Exporter(clock, Steps(polled, monkeypatch))
    ready: list[int] = []

    def ask() -> Values:
        wait_for(lambda: ready)
        return {"a": 1.0}

    sensor = Polled(CHANNELS[:1], ["a"], ask, 0.5, made.close)
    assert sensor.read(0) is None
    ready.append(1)
    assert wait_for(lambda: sensor.read(0)).value == 1.0
    sensor.close()
    assert made.closed == 1


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("dcgm:http://h.test", ("h.test", 9400)),
        ("prometheus:http://h.test?query=a_watts", ("h.test", 9090)),
        ("http://h.test", ("h.test", 9321)),
        ("https://[::1]", ("::1", 9321)),
        ("dcgm:http://h.test:7/x", ("h.test", 7)),
    ],
)
def test_an_address_without_a_port_leads_to_the_usual_one(
    name: str, where: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[Any, Any]] = []

    def refuse(address: tuple[str, int], timeout: float | None = None, *_: object) -> socket.socket:
        tried.append((address, timeout))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    (sensor,) = find(name)
    close([sensor])
    assert set(tried) == {(where, 5.0)}
    (channel,) = sensor.channels
    assert (channel.status, (channel.reason or "").endswith(": Connection refused")) == ("lost", True)
