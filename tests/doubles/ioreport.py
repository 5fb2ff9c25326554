"""A stand-in for `zeus_apple_silicon` 1.1 over a table of IOReport channels: its text is written as that module.

It does what that binding documents: the names of a second die lose their `DIE_n_`, channels of one kind are added up,
each is cut to whole millijoules, and a unit that it does not know raises. What the drivers do is in the table: each
channel's unit and power, and when those of one unit are published. The others are renewed as they are read.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

PER_MJ = {"nJ": 1_000_000, "uJ": 1_000, "mJ": 1}
KINDS = (
    ("cpu_total_mj", r"CPU Energy"),
    ("efficiency_cluster_mj", r"E\w*CPU|MCPU\d+"),
    ("performance_cluster_mj", r"P\w*CPU"),
    ("dram_mj", r"DRAM.*"),
    ("gpu_mj", r"GPU Energy"),
    ("gpu_sram_mj", r"GPU SRAM.*"),
    ("ane_mj", r"ANE.*"),
)
LISTS = {"efficiency_cluster_mj", "performance_cluster_mj"}
PLAIN = "CPU Energy\tmJ\t2000\nGPU Energy\tnJ\t5000\nANE\tmJ\t500\nDRAM\tmJ\t300\n"
"""A chip whose rails are all renewed as they are read, at 7.8 W."""


class Chip:
    """What the drivers of a chip tell; a test may change it while it runs."""

    def __init__(self, table: str) -> None:
        """`table` has a line a channel: name, unit, milliwatts; a line of JSON after `#` says how it publishes."""
        lines = [line for line in table.splitlines() if line.strip()]
        told = [json.loads(line[1:]) for line in lines if line.startswith("# {")]
        self.batches: dict[str, Any] = told[0] if told else {}
        """`unit`, `at_s` within each `every_s`, and `tail_s` after which what was left is published."""
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        self.channels = [(name, unit, float(milliwatts)) for name, unit, milliwatts in rows]
        self._members = {name: _member(name) for name, *_ in self.channels}
        self.start_s = self.clock()
        self.stopped_s: dict[str, float] = {}
        """Since when channels of these names are frozen."""
        self.gone: set[str] = set()
        """Members that are told no more."""
        self.error: str | None = None
        """What a look raises."""

    def clock(self) -> float:
        """Seconds now."""
        return time.monotonic()

    def spend(self) -> None:
        """Take half as long as a look takes."""

    def work_s(self, seconds: float) -> float:
        """Seconds at the table's power, of so many since the start."""
        return seconds

    def published_s(self, seconds: float) -> float:
        """When what is published in batches was, at the latest; negative before the first."""
        every_s, tail_s = self.batches["every_s"], self.batches["tail_s"]
        begun = seconds // every_s * every_s
        moments = [
            begun + cycle * every_s + at_s + late_s
            for cycle in (-1, 0)
            for at_s in self.batches["at_s"]
            for late_s in (0.0, tail_s)
        ]
        return float(max(moment for moment in moments if moment <= seconds))

    def millijoules(self) -> dict[str, Any]:
        """Every member of the binding's answer."""
        self.spend()
        if self.error:
            raise RuntimeError(self.error)
        now_s = self.clock() - self.start_s
        found: dict[str, Any] = {member: None for member, _ in KINDS}
        for name, unit, milliwatts in self.channels:
            seconds = min(now_s, self.stopped_s.get(name, now_s))
            if unit == self.batches.get("unit"):
                seconds = max(self.published_s(seconds), 0.0)
            if unit not in PER_MJ:
                raise ValueError(f"Unsupported or invalid energy unit provided: {unit}")
            raw = int(milliwatts * PER_MJ[unit] * self.work_s(seconds))
            member = self._members[name] if name in self._members else _member(name)
            if member in LISTS:
                found[member] = [*(found[member] or []), raw // PER_MJ[unit]]
            elif member and member not in self.gone:
                found[member] = (found[member] or 0) + raw // PER_MJ[unit]
        self.spend()
        return found


def _member(name: str) -> str | None:
    base = re.sub(r"^DIE_\d+_", "", name)
    return next((member for member, kind in KINDS if re.fullmatch(kind, base)), None)


_table = os.environ.get("IPW_FAKE_IOREPORT")
CHIP = Chip(Path(_table).read_text(encoding="utf-8") if _table else PLAIN)


class AppleEnergyMetrics:
    """The binding's answer: millijoules, or `None`."""

    def __init__(self, members: dict[str, Any]) -> None:
        self.__dict__.update(members)


class AppleEnergyMonitor:
    """What the binding is asked through."""

    def get_cumulative_energy(self) -> AppleEnergyMetrics:
        """Energy since some moment."""
        return AppleEnergyMetrics(CHIP.millijoules())
