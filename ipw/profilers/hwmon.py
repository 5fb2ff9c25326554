"""Power meters under Linux's hwmon: Grace and ACPI meters, Jetson's INA3221, Intel's graphics cards."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ipw.profilers.base import Channel, Scope, SensorError, timed
from ipw.profilers.sources import Source, Sources, missing, probed

ROOT = "/sys/class/hwmon"
GRACE: dict[str, Scope] = {"module": "module", "grace": "package", "cpu": "core", "sysio": "uncore"}
"""What the first word of an ACPI meter's label means on NVIDIA's CPUs; any other label is of the whole system."""
CONTAINED_IN = {"grace": "module", "cpu": "grace", "sysio": "grace"}
JETSON_TOTALS = {"VDD_IN", "POM_5V_IN", "VIN", "TOTAL", "SYSTEM"}
"""Labels of the rail through which a Jetson module draws everything."""
JETSON_UNUSED = {"", "NC", "sum of shunt voltages"}


def open_sensor() -> Sources:
    """Open every meter whose driver we know."""
    root = Path(os.environ.get("IPW_HWMON", ROOT))
    sources: list[Source] = []
    jetson: list[tuple[str, Path, str]] = []
    for path in sorted(root.glob("hwmon*")):
        driver = _text(path / "name")
        if driver == "power_meter":
            sources += _acpi(path / "device" if (path / "device/power1_average").exists() else path)
        elif driver in {"i915", "xe"}:
            sources += _intel(path, driver)
        elif driver == "ina3221":
            jetson += [(label, path, rail) for rail in "123" if (label := _label(path, rail)) not in JETSON_UNUSED]
    sources += _rails(jetson)
    return Sources(sources) if sources else missing("hwmon", "system", "absent", f"no known power meter in {root}")


def _acpi(path: Path) -> Iterator[Source]:
    """Make an ACPI power meter: on Grace of a socket's module, CPU or cores, elsewhere of the whole system."""
    label = _text(path / "power1_oem_info")
    kind = label.lower().partition(" ")[0]
    outer = CONTAINED_IN.get(kind)
    channel = Channel(
        name=f"hwmon/{_slug(label) or 'acpi'}",
        kind="power",
        scope=GRACE.get(kind, "system"),
        method="integrated_power",
        device=str(path),
        unit="W",
        included_in=f"hwmon/{_slug(label.lower().replace(kind, outer, 1))}" if outer else None,
        update_period_s=_number(path / "power1_average_interval", 1e-3),
    )
    yield _probed(channel, partial(_micro, path / "power1_average"))


def _intel(path: Path, driver: str) -> Iterator[Source]:
    """Make an Intel card's energy counters: of the card, and of the package on it."""
    inputs = sorted(path.glob("energy[12]_input"))
    for place, file in enumerate(inputs):
        name = f"hwmon/{driver}-{path.name.removeprefix('hwmon')}"
        channel = Channel(
            name=name if place == 0 else f"{name}/package",
            kind="counter",
            scope="gpu",
            method="counter",
            device=str(path),
            included_in=None if place == 0 else name,
            resolution_j=1e-6,
        )
        yield _probed(channel, partial(_micro, file))


def _rails(rails: list[tuple[str, Path, str]]) -> Iterator[Source]:
    """Make a Jetson's rails: its input contains the others; a board without one is the sum of what it has."""
    total = next((f"hwmon/{_slug(label)}" for label, _, _ in rails if label.upper() in JETSON_TOTALS), None)
    for label, path, rail in rails:
        name = f"hwmon/{_slug(label)}"
        channel = Channel(
            name=name,
            kind="power",
            scope="soc",
            method="integrated_power",
            device=str(path),
            unit="W",
            included_in=total if name != total else None,
            poll_s=0.05,
            note="the module; its carrier board is not measured" if name == total else None,
        )
        yield _probed(channel, partial(_rail_w, path, rail))


def _probed(channel: Channel, watts_or_joules: Callable[[], float]) -> Source:
    return probed(channel, partial(timed, watts_or_joules), f"sudo chmod -R a+r {channel.device}")


def _micro(path: Path) -> float:
    return _read(path) * 1e-6


def _rail_w(path: Path, rail: str) -> float:
    """Millivolts times milliamperes."""
    return _read(path / f"in{rail}_input") * _read(path / f"curr{rail}_input") * 1e-6


def _read(path: Path) -> float:
    try:
        return float(path.read_text())
    except PermissionError as error:
        raise SensorError("permission", f"{path.name} may be read by root only") from error
    except (OSError, ValueError) as error:
        raise SensorError("lost", f"{path.name}: {error}") from error


def _number(path: Path, unit: float) -> float | None:
    text = _text(path)
    return int(text) * unit if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _label(path: Path, rail: str) -> str:
    return _text(path / f"in{rail}_label")


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
