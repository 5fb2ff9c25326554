"""What each sensor says of its channels: how often they are read and renewed, how fine they count, what they can draw.

The numbers are of the hardware and its drivers: RAPL counts in 2**-14 J and renews each millisecond; AMD's accumulator
counts in 15.3 uJ; NVML in mJ; Intel's cards in uJ; a battery of 100 Wh is not emptied within 20 minutes; no Jetson is
set to more than 130 W. What sums up is read ten times a second, what only explains once, or as seldom as it changes.
"""

from __future__ import annotations

import os
import plistlib
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from doubles import modules, powermetrics
from doubles.clock import Clock
from doubles.nvml import FakeNvml
from doubles.powercap import Powercap
from doubles.proc import Proc
from doubles.reading import opened

from ipw.profilers import amd, battery, estimate, host_load, publications
from ipw.profilers.apple import ioreport
from ipw.profilers.apple import powermetrics as apple
from ipw.profilers.base import Sensor
from ipw.profilers.linux import hwmon, perf, rapl
from ipw.profilers.nvidia import nvml

FACTS = {
    "rapl": """
        rapl/package-0  counter package  J  -               0.1  0.001  6.1e-05  900
        rapl/core-0     counter core     J  rapl/package-0  1    0.001  6.1e-05  1000
        rapl/dram-0     counter dram     J  -               0.1  0.001  6.1e-05  80
    """,
    "perf": """
        perf/package-0  counter package  J  -               0.1  0.001  1e-09    1000
        perf/package-1  counter package  J  -               0.1  0.001  1e-09    1000
        perf/dram-0     counter dram     J  -               0.1  0.001  1e-09    500
        perf/dram-1     counter dram     J  -               0.1  0.001  1e-09    500
        perf/core-0     counter core     J  perf/package-0  1    0.001  1e-09    1000
        perf/core-1     counter core     J  perf/package-1  1    0.001  1e-09    1000
        perf/psys-0     counter system   J  -               1    0.001  1e-09    30000
        perf/psys-1     counter system   J  -               1    0.001  1e-09    30000
    """,
    "hwmon": """
        hwmon/xe-0                   counter gpu      J  -           0.1   -      1e-06    1000
        hwmon/xe-0/package           counter gpu      J  hwmon/xe-0  0.1   -      1e-06    1000
        hwmon/grace-power-socket-0   power   package  W  -           0.1   0.05   -        1000
        hwmon/cpu-power-socket-0     power   core     W  hwmon/grace-power-socket-0  0.1  -  -  1000
        hwmon/gpu-power-socket-0     gauge   gpu      W  -           0.1   -      -        2300
        hwmon/other                  gauge   system   W  -           0.1   -      -        30000
        hwmon/vdd-in                 power   soc      W  -           0.05  -      -        260
        hwmon/vdd-soc                power   soc      W  hwmon/vdd-in  0.05  -    -        260
        hwmon/vdd-mux                gauge   soc      W  -           1     -      -        260
    """,
    "rails": """
        hwmon/gpu      power soc W - 0.05 - - 260
        hwmon/vdd-odd  gauge soc W - 1    - - 260
        hwmon/vdd-mux  gauge soc W - 1    - - 260
    """,
    "amd": """
        amd/gpu0        counter gpu  J  -         0.1  -  1.53e-05  1500
        amd/gpu0/power  power   gpu  W  amd/gpu0  0.1  -  -         1500
    """,
    "nvml": """
        nvml/gpu0                   counter gpu     J     -          0.1   -     0.001  1400
        nvml/gpu0/power             power   gpu     W     nvml/gpu0  0.25  -     -      1400
        nvml/gpu0/module            power   module  W     -          0.1   -     -      6000
        nvml/gpu0/memory            power   memory  W     nvml/gpu0  0.1   -     -      2300
        nvml/gpu0/temperature       gauge   gpu     C     -          2     -     -      -
        nvml/gpu0/sm_clock          gauge   gpu     MHz   -          2     -     -      -
        nvml/gpu0/memory_clock      gauge   gpu     MHz   -          5     -     -      -
        nvml/gpu0/power_limit       gauge   gpu     W     -          5     -     -      -
        nvml/gpu0/clock_events      gauge   gpu     bits  -          2     -     -      -
        nvml/gpu0/power_capped      gauge   gpu     ns    -          5     -     -      -
        nvml/gpu0/thermal_slowdown  gauge   gpu     ns    -          5     -     -      -
    """,
    "ioreport": """
        ioreport/soc   counter soc   J  -             0.1  -  0.004  600
        ioreport/cpu   counter core  J  ioreport/soc  0.1  -  0.001  1000
        ioreport/gpu   counter gpu   J  ioreport/soc  0.1  -  0.001  2300
        ioreport/ane   counter ane   J  ioreport/soc  0.1  -  0.001  100
        ioreport/dram  counter dram  J  ioreport/soc  0.1  -  0.001  500
    """,
    "powermetrics": """
        powermetrics/soc  counter soc   J  -                 0.1  0.2  0.001  600
        powermetrics/cpu  counter core  J  powermetrics/soc  0.1  0.2  0.001  1000
        powermetrics/gpu  counter gpu   J  powermetrics/soc  0.1  0.2  0.001  2300
        powermetrics/ane  counter ane   J  powermetrics/soc  0.1  0.2  0.001  100
    """,
    "battery": "battery/BAT0 power system W - 1 - - 300",
    "battery of a Mac": "battery/internal power system W - 1 - - 300",
    "estimate": "estimate/cpu counter package J - 0.1 - 0.04 84",
    "load": """
        load/host  gauge system s - 1 - - -
        load/own   gauge system s - 1 - - -
    """,
}
"""By sensor: name, kind, scope, unit, what contains it, poll_s, update_period_s, resolution_j, max_power_w."""


def files(folder: Path, **texts: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(f"{text}\n")
    return folder


def open_rapl(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    tree = Powercap(folder)
    tree.zone("intel-rapl:0", "package-0", energy_uj=1)
    tree.zone("intel-rapl:0:0", "core", limit_uw=None)
    tree.zone("intel-rapl:0:1", "dram", limit_uw=40_000_000)
    files(tree.root / "intel-rapl:0", constraint_1_power_limit_uw=450_000_000, constraint_2_power_limit_uw=-1)
    patch.setenv("IPW_POWERCAP", str(tree.root))
    return rapl.open_sensor()


def open_perf(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    """Which kernels do not open, and tell all the same."""
    pmu = files(folder / "power", type=4_000_000_000, cpumask="0,1")
    for event in ("pkg", "ram", "cores", "psys"):
        files(pmu / "events", **{f"energy-{event}": "event=0x01", f"energy-{event}.scale": "1e-9"})
    patch.setenv("IPW_EVENT_SOURCE", str(folder))
    return perf.open_sensor()


def open_hwmon(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    files(
        folder / "hwmon0", name="xe", energy1_input=9, energy2_input=7, power1_max=300_000_000, power1_cap=500_000_000
    )
    meters = {"Grace Power Socket 0": 100, "CPU Power Socket 0": 50, "GPU Power Socket 0": 90, "other": 20}
    for number, (label, watts) in enumerate(meters.items(), 1):
        facts = {"power1_oem_info": label, "power1_average": watts * 10**6}
        files(folder / f"hwmon{number}", name="power_meter", **facts)
    files(folder / "hwmon1", power1_average_interval=50)
    return open_rails(folder, patch, ("VDD_IN", "VDD_SOC", "VDD_MUX"))


def open_rails(
    folder: Path, patch: pytest.MonkeyPatch, labels: tuple[str, ...] = ("GPU", "VDD_ODD", "VDD_MUX")
) -> Sensor:
    rails = {f"in{n}_label": label for n, label in enumerate(labels, 1)}
    parts = {f"{part}{n}_input": 1000 for n in (1, 2, 3) for part in ("in", "curr")}
    files(folder / "hwmon5", name="ina3221", **rails, **parts)
    off = {"in1_label": "NC", "in2_label": "VDD_OFF", "in2_enable": 0}
    files(folder / "hwmon6", name="ina3221", **off, **parts)
    patch.setenv("IPW_HWMON", str(folder))
    return hwmon.open_sensor()


def open_amd(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    patch.syspath_prepend(str(modules.write(folder, "amdsmi")))
    import amdsmi

    patch.setattr(amdsmi, "GPUS", 1)
    patch.setattr(amdsmi, "POWER", {"current_socket_power": 300, "power_limit": 750})
    return amd.open_sensor()


def open_nvml(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    fake = FakeNvml.create(folder)
    fake.gpu(0).memory_share, fake.gpu(0).module_share = 0.2, 1.5
    fake.gpu(0).samples_period_ns = 0  # however long the counter takes to answer here
    patch.setenv("IPW_FAKE_NVML", str(folder))
    fake.preload()
    return nvml.open_sensor()


def open_ioreport(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    patch.syspath_prepend(str(modules.write(folder, "zeus_apple_silicon")))
    import zeus_apple_silicon

    clock = Clock()
    for module in (ioreport, publications):
        patch.setattr(module, "now_ns", clock.now_ns)
    patch.setattr(ioreport, "sleep", clock.sleep)
    patch.setattr(zeus_apple_silicon, "CHIP", zeus_apple_silicon.Chip(zeus_apple_silicon.PLAIN))
    patch.setattr(zeus_apple_silicon.CHIP, "clock", lambda: clock.t_s)
    patch.setattr(zeus_apple_silicon.CHIP, "start_s", clock.t_s - 60)
    return ioreport.open_sensor()


def open_powermetrics(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    patch.setattr(apple, "FIRST_WITHIN_S", 200.0)
    patch.setenv("PATH", f"{powermetrics.install(folder, interval_s=0.02)}:{os.environ['PATH']}")
    return apple.open_sensor()


def open_battery(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    files(folder / "BAT0", status="Discharging", power_now=5)
    patch.setenv("IPW_POWER_SUPPLY", str(folder))
    return battery.open_sensor()


def open_battery_of_a_mac(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    files(folder, answer=plistlib.dumps([{"Voltage": 9, "Amperage": -5}]).decode())
    files(folder, ioreg=f"#!/bin/sh\ncat '{folder}/answer'")
    (folder / "ioreg").chmod(0o755)
    patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return battery.open_sensor()


def open_estimate(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    patch.setattr(psutil, "cpu_count", lambda **_: 8)
    return estimate.open_sensor()


def open_load(folder: Path, patch: pytest.MonkeyPatch) -> Sensor:
    patch.setenv("IPW_PROC", str(Proc(folder).root))
    patch.setattr(host_load, "process_time", lambda: 0.0)
    found = host_load.open_load([1])
    assert found
    return found


OPENS: dict[str, Callable[[Path, pytest.MonkeyPatch], Sensor]] = {
    "rapl": open_rapl, "perf": open_perf, "hwmon": open_hwmon, "rails": open_rails, "amd": open_amd, "nvml": open_nvml,
    "ioreport": open_ioreport, "powermetrics": open_powermetrics, "battery": open_battery,
    "battery of a Mac": open_battery_of_a_mac, "estimate": open_estimate, "load": open_load,
}  # fmt: skip


@pytest.mark.parametrize("name", OPENS)
def test_the_manifest_says_of_each_channel_what_its_hardware_is_known_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with opened(OPENS[name](tmp_path / name, monkeypatch)) as sensor:
        told = [
            (
                channel.name, channel.kind, channel.scope, channel.unit, channel.included_in, channel.poll_s,
                channel.update_period_s, channel.resolution_j, channel.max_power_w,
            )
            for channel in sensor.channels
        ]  # fmt: skip
    lines = [" ".join("-" if x is None else f"{x:g}" if isinstance(x, float) else str(x) for x in row) for row in told]
    assert lines == [" ".join(line.split()) for line in FACTS[name].strip().splitlines()]
