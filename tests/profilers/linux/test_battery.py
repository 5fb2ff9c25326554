from __future__ import annotations

import os
import plistlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles.reading import failure, named, opened, value

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis, find


def open_battery() -> Sensor:
    (sensor,) = find("battery")
    return sensor


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder


@pytest.fixture
def battery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IPW_POWER_SUPPLY", str(tmp_path / "power_supply"))
    return tmp_path / "power_supply/BAT0"


def test_a_discharging_battery_tells_the_whole_systems_power(battery: Path) -> None:
    write(battery, status="Discharging", power_now=12_500_000)
    with opened(open_battery()) as sensor:
        assert value(sensor, "battery/BAT0") == 12.5
        assert choose_basis(sensor.channels).name == "system"


def test_a_battery_may_tell_current_and_voltage_instead(battery: Path) -> None:
    write(battery, status="Discharging", current_now=-2_000_000, voltage_now=11_500_000)
    with opened(open_battery()) as sensor:
        assert value(sensor, "battery/BAT0") == pytest.approx(23.0)


def test_a_charging_battery_measures_nothing_and_says_what_to_do(battery: Path) -> None:
    write(battery, status="Charging", power_now=12_500_000)
    with opened(open_battery()) as sensor:
        channel = named(sensor, "battery/BAT0")
        assert (channel.status, channel.hint) == ("unsupported", "unplug the charger")


def test_plugging_the_charger_in_is_told(battery: Path) -> None:
    write(battery, status="Discharging", power_now=12_500_000)
    with opened(open_battery()) as sensor:
        write(battery, status="Charging")
        assert "not discharging" in failure(sensor, "battery/BAT0").reason


def test_a_charger_that_is_connected_leaves_the_battery_only_a_part(battery: Path) -> None:
    write(battery, status="Discharging", power_now=300_000)
    write(battery.parent / "AC", type="Mains", online=1)
    with opened(open_battery()) as sensor:
        channel = named(sensor, "battery/BAT0")
        assert channel.status == "unsupported"
        assert channel.reason
        assert "a charger is connected" in channel.reason


def test_two_batteries_are_one_source_of_which_now_one_and_now_the_other_gives(battery: Path) -> None:
    second = write(battery.parent / "BAT1", status="Not charging", power_now=0)
    write(battery, status="Discharging", power_now=9_000_000)
    with opened(open_battery()) as sensor:
        assert choose_basis(sensor.channels).channels == {"battery/BAT0+BAT1"}
        assert value(sensor, "battery/BAT0+BAT1") == 9.0
        write(second, status="Discharging", power_now=8_000_000)
        assert value(sensor, "battery/BAT0+BAT1") == 17.0
        write(battery, status="Not charging")
        assert value(sensor, "battery/BAT0+BAT1") == 8.0
        write(second, status="Full")
        assert "(not charging, full)" in failure(sensor, "battery/BAT0+BAT1").reason


@pytest.mark.parametrize("files", [{"scope": "Device"}, {"present": 0}, {"type": "UPS"}], ids=str)
def test_what_does_not_feed_the_machine_is_no_battery_of_it(battery: Path, files: dict[str, object]) -> None:
    write(battery.parent / "mouse", **({"type": "Battery", "status": "Discharging", "power_now": 1} | files))
    assert open_battery().channels[0].status == "absent"


def test_a_battery_is_known_by_its_type_whatever_its_name(battery: Path) -> None:
    write(battery.parent / "macsmc-battery", type="Battery", status="Discharging", power_now=7_000_000)
    with opened(open_battery()) as sensor:
        assert value(sensor, "battery/macsmc-battery") == 7.0


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have a program `ioreg` that prints a battery with these properties, or none."""
    monkeypatch.setenv("IPW_POWER_SUPPLY", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def show(**properties: object) -> None:
        answer = tmp_path / "answer.plist"
        answer.write_bytes(plistlib.dumps([properties]) if properties else b"")
        program = tmp_path / "ioreg"
        program.write_text(f'#!/bin/sh\n[ "$*" = "-a -r -n AppleSmartBattery" ] && cat {answer}\n')
        program.chmod(0o755)

    return show


@pytest.mark.parametrize("milliamperes", [-1_500, 2**64 - 1_500], ids=["signed", "as if it had no sign"])
def test_a_macs_battery_tells_what_it_gives(mac: Callable[..., None], milliamperes: int) -> None:
    mac(Voltage=12_000, InstantAmperage=milliamperes, ExternalConnected=False)
    with opened(open_battery()) as sensor:
        while not (reading := sensor.read(0)):
            time.sleep(0.01)
        assert reading.value == pytest.approx(18.0)
        assert sensor.read(0) is None, "an answer is told once"
        assert choose_basis(sensor.channels).name == "system"


def test_a_mac_on_its_charger_measures_nothing_and_says_what_to_do(mac: Callable[..., None]) -> None:
    mac(Voltage=12_000, InstantAmperage=800, ExternalConnected=True)
    (channel,) = open_battery().channels
    assert (channel.status, channel.hint) == ("unsupported", "unplug the charger")


def test_a_mac_without_a_battery_is_told_so(mac: Callable[..., None]) -> None:
    mac()
    (channel,) = open_battery().channels
    assert (channel.status, channel.reason) == ("absent", "this Mac has no battery")


def test_an_answer_of_another_form_is_no_power(mac: Callable[..., None]) -> None:
    mac(Voltage="12 V", ExternalConnected=False)
    assert open_battery().channels[0].status == "unsupported"


def test_a_name_that_is_no_utf_8_costs_no_watt(mac: Callable[..., None], tmp_path: Path) -> None:
    mac(Voltage=12_000, InstantAmperage=-1_500, ExternalConnected=False, DeviceName="bq20z451")
    answer = tmp_path / "answer.plist"
    answer.write_bytes(answer.read_bytes().replace(b"bq20z", b"bq\xff\xfez"))
    with opened(open_battery()) as sensor:
        assert value(sensor, "battery/internal") == pytest.approx(18.0)


def test_an_answer_that_is_no_property_list_is_told(mac: Callable[..., None], tmp_path: Path) -> None:
    mac(Voltage=12_000)
    (tmp_path / "answer.plist").write_text("<?xml version='1.0'?><plist><array><dict>")
    (channel,) = open_battery().channels
    assert channel.status == "lost"
    assert "cannot be read" in (channel.reason or "")
