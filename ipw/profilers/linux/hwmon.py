"""Power meters under Linux's hwmon: Grace and other ACPI meters, the rails of Jetson boards, Intel's graphics cards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ipw.profilers.base import Channel, absent, timed
from ipw.profilers.linux.acpi import AcpiMeter, meter_of, meter_sources
from ipw.profilers.linux.rails import Rail, is_monitor, rail_sources, rails_of
from ipw.profilers.linux.sysfs_power import limit_w, micro
from ipw.profilers.sources import Source, Sources, missing, probed, unreadable
from ipw.sysfs import listed, read_text

ROOT = "/sys/class/hwmon"


def open_sensor() -> Sources:
    """Open every meter whose driver we know; one that is odd costs itself."""
    root = Path(os.environ.get("IPW_HWMON", ROOT))
    sources: list[Source] = []
    rails: list[Rail] = []
    meters: list[AcpiMeter] = []
    for path in listed(root, "hwmon*"):
        try:
            driver = read_text(path / "name")
            if driver == "power_meter":
                meters += filter(None, [meter_of(path)])
            elif driver in {"i915", "xe"}:
                sources += _intel(path, driver)
            elif is_monitor(driver):
                rails += rails_of(path, driver)
        except Exception as error:  # noqa: BLE001 - one odd device hides no other
            reason = f"{type(error).__name__}: {error}"
            sources.append(unreadable(absent(f"hwmon/{path.name}", "system", "lost", reason)))
    sources += [*meter_sources(meters), *rail_sources(rails)]
    return Sources(sources) if sources else missing("hwmon", "system", "absent", f"no known power meter in {root}")


def _intel(path: Path, driver: str) -> Iterator[Source]:
    """Make an Intel card's energy counters: of the card, and of the package on it."""
    for place, file in enumerate(listed(path, "energy[12]_input")):
        name = f"hwmon/{driver}-{path.name.removeprefix('hwmon')}"
        channel = Channel(
            name=name if place == 0 else f"{name}/package",
            kind="counter",
            scope="gpu",
            method="counter",
            device=str(path),
            included_in=None if place == 0 else name,
            resolution_j=1e-6,
            max_power_w=limit_w(path, "power1_max", "power1_rated_max", "power1_cap", "power1_crit"),
        )
        yield probed(channel, partial(timed, partial(micro, file)), f"sudo chmod -R a+r {path}")
