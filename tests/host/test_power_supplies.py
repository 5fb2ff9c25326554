"""What feeds the machine is known from its own battery and chargers, and unknown where they do not tell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipw.power_supplies import charger_online, power_source, system_batteries

Supply = dict[str, str]


def supply(kind: str, **files: str) -> Supply:
    return {"type": kind, **files}


MAINS_ON, MAINS_OFF = supply("Mains", online="1"), supply("Mains", online="0")
MOUSE = supply("Battery", scope="Device", status="Discharging", capacity="70")


def battery(status: str, **files: str) -> Supply:
    return supply("Battery", status=status, present="1", **files)


CASES: dict[str, tuple[dict[str, Supply], str | None]] = {
    "no supplies at all": ({}, None),
    "a desktop with a wireless mouse": ({"hidpp_battery_0": MOUSE}, None),
    "a pen and a gamepad": ({"wacom_battery_0": MOUSE, "ps-controller-battery-1": MOUSE}, None),
    "a laptop on its battery": ({"AC": MAINS_OFF, "BAT0": battery("Discharging")}, "battery"),
    "with a mouse that is charged": ({"AC": MAINS_OFF, "BAT0": battery("Discharging"), "m": MOUSE | {"status": "Charging"}}, "battery"),  # noqa: E501
    "on mains, charging": ({"AC": MAINS_ON, "BAT0": battery("Charging")}, "mains"),
    "on mains at its threshold": ({"AC": MAINS_ON, "BAT0": battery("Not charging")}, "mains"),
    "on mains and full": ({"AC": MAINS_ON, "BAT0": battery("Full")}, "mains"),
    "on mains, giving a little": ({"AC": MAINS_ON, "BAT0": battery("Discharging", power_now="300000")}, "mains"),
    "by USB-C": ({"AC": MAINS_OFF, "ucsi": supply("USB", online="1"), "BAT0": battery("Discharging")}, "mains"),
    "by USB-PD told as such": ({"u": supply("USB_PD", online="1"), "BAT0": battery("Unknown")}, "mains"),
    "a fixed supply that tells 2": ({"u": supply("USB", online="2"), "BAT0": battery("Full")}, "mains"),
    "charging, though no charger is listed": ({"BAT0": battery("Charging")}, "mains"),
    "full, no charger is listed": ({"BAT0": battery("Full")}, "mains"),
    "full, and the charger is off": ({"AC": MAINS_OFF, "BAT0": battery("Full")}, None),
    "giving, no charger is listed": ({"BAT0": battery("Discharging")}, "battery"),
    "a state that is unknown": ({"BAT0": battery("Unknown")}, None),
    "a state that is missing": ({"BAT0": supply("Battery")}, None),
    "a state that is no text": ({"BAT0": supply("Battery", status="\ud800")}, None),
    "two batteries, one gives": ({"AC": MAINS_OFF, "BAT0": battery("Not charging"), "BAT1": battery("Discharging")}, "battery"),  # noqa: E501
    "a bay without its battery": ({"BAT1": supply("Battery", present="0", status="Discharging")}, None),
    "a battery of another name": ({"macsmc-battery": battery("Discharging")}, "battery"),
    "a battery that tells its scope": ({"cw2015": battery("Discharging", scope="System")}, "battery"),
}  # fmt: skip


def written(root: Path, supplies: dict[str, Supply]) -> Path:
    for name, files in supplies.items():
        (root / name).mkdir(parents=True)
        for file, content in files.items():
            (root / name / file).write_bytes(content.encode("utf-8", "surrogatepass") + b"\n")
    return root


@pytest.mark.parametrize(("supplies", "source"), CASES.values(), ids=CASES)
def test_the_power_source_is_what_feeds_the_machine(
    tmp_path: Path, supplies: dict[str, Supply], source: str | None
) -> None:
    assert power_source(written(tmp_path / "supplies", supplies)) == source


def test_a_battery_behind_a_keyboards_driver_is_the_keyboards(tmp_path: Path) -> None:
    """Some drivers do not tell the scope; where the device hangs does."""
    place = "devices/pci0000:00/usb1/0003:046D:C52B.0003/0003:046D:4002.0004/power_supply"
    written(tmp_path / place, {"hid-battery": supply("Battery", status="Discharging")})
    (tmp_path / "class").mkdir()
    (tmp_path / "class/hid-battery").symlink_to(tmp_path / place / "hid-battery")
    assert system_batteries(tmp_path / "class") == []


def test_a_link_that_leads_nowhere_or_to_itself_is_no_supply(tmp_path: Path) -> None:
    written(tmp_path, {"AC": MAINS_ON})
    (tmp_path / "BAT0").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert charger_online(tmp_path) is True
    assert power_source(tmp_path) is None


def test_a_folder_that_may_not_be_looked_at_tells_nothing(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    try:
        assert power_source(closed) is None
    finally:
        os.chmod(closed, 0o700)  # noqa: PTH101 - plainly
