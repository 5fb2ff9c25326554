"""What feeds this machine, as Linux lists it under /sys/class/power_supply."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ipw.sysfs import listed, read_number, read_text

ROOT = "/sys/class/power_supply"
HID = re.compile(r"/[0-9A-F]{4}:[0-9A-F]{4}:[0-9A-F]{4}\.[0-9A-F]{4}(/|$)", re.IGNORECASE)
"""How the kernel names a keyboard, mouse, pen or gamepad: bus, vendor, product and number."""
CHARGERS = {"Mains", "USB", "Wireless"}


def folder() -> Path:
    """Where the kernel lists power supplies."""
    return Path(os.environ.get("IPW_POWER_SUPPLY", ROOT))


def system_batteries(root: Path) -> list[Path]:
    """List the batteries that can feed the machine, not those of devices of their own such as a mouse."""
    return [path for path in _of_the_system(root, {"Battery"}) if read_number(path / "present") != 0]


def charger_online(root: Path) -> bool | None:
    """Whether anything charges or feeds the machine from outside; `None` where nothing tells."""
    told = [read_number(path / "online") for path in _of_the_system(root, CHARGERS)]
    known = [number for number in told if number is not None]
    return any(number > 0 for number in known) if known else None


def power_source(root: Path) -> str | None:
    """Say `mains` or `battery`; `None` where that is not known, as on a machine without a battery.

    A battery that is full, or at the threshold up to which it is charged, may say anything: a charger that is online
    decides. Without one, a battery that gives is the source, and one that does not is fed.
    """
    states = {read_text(path / "status").lower() for path in system_batteries(root)}
    online = charger_online(root)
    if not states:
        return None
    if online or "charging" in states:
        return "mains"
    if "discharging" in states:
        return "battery"
    fed = bool(states & {"full", "not charging"})
    return "mains" if fed and online is None else None


def _of_the_system(root: Path, kinds: set[str]) -> list[Path]:
    of_kind = [path for path in listed(root) if path.is_dir() and _kind(path) in kinds]
    return [path for path in of_kind if read_text(path / "scope").lower() != "device" and not HID.search(_place(path))]


def _kind(path: Path) -> str:
    kind = read_text(path / "type")
    if not kind and path.name.startswith("BAT"):
        return "Battery"
    return "USB" if kind.startswith("USB") else kind


def _place(path: Path) -> str:
    try:
        return str(path.resolve())
    except (OSError, RuntimeError):
        return ""
