"""The power rails of Jetson boards: which of them contains which, so that none is counted twice.

Sources: NVIDIA's device trees in Linux (tegra234-p3701, -p3701-0008, -p3767); energymon's JetsonPowerRails.md, which
has TX1, TX2, Nano and Xavier from the Jetson Linux Developer Guide r32.6.1; NVIDIA's forum, 366461 (Thor: VIN is all
that the board draws) and 200883 (Xavier NX: VDD_IN is the module). That the DDR rail of AGX Orin is a part of
VIN_SYS_5V0, and the module is the sum of the other three, stands in the guide r36.4.3, "Software-Based Power
Consumption Modeling", and in thread 223111, as several tools cite them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ipw.profilers.base import Channel, absent, timed
from ipw.profilers.linux.sysfs_power import micro, volts_times_amperes
from ipw.profilers.sources import Source, probed, unreadable
from ipw.sysfs import read_number, read_text, slug

INPUTS = {
    "VIN": "the whole board: module and carrier",
    "VDD_IN": "the module; its carrier board is not measured",
    "5V_IN": "the module; its carrier board is not measured",
    "POM_5V_IN": "the module; its carrier board is not measured",
    "TOTAL": "the module; its carrier board is not measured",
    "SYSTEM": "the module; its carrier board is not measured",
}
"""Rails through which everything is drawn (Thor; TX1, TX2, Xavier NX, Orin NX and Nano; Nano), the outermost first."""
SUM = {
    "VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0",  # AGX Orin
    "VDD_GPU", "VDD_CPU_SOC_MSS",  # Thor, with VIN_SYS_5V0
    "GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V",  # AGX Xavier
}  # fmt: skip
"""Rails that add up to the module where there is no input."""
WITHIN = {"VDDQ_VDD2_1V8AO": "VIN_SYS_5V0"}
CARRIER = {
    "VDD_MUX", "VDD_5V0_IO_SYS", "VDD_5V_IO_SYS", "VDD_3V3_SYS", "VDD_3V3_IO_SLP", "VDD_3V3_IO", "VDD_1V8_IO",
    "VDD_3V3_SYS_M2", "VDD_M2_IN", "CVB_ATX_12V", "CVB_ATX_3V3", "CVB_ATX_5V",
}  # fmt: skip
"""Rails of carrier boards (TX1, TX2, IGX Orin): beside the module, or around it. Shown, never added."""
UNUSED = {"", "NC", "SUM OF SHUNT VOLTAGES"}
MOST_W = 260.0
"""Of any rail: twice the 130 W to which Jetson AGX Thor can be set, the most of all boards (NVIDIA's data sheet).

A monitor whose shunt is loose tells its full scale, hundreds of watts."""
MONITORS, THREE = ("ina", "sq522"), {"ina3221", "ina3221x"}
"""Names of drivers: the beginnings of all (INA219 to INA780, SQ52206), and those of the chip with three rails."""


class Rail(NamedTuple):
    """One rail, as a chip measures it."""

    label: str
    path: Path
    watts: Callable[[], float]


def is_monitor(driver: str) -> bool:
    """Whether a chip of this name measures rails."""
    return driver.startswith(MONITORS)


def rails_of(path: Path, driver: str) -> Iterator[Rail]:
    """List the rails of one chip."""
    if driver in THREE:
        for n in (1, 2, 3):
            label = read_text(path / f"in{n}_label") or read_text(path / f"curr{n}_label")
            if label.upper() not in UNUSED and read_number(path / f"in{n}_enable") != 0:
                yield Rail(label, path, partial(volts_times_amperes, path / f"in{n}_input", path / f"curr{n}_input"))
        return
    label = next(filter(None, (read_text(path / file) for file in ("label", "power1_label", "in1_label"))), "")
    if label.upper() == "NC":
        return
    power = path / "power1_input"
    by_hand = partial(volts_times_amperes, path / "in1_input", path / "curr1_input")
    yield Rail(label, path, partial(micro, power) if power.exists() else by_hand)


def rail_sources(rails: Sequence[Rail]) -> Iterator[Source]:
    """Make a channel of each rail. A rail whose place nobody knows is shown, and not added."""
    labels = {rail.label.upper() for rail in rails}
    board = next((label for label in INPUTS if label in labels), None)
    seen: Counter[str] = Counter()
    for rail in rails:
        label = rail.label.upper()
        seen[label] += 1
        name = f"{_name(rail.label)}-{seen[label]}" if seen[label] > 1 else _name(rail.label)
        channel = Channel(
            name=name, kind="power", scope="soc", method="integrated_power", device=str(rail.path), unit="W",
            poll_s=0.05, max_power_w=MOST_W,
        )  # fmt: skip
        yield probed(
            _placed(channel, label, board, labels), partial(timed, rail.watts), f"sudo chmod -R a+r {rail.path}"
        )
    if board is None and rails and not labels & (SUM | WITHIN.keys()):
        told = ", ".join(sorted(labels - {""})) or "without names"
        reason = f"nobody knows which of this board's rails contains which ({told})"
        yield unreadable(absent("hwmon/rails", "soc", "unsupported", reason))


def _placed(channel: Channel, label: str, board: str | None, labels: set[str]) -> Channel:
    """Say what contains a rail."""
    if label in CARRIER:
        return replace(channel, kind="gauge", poll_s=1.0, note="of the carrier board; never added")
    if label == board:
        return replace(channel, note=INPUTS[label])
    outer = WITHIN.get(label)
    if outer in labels:
        return replace(channel, included_in=_name(outer or ""))
    if board is not None:
        return replace(channel, included_in=_name(board))
    if label in SUM or outer:
        return channel
    return replace(channel, kind="gauge", poll_s=1.0, note="nobody tells what it feeds; never added")


def _name(label: str) -> str:
    return f"hwmon/{slug(label) or 'rail'}"
