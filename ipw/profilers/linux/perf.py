"""CPU packages and their memory through the kernel's perf events: a second way where powercap is closed."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from ipw.profilers.base import Channel, Reading, Scope, SensorError, timed
from ipw.profilers.sources import Read, Source, Sources, missing, probed, unreadable
from ipw.sysfs import read_text

ROOT = "/sys/bus/event_source/devices"
EVENTS: dict[str, Scope] = {
    "energy-pkg": "package",
    "energy-ram": "dram",
    "energy-cores": "core",
    "energy-gpu": "uncore",
    "energy-psys": "system",
}
SYSCALL = {"x86_64": 298, "aarch64": 241}
"""Number of `perf_event_open`, by machine."""
ATTRIBUTES = struct.Struct("<IIQ96x")
"""`perf_event_attr`: type, size, config; all else is 0."""
CLOSE_ON_EXEC = 8
HINT = "sudo sysctl kernel.perf_event_paranoid=0"


def open_sensor() -> Sources:
    """Open the energy events of every socket."""
    pmu = Path(os.environ.get("IPW_EVENT_SOURCE", ROOT)) / "power"
    descriptors: list[int] = []
    try:
        sources = list(_sources(pmu, descriptors))
    except (OSError, ValueError):
        sources = []
    if not sources:
        return missing("perf", "package", "absent", f"no energy events of the CPU in {pmu}")

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return Sources(sources, close)


def _sources(pmu: Path, descriptors: list[int]) -> Iterator[Source]:
    """Open each event on one CPU of each socket, as the kernel's mask lists them. The kernel handles wraparound."""
    kind = int((pmu / "type").read_text())
    cpus = list(cpu_list((pmu / "cpumask").read_text()))
    for event, scope in EVENTS.items():
        if (pmu / "events" / event).exists():
            for socket, cpu in enumerate(cpus):
                yield _source(pmu, event, scope, (kind, cpu, socket), descriptors)


def _source(pmu: Path, event: str, scope: Scope, where: tuple[int, int, int], descriptors: list[int]) -> Source:
    """Open one event on one CPU; one that is garbled costs itself."""
    kind, cpu, socket = where
    whole = scope in {"package", "dram", "system"}
    channel = Channel(
        name=f"perf/{'psys' if scope == 'system' else scope}-{socket}",
        kind="counter",
        scope=scope,
        method="counter",
        device=f"{event} on CPU {cpu}",
        included_in=None if whole else f"perf/package-{socket}",
        update_period_s=1e-3,
        poll_s=0.1 if scope in {"package", "dram"} else 1.0,
    )
    try:
        config = _config(read_text(pmu / "events" / event))
        scale = float(read_text(pmu / "events" / f"{event}.scale"))
    except ValueError as error:
        return unreadable(replace(channel, status="unsupported", reason=f"the event is not described: {error}"))
    return probed(replace(channel, resolution_j=scale), _reader(kind, config, cpu, scale, descriptors), HINT)


def _config(described: str) -> int:
    """Read `event=0x02`, among other terms. Raises ValueError."""
    terms = dict(term.strip().partition("=")[::2] for term in described.split(","))
    return int(terms.get("event", ""), 16)


def _reader(kind: int, config: int, cpu: int, scale: float, descriptors: list[int]) -> Read:
    try:
        descriptor = _perf_event_open(kind, config, cpu)
    except OSError as error:
        return partial(_fail, error)
    descriptors.append(descriptor)
    return lambda: timed(lambda: int.from_bytes(os.read(descriptor, 8), "little") * scale)


def _fail(error: OSError) -> Reading:
    permission = isinstance(error, PermissionError)
    raise SensorError("permission" if permission else "unsupported", f"perf_event_open: {error.strerror}") from error


def _perf_event_open(kind: int, config: int, cpu: int) -> int:
    """Count an event of a whole CPU; returns a descriptor from which the count is read."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(38, os.strerror(38))
    attributes = ctypes.create_string_buffer(ATTRIBUTES.pack(kind, ATTRIBUTES.size, config))
    descriptor: int = libc.syscall(number, attributes, -1, cpu, -1, ctypes.c_ulong(CLOSE_ON_EXEC))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def cpu_list(text: str) -> Iterator[int]:
    """Read the kernel's way to list CPUs: `0,18` or `0-3`."""
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
