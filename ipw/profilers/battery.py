"""A laptop's battery while it discharges: the whole system's power, coarse and slow."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from ipw.power_supplies import charger_online, folder, system_batteries
from ipw.profilers.base import Channel, Sensor, SensorError, timed
from ipw.profilers.mac_battery import MacBattery, discharge_w
from ipw.profilers.sources import Source, Sources, missing, probed
from ipw.sysfs import printable, read_text

WAITING = {"Not charging", "Full", "Unknown"}
HINT = "unplug the charger"
MAX_POWER_W = 300.0
"""A battery of 100 Wh, the most that aeroplanes take, emptied in 20 minutes."""
NOTE = "the whole system, screen and disks included; the battery renews it every 1 to 30 s: measure for 10 min or more"


def open_sensor() -> Sensor:
    """Open every battery that can feed a Linux machine, or a Mac's."""
    root = folder()
    batteries = system_batteries(root)
    if batteries:
        return Sources(_source(root, path) for path in batteries)
    if shutil.which("ioreg"):
        return _of_a_mac()
    return missing("battery", "system", "absent", f"no battery of the system in {root}")


def _of_a_mac() -> Sensor:
    try:
        discharge_w()
    except SensorError as error:
        return missing("battery", "system", error.status, error.reason, None if error.status == "absent" else HINT)
    return MacBattery(
        Channel(
            name="battery/internal",
            kind="power",
            scope="system",
            method="integrated_power",
            device="AppleSmartBattery",
            unit="W",
            poll_s=1.0,
            max_power_w=MAX_POWER_W,
            note=NOTE,
        )
    )


def _source(root: Path, path: Path) -> Source:
    channel = Channel(
        name=f"battery/{path.name}",
        kind="power",
        scope="system",
        method="integrated_power",
        device=str(path),
        unit="W",
        poll_s=1.0,
        max_power_w=MAX_POWER_W,
        note=NOTE,
    )
    return probed(channel, partial(timed, partial(_watts, root, path)), HINT)


def _watts(root: Path, path: Path) -> float:
    """Power drawn now; files hold millionths. Of two batteries one waits, and gives nothing, while the other gives."""
    if charger_online(root):
        raise SensorError("unsupported", "the battery is not what feeds the machine: a charger is connected")
    try:
        status = _status(path)
        if status != "Discharging":
            others = (other for other in system_batteries(root) if other != path)
            if status in WAITING and any(read_text(other / "status") == "Discharging" for other in others):
                return 0.0
            raise SensorError("unsupported", f"the battery is not discharging ({status.lower()})")
        if (path / "power_now").exists():
            return abs(int((path / "power_now").read_text())) / 1e6
        microamperes = abs(int((path / "current_now").read_text()))
        return microamperes / 1e6 * int((path / "voltage_now").read_text()) / 1e6
    except PermissionError as error:
        raise SensorError("permission", f"{path}: {error.strerror}") from error
    except (OSError, ValueError) as error:
        raise SensorError("lost", f"{path}: {error}") from error


def _status(path: Path) -> str:
    return printable((path / "status").read_bytes())
