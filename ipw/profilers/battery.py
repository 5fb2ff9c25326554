"""A laptop's battery while it discharges: the whole system's power, coarse and slow."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ipw.power_supplies import charger_online, folder, system_batteries
from ipw.profilers.apple.battery import MacBattery, discharge_w
from ipw.profilers.base import Channel, Sensor, SensorError, timed
from ipw.profilers.linux.sysfs_power import micro
from ipw.profilers.sources import Source, Sources, missing, probed
from ipw.sysfs import printable

HINT = "unplug the charger"
MAX_POWER_W = 300.0
"""A battery of 100 Wh, the most that aeroplanes take, emptied in 20 minutes."""
NOTE = "the whole system, screen and disks included; the battery renews it every 1 to 30 s: measure for 10 min or more"


def open_sensor() -> Sensor:
    """Open every battery that can feed a Linux machine, or a Mac's."""
    root = folder()
    batteries = system_batteries(root)
    if batteries:
        return Sources([_source(root, batteries)])
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


def _source(root: Path, batteries: Sequence[Path]) -> Source:
    """Make one channel of all batteries: of two, one waits while the other gives."""
    channel = Channel(
        name=f"battery/{'+'.join(printable(path.name) for path in batteries)}",
        kind="power",
        scope="system",
        method="integrated_power",
        device=", ".join(printable(str(path)) for path in batteries),
        unit="W",
        poll_s=1.0,
        max_power_w=MAX_POWER_W,
        note=NOTE,
    )
    return probed(channel, partial(timed, partial(_watts, root, batteries)), HINT)


def _watts(root: Path, batteries: Sequence[Path]) -> float:
    """Power drawn now from those that discharge."""
    if charger_online(root):
        raise SensorError("unsupported", "the battery is not what feeds the machine: a charger is connected")
    states = {path: _status(path) for path in batteries}
    giving = [path for path, state in states.items() if state == "Discharging"]
    if not giving:
        told = ", ".join(state.lower() or "silent" for state in states.values())
        raise SensorError("unsupported", f"the battery is not discharging ({told})")
    return sum(_power_w(path) for path in giving)


def _power_w(path: Path) -> float:
    """Read what one battery gives; files hold millionths."""
    if (path / "power_now").exists():
        return abs(micro(path / "power_now"))
    return abs(micro(path / "current_now")) * micro(path / "voltage_now")


def _status(path: Path) -> str:
    try:
        return printable((path / "status").read_bytes())
    except PermissionError as error:
        raise SensorError("permission", f"{path}: {error.strerror}") from error
    except OSError as error:
        raise SensorError("lost", f"{path}: {error.strerror}") from error
