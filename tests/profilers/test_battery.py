from __future__ import annotations

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
