"""A laptop's battery while it discharges: the whole system's power, coarse and slow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ipw.profilers.base import Channel, Sensor, SensorError, timed
from ipw.profilers.mac_battery import MacBattery, discharge_w
from ipw.profilers.sources import Source, Sources, missing, probed

ROOT = "/sys/class/power_supply"
HINT = "unplug the charger"
NOTE = "the whole system, screen and disks included; the battery renews it every 1 to 30 s: measure for 10 min or more"


def open_sensor() -> Sensor:
    """Open every battery of a Linux machine, or a Mac's."""
    root = Path(os.environ.get("IPW_POWER_SUPPLY", ROOT))
    sources = list(_sources(root))
    if sources:
        return Sources(sources)
    if shutil.which("ioreg"):
        return _of_a_mac()
    return missing("battery", "system", "absent", f"no battery in {root}")


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
            note=NOTE,
        )
    )


def _sources(root: Path) -> Iterator[Source]:
    for path in sorted(root.glob("BAT*")):
        channel = Channel(
            name=f"battery/{path.name}",
            kind="power",
            scope="system",
            method="integrated_power",
            device=str(path),
            unit="W",
            poll_s=1.0,
            note=NOTE,
        )
        yield probed(channel, partial(timed, partial(_watts, path)), HINT)


def _watts(path: Path) -> float:
    """Power drawn now; files hold millionths."""
    try:
        status = (path / "status").read_text().strip()
        if status != "Discharging":
            raise SensorError("unsupported", f"the battery is not discharging ({status.lower()})")
        if (path / "power_now").exists():
            return abs(int((path / "power_now").read_text())) / 1e6
        microamperes = abs(int((path / "current_now").read_text()))
        return microamperes / 1e6 * int((path / "voltage_now").read_text()) / 1e6
    except PermissionError as error:
        raise SensorError("permission", f"{path}: {error.strerror}") from error
    except (OSError, ValueError) as error:
        raise SensorError("lost", f"{path}: {error}") from error
