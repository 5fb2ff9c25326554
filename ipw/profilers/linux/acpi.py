"""ACPI power meters: of NVIDIA's Grace, each socket's module, CPU and parts; elsewhere of the whole system.

What contains what: a module is its Grace socket and its GPU; a Grace socket its cores, what is beside them (SysIO,
which some firmware calls SoC rail) and its memory. Sources: the labels in NVIDIA's ACPI tables, DCGM's system
monitor, which reads the same files, and exporters that met firmware which says "Total Power in uW socket 0" for the
socket.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ipw.profilers.base import Channel, Scope, timed
from ipw.profilers.linux.sysfs_power import micro
from ipw.profilers.sources import Source, probed
from ipw.sysfs import read_number, read_text, slug

POWER = r"(?: rail)?(?: input)? power(?: in uw)? socket (\S+)"
KINDS: dict[str, tuple[re.Pattern[str], Scope]] = {
    "module": (re.compile(f"module{POWER}"), "module"),
    "grace": (re.compile(f"(?:grace|total){POWER}"), "package"),
    "cpu": (re.compile(f"cpu{POWER}"), "core"),
    "sysio": (re.compile(f"(?:sysio|soc){POWER}"), "uncore"),
    "dram": (re.compile(f"dram{POWER}"), "dram"),
    "gpu": (re.compile(f"gpu{POWER}"), "gpu"),
}
WITHIN = {"grace": "module", "gpu": "module", "cpu": "grace", "sysio": "grace", "dram": "grace"}
NO_POWER = re.compile(r"energy|\bin uj\b|throttle|samples|limit|output", re.IGNORECASE)
"""Some firmware shows other things through the same driver."""


class AcpiMeter(NamedTuple):
    """One meter, and what its label says that it measures; `kind` is `None` where that is not one of Grace's parts."""

    path: Path
    label: str
    kind: str | None
    socket: str


def meter_of(path: Path) -> AcpiMeter | None:
    """Read what a meter is; `None` where it measures no power."""
    device = path / "device"
    folder = device if any((device / f"power1_{file}").exists() for file in ("average", "oem_info")) else path
    label = read_text(folder / "power1_oem_info")
    if NO_POWER.search(label):
        return None
    for kind, (pattern, _) in KINDS.items():
        if found := pattern.fullmatch(label.lower()):
            return AcpiMeter(folder, label, kind, found[1])
    return AcpiMeter(folder, label, None, "")


def meter_sources(meters: Sequence[AcpiMeter]) -> Iterator[Source]:
    """Make a channel of each meter; two of one label stay two."""
    grace = any(meter.kind for meter in meters)
    names: dict[tuple[str | None, str], list[str]] = {}
    labels: Counter[str] = Counter()
    channels = []
    for meter in meters:
        label = slug(meter.label) or "acpi"
        labels[label] += 1
        name = f"hwmon/{label}-{labels[label]}" if labels[label] > 1 else f"hwmon/{label}"
        names.setdefault((meter.kind, meter.socket), []).append(name)
        channels.append((meter, name, len(names[meter.kind, meter.socket]) - 1))
    for meter, name, place in channels:
        outer = names.get((WITHIN[meter.kind], meter.socket), []) if meter.kind in WITHIN else []
        channel = Channel(
            name=name,
            kind="power",
            scope=KINDS[meter.kind][1] if meter.kind else "system",
            method="integrated_power",
            device=str(meter.path),
            unit="W",
            included_in=outer[min(place, len(outer) - 1)] if outer else None,
            update_period_s=_period_s(meter.path),
        )
        if meter.kind == "gpu":  # NVML tells the same, and better
            channel = replace(channel, kind="gauge", note="the GPU that NVML measures; never added")
        elif meter.kind is None and grace:
            channel = replace(channel, kind="gauge", note="nobody tells what it measures; never added")
        yield probed(channel, partial(timed, partial(micro, meter.path / "power1_average")), _hint(meter.path))


def _period_s(path: Path) -> float | None:
    milliseconds = read_number(path / "power1_average_interval")
    return None if milliseconds is None else milliseconds / 1e3


def _hint(path: Path) -> str:
    return f"sudo chmod -R a+r {path}"
