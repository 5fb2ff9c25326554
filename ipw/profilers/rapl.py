"""CPU packages and their memory through Linux's powercap tree: the RAPL counters of Intel and AMD."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, Scope, SensorError
from ipw.profilers.sources import Read, Source, Sources, missing, probed

ROOT = "/sys/class/powercap"
ZONE = re.compile(r"intel-rapl(-mmio)?:\d+(:\d+)?")
"""AMD's zones are called so too."""
PACKAGE = re.compile(r"package-(\d+(-die-\d+)?)")
PARTS: dict[str, Scope] = {"core": "core", "uncore": "uncore", "dram": "dram", "psys": "system"}
HINT = (
    """echo 'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"' """
    "| sudo tee /etc/udev/rules.d/70-ipw-rapl.rules && sudo udevadm control --reload "
    "&& sudo udevadm trigger --subsystem-match=powercap --action=add"
)


class Zone(NamedTuple):
    """One counter of the tree."""

    path: Path
    channel: str
    """`rapl/package-0`, `rapl/dram-0`, `rapl/core-1-die-1`: the same for the same thing however it is reached."""
    scope: Scope
    within: str | None
    """The package's channel, of a part of it."""


def open_sensor() -> Sources:
    """Open every zone: packages and memory, which are summed, and cores, graphics and psys, which never are."""
    root = Path(os.environ.get("IPW_POWERCAP", ROOT))
    found = list(zones(root))
    if not found:
        reason = f"no RAPL zones in {root}: a virtual machine, a container without it, or another kind of CPU"
        return missing("rapl", "package", "absent", reason, "sudo modprobe intel_rapl_msr")
    psys = [zone.channel for zone in found if zone.scope == "system"]
    descriptors: list[int] = []
    best: dict[str, Source] = {}
    for zone in found:
        if zone.channel not in best or best[zone.channel][0].status != "ok":
            source = _source(zone, psys, descriptors)
            if source[0].status == "ok" or zone.channel not in best:
                best[zone.channel] = source

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return Sources(best.values(), close)


def zones(root: Path) -> Iterator[Zone]:
    """Walk a powercap tree, flat or nested, each zone once; those read through MSRs before their MMIO duplicates."""
    paths = {path.name: path for pattern in ("*/*/*", "*/*", "*") for path in sorted(root.glob(pattern))}
    names = {zone: _text(path / "name") for zone, path in paths.items() if ZONE.fullmatch(zone)}
    for zone in sorted(names, key=lambda zone: ("-mmio" in zone, zone)):
        own, package = PACKAGE.fullmatch(names[zone]), PACKAGE.fullmatch(names.get(zone.rpartition(":")[0], ""))
        part = names[zone]
        if own:
            yield Zone(paths[zone], f"rapl/{part}", "package", None)
        elif part in PARTS and package:
            yield Zone(paths[zone], f"rapl/{part}-{package[1]}", PARTS[part], f"rapl/{package[0]}")
        elif part in PARTS:
            yield Zone(paths[zone], f"rapl/{part}", PARTS[part], None)


def _source(zone: Zone, psys: list[str], descriptors: list[int]) -> Source:
    """Open one zone's counter and keep it open."""
    summed = zone.scope in {"package", "dram"}
    outer = psys[0] if len(psys) == 1 and zone.scope != "system" else None
    range_j = _micro(zone.path / "max_energy_range_uj")
    channel = Channel(
        name=zone.channel,
        kind="counter",
        scope=zone.scope,
        method="counter",
        device=str(zone.path),
        included_in=outer if summed else zone.within,
        range_j=range_j,
        max_power_w=_max_power_w(zone.path),
        resolution_j=61e-6,
        update_period_s=1e-3,
        poll_s=0.1 if summed else 1.0,
        note=None if range_j else "the counter's range cannot be read: where it starts again is a gap",
    )
    try:
        descriptor = os.open(zone.path / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return probed(channel, partial(_fail, error), HINT)
    descriptors.append(descriptor)
    return probed(channel, _counter(descriptor), HINT)


def _counter(descriptor: int) -> Read:
    """Make the reader of a counter, which reads the open file from its start."""

    def read() -> Reading:
        before = now_ns()
        try:
            text = os.pread(descriptor, 64, 0)
            half = (now_ns() - before) // 2
            return Reading(before + half, int(text) / 1e6, half)
        except OSError as error:
            raise _told(error) from error
        except ValueError as error:
            raise SensorError("lost", "energy_uj holds no number") from error

    return read


def _fail(error: OSError) -> Reading:
    raise _told(error)


def _told(error: OSError) -> SensorError:
    if isinstance(error, PermissionError):
        return SensorError("permission", "energy_uj may be read by root only")
    return SensorError("absent" if isinstance(error, FileNotFoundError) else "lost", f"energy_uj: {error.strerror}")


def _max_power_w(zone: Path) -> float | None:
    """Twice the highest limit that the zone names: more than it can draw over the time between two readings."""
    limits = (
        _micro(path) for pattern in ("max_power", "power_limit") for path in zone.glob(f"constraint_?_{pattern}_uw")
    )
    most_w = max((limit for limit in limits if limit), default=None)
    return None if most_w is None else 2 * most_w


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""


def _micro(path: Path) -> float | None:
    """Read a positive number of millionths."""
    text = _text(path)
    return int(text) / 1e6 if text.isdecimal() and int(text) > 0 else None
