"""Machines that have one kind of sensor each: what a test puts into the environment to be on one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from doubles import meter, modules, powermetrics
from doubles.nvml import FakeNvml
from doubles.powercap import Powercap

Machine = Callable[[Path, ExitStack], dict[str, str]]
"""Builds a machine in a folder, running until the stack ends; returns its environment."""

NOTHING = {
    "IPW_POWERCAP": "/nonexistent/powercap",
    "IPW_HWMON": "/nonexistent/hwmon",
    "IPW_POWER_SUPPLY": "/nonexistent/power_supply",
    "IPW_EVENT_SOURCE": "/nonexistent/event_source",
    "XDG_CONFIG_HOME": "/nonexistent/config",
    "IPW_PROC": "/nonexistent/proc",
}
"""The environment of a machine without any sensor but the load of its CPU."""


def nvml(folder: Path, stack: ExitStack) -> dict[str, str]:
    """One GPU at 300 W."""
    fake = FakeNvml.create(folder / "nvml")
    fake.set_power(0, 300.0)
    return fake.environment()


def rapl(folder: Path, stack: ExitStack) -> dict[str, str]:
    """Two packages at 100 W, their memory at 20 W."""
    tree = Powercap.server(folder / "powercap")
    watts = {"intel-rapl:0": 100.0, "intel-rapl:1": 100.0, "intel-rapl:0:2": 20.0, "intel-rapl:1:2": 20.0}
    stack.enter_context(tree.drawing(watts))
    return {"IPW_POWERCAP": str(tree.root)}


def perf(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A package at 1 W: the kernel's own clock event, whose nanoseconds are called nanojoules."""
    pmu = folder / "devices/power"
    (pmu / "events").mkdir(parents=True)
    (pmu / "type").write_text("1\n")
    (pmu / "cpumask").write_text("0\n")
    (pmu / "events/energy-pkg").write_text("event=0x00\n")
    (pmu / "events/energy-pkg.scale").write_text("1e-9\n")
    return {"IPW_EVENT_SOURCE": str(pmu.parent)}


def amd(folder: Path, stack: ExitStack) -> dict[str, str]:
    """Two GPUs at 300 W."""
    return {"PYTHONPATH": str(modules.write(folder / "modules", "amdsmi"))}


def ioreport(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A Mac with zeus-apple-silicon."""
    return {"PYTHONPATH": str(modules.write(folder / "modules", "zeus_apple_silicon"))}


def mac(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A Mac at 7.5 W."""
    programs = powermetrics.install(folder / "bin", interval_s=0.03)
    return {"PATH": f"{programs}:{os.environ['PATH']}"}


def grace(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A Grace socket whose module draws 200 W, 120 W of them in the CPU."""
    for number, (label, microwatts) in enumerate({"Module": 200_000_000, "Grace": 120_000_000}.items()):
        device = folder / f"hwmon/hwmon{number}/device"
        device.mkdir(parents=True)
        (device.parent / "name").write_text("power_meter\n")
        (device / "power1_average").write_text(f"{microwatts}\n")
        (device / "power1_oem_info").write_text(f"{label} Power Socket 0\n")
        (device / "power1_average_interval").write_text("50\n")
    return {"IPW_HWMON": str(folder / "hwmon")}


def laptop(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A laptop on battery at 12.5 W."""
    battery = folder / "power_supply/BAT0"
    battery.mkdir(parents=True)
    (battery / "status").write_text("Discharging\n")
    (battery / "power_now").write_text("12500000\n")
    return {"IPW_POWER_SUPPLY": str(battery.parent)}


def plug(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A Shelly plug at 50 W."""
    return {"IPW_METER_URL": stack.enter_context(meter.serving("shelly", 50.0)).url}


def recording(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A recorded counter at 40 W."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{t * 10_000_000},rapl/package-0,J,package,{t * 0.4}" for t in range(1000)]
    (folder / "recorded.csv").write_text("\n".join(["t_ns,channel,unit,scope,value", *rows]))
    return {"IPW_REPLAY": str(folder / "recorded.csv")}


def bare(folder: Path, stack: ExitStack) -> dict[str, str]:
    """Nothing to measure with."""
    return {}


MACHINES: dict[str, Machine] = {
    "nvml": nvml,
    "amd": amd,
    "rapl": rapl,
    "perf": perf,
    "ioreport": ioreport,
    "powermetrics": mac,
    "hwmon": grace,
    "battery": laptop,
    "meter": plug,
    "replay": recording,
    "estimate": bare,
}
"""By the name of the sensor that the machine has."""


@contextmanager
def one_package(folder: Path, watts: float, memory_watts: float = 0.0) -> Iterator[dict[str, str]]:
    """Be on a machine that has a package and, where it draws, its memory; gives the environment for children."""
    tree = Powercap(folder / "powercap")
    tree.zone("intel-rapl:0", "package-0")
    drawn = {"intel-rapl:0": watts}
    if memory_watts:
        tree.zone("intel-rapl:0:0", "dram")
        drawn["intel-rapl:0:0"] = memory_watts
    with pytest.MonkeyPatch.context() as patch, tree.drawing(drawn, 0.004):
        for name, value in {**NOTHING, "IPW_POWERCAP": str(tree.root)}.items():
            patch.setenv(name, value)
        yield dict(os.environ)
