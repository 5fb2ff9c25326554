"""A Mac's battery is asked every five seconds by a program that may be slow, fall silent or fail: by a clock."""

from __future__ import annotations

import os
import plistlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from doubles.patience import wait_for

from ipw.profilers.apple import battery
from ipw.profilers.apple.battery import MacBattery, power_of
from ipw.profilers.base import Channel, SensorError

CHANNEL = Channel(name="battery/internal", kind="power", scope="system", method="integrated_power", unit="W")
SILENT_NS = 30_000_000_000


class Mac:
    """A Mac whose `ioreg` prints this, and a clock that stands until the test moves it. Pauses end when it says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns, self.pauses_s = 10**12, list[float | None]()
        self._answer, self._again = folder / "answer", threading.Semaphore(0)
        (folder / "ioreg").write_text(f"#!/bin/sh\nexec cat '{self._answer}'\n")
        (folder / "ioreg").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(battery, "now_ns", lambda: self.now_ns)
        mac = self

        class Event(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                mac.pauses_s.append(timeout)
                return mac._again.acquire() and self.is_set()

        monkeypatch.setattr(battery, "threading", SimpleNamespace(Event=Event, Thread=threading.Thread))

    def shows(self, milliamperes: int | None, *, asked: bool = True) -> None:
        """Print such a battery from now on, or nothing; and be asked now."""
        properties = [{"Voltage": 10_000, "InstantAmperage": milliamperes}]
        self._answer.write_bytes(b"" if milliamperes is None else plistlib.dumps(properties))
        if asked:
            before = len(self.pauses_s)
            self._again.release()
            wait_for(lambda: len(self.pauses_s) > before)

    def end(self) -> None:
        self._again.release()


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mac]:
    made = Mac(tmp_path, monkeypatch)
    yield made
    made.end()


def told(sensor: MacBattery) -> float | str | None:
    """Watts, why there are none, or nothing new."""
    try:
        reading = sensor.read(0)
    except SensorError as error:
        return error.reason
    return reading and reading.value


def opened(mac: Mac) -> MacBattery:
    sensor = MacBattery(CHANNEL)
    wait_for(lambda: mac.pauses_s)
    return sensor


def test_each_answer_is_told_once_every_five_seconds_and_is_too_old_after_thirty(mac: Mac) -> None:
    mac.shows(-700, asked=False)
    sensor = opened(mac)
    assert [told(sensor) for _ in range(2)] == [7.0, None]
    mac.now_ns += 5_000_000_000
    mac.shows(-900)
    assert [told(sensor) for _ in range(2)] == [9.0, None]
    mac.now_ns += SILENT_NS
    assert told(sensor) is None
    mac.now_ns += 1
    assert told(sensor) == "ioreg is silent"
    mac.shows(-400)
    assert told(sensor) == 4.0
    assert mac.pauses_s == [5.0, 5.0, 5.0]
    sensor.close()
    assert told(sensor) == "ioreg is silent"


def test_an_answer_that_fails_is_told_at_once_and_until_there_is_one(mac: Mac) -> None:
    mac.shows(-700, asked=False)
    sensor = opened(mac)
    assert told(sensor) == 7.0
    mac.shows(None)
    assert [told(sensor) for _ in range(2)] == ["this Mac has no battery"] * 2
    mac.now_ns += 1
    mac.shows(-300)
    assert [told(sensor) for _ in range(2)] == [3.0, None]
    sensor.close()


def test_a_program_that_takes_long_for_its_first_answer_has_thirty_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mac: Mac
) -> None:
    os.mkfifo(tmp_path / "answer")
    sensor = MacBattery(CHANNEL)
    mac.now_ns += SILENT_NS - 1
    assert told(sensor) is None
    mac.now_ns += 1
    assert told(sensor) == "ioreg is silent"
    sensor.close()
    assert told(sensor) == "ioreg is silent"
    (tmp_path / "answer").write_bytes(b"")
    wait_for(lambda: mac.pauses_s)


@pytest.mark.parametrize(
    ("properties", "watts"),
    [
        ({"Voltage": 12_000, "InstantAmperage": -1_500, "Amperage": -9}, 18.0),
        ({"Voltage": 12_000, "InstantAmperage": 0, "Amperage": -1_500}, 18.0),
        ({"Voltage": 12_000, "Amperage": 2**64 - 1}, 0.012),
        ({"Voltage": 12_000, "Amperage": 2**63}, 2**63 * 0.012),
        ({"Voltage": 12_000, "Amperage": 500}, 0.0),
        ({"Voltage": 12_000, "Amperage": 2**63 - 1}, 0.0),
        ({"Voltage": 12_000}, "ioreg tells no voltage and current of the battery"),
        ({"Amperage": -5}, "ioreg tells no voltage and current of the battery"),
        ({"Voltage": 12_000, "Amperage": -5, "ExternalConnected": True}, "the battery is not discharging"),
    ],
)
def test_power_is_voltage_times_the_current_that_flows_out(properties: dict[str, int], watts: float | str) -> None:
    if isinstance(watts, str):
        with pytest.raises(SensorError, match=watts) as failed:
            power_of(properties)
        assert failed.value.status == "unsupported"
    else:
        assert power_of(properties) == pytest.approx(watts)
