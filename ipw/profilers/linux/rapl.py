"""CPU packages and their memory through Linux's powercap tree: the RAPL counters of Intel and AMD."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, SensorError, made
from ipw.profilers.linux.powercap import Zone, leads_nowhere, zones
from ipw.profilers.sources import Source, Sources, missing, probed
from ipw.sysfs import listed, read_number

ROOT = "/sys/class/powercap"
SUMMED = {"package", "dram"}
MOUNT = "docker run -v /sys/devices/virtual/powercap:/powercap:ro -e IPW_POWERCAP=/powercap …"
HINT = (
    """echo 'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"' """
    "| sudo tee /etc/udev/rules.d/70-ipw-rapl.rules && sudo udevadm control --reload "
    "&& sudo udevadm trigger --subsystem-match=powercap --action=add; in a container the capability DAC_READ_SEARCH "
    "suffices (docker run --cap-add DAC_READ_SEARCH), which a user other than root needs in effect"
)


def open_sensor() -> Sources:
    """Open every zone: packages and memory, which are summed, and cores, graphics and psys, which never are."""
    root = Path(os.environ.get("IPW_POWERCAP", ROOT))
    found = list(zones(root))
    if not found:
        return _none(root)
    outer = "rapl/psys" if sum(zone.scope == "system" for zone in found) == 1 else None
    descriptors: list[int] = []
    best: dict[str, Source] = {}
    names: dict[str, str] = {}
    """By zone: the channel that shows it."""
    for zone in found:
        within = outer if zone.scope in SUMMED else names.get(zone.parent or "")
        source = _source(zone, within, descriptors)
        name = _its_name(zone, source, best)
        names[zone.path.name] = name
        if name not in best or (best[name][0].status != "ok" and source[0].status == "ok"):
            best[name] = (replace(source[0], name=name), source[1])

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return Sources(best.values(), close)


def _none(root: Path) -> Sources:
    if leads_nowhere(root):
        reason = f"the zones in {root} are links that lead nowhere, as where a container hides what they lead to"
        return missing("rapl", "package", "absent", reason, MOUNT)
    reason = f"no RAPL zones in {root}: a virtual machine, a container without it, or another kind of CPU"
    return missing("rapl", "package", "absent", reason, "sudo modprobe intel_rapl_msr")


def _its_name(zone: Zone, source: Source, best: Mapping[str, Source]) -> str:
    """Name a zone's channel. Of two of one name each has its own, unless they show the same counter."""
    name = zone.channel
    for number in count(2):
        if name not in best or zone.mmio or zone.scope == "system" or _same(best[name], source):
            return name
        name = f"{zone.channel}-{number}"
    raise AssertionError


def _same(one: Source, other: Source) -> bool:
    """Whether two zones show one counter: then the other's value lies between two of the one. Unreadable: they may."""
    try:
        before, between, after = one[1](), other[1](), one[1]()
    except SensorError:
        return True
    assert before
    assert between
    assert after
    return before.value <= between.value <= after.value


def _source(zone: Zone, within: str | None, descriptors: list[int]) -> Source:
    """Open one zone's counter and keep it open."""
    range_j = _micro(zone.path / "max_energy_range_uj")
    channel = Channel(
        name=zone.channel,
        kind="counter",
        scope=zone.scope,
        method="counter",
        device=str(zone.path),
        included_in=within,
        range_j=range_j,
        max_power_w=_max_power_w(zone.path),
        resolution_j=61e-6,
        update_period_s=1e-3,
        poll_s=0.1 if zone.scope in SUMMED else 1.0,
        note=None if range_j else "the counter's range cannot be read: where it starts again is a gap",
    )
    try:
        descriptor = os.open(zone.path / "energy_uj", os.O_RDONLY)
    except OSError as error:
        return probed(channel, partial(_fail, error), HINT)
    descriptors.append(descriptor)
    return probed(channel, partial(_count, descriptor), HINT)


def _count(descriptor: int) -> Reading:
    """Read a counter's open file from its start."""
    before = now_ns()
    try:
        text = os.pread(descriptor, 64, 0)
        half = (now_ns() - before) // 2
        return made(Reading, (before + half, int(text) / 1e6, half))
    except OSError as error:
        raise _told(error) from error
    except ValueError as error:
        raise SensorError("lost", "energy_uj holds no number") from error


def _fail(error: OSError) -> Reading:
    raise _told(error)


def _told(error: OSError) -> SensorError:
    if isinstance(error, PermissionError):
        return SensorError("permission", "energy_uj may be read by root only")
    return SensorError("absent" if isinstance(error, FileNotFoundError) else "lost", f"energy_uj: {error.strerror}")


def _max_power_w(zone: Path) -> float | None:
    """Twice the highest limit that the zone names: more than it can draw over the time between two readings."""
    limits = (
        _micro(path) for pattern in ("max_power", "power_limit") for path in listed(zone, f"constraint_?_{pattern}_uw")
    )
    most_w = max((limit for limit in limits if limit), default=None)
    return None if most_w is None else 2 * most_w


def _micro(path: Path) -> float | None:
    """Read a positive number of millionths."""
    number = read_number(path)
    return number / 1e6 if number is not None and number > 0 else None
