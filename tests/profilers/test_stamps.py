"""A reading is stamped with the middle of the call that asked the hardware, and is unsure by half of that call."""

from __future__ import annotations

import os
import plistlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles import ioreport as chip
from doubles.clock import Clock
from doubles.nvml import FakeNvml
from doubles.patience import wait_for
from doubles.powercap import Powercap
from doubles.proc import Proc

from ipw.profilers import host_load
from ipw.profilers.apple import battery, ioreport
from ipw.profilers.base import Channel, Reading
from ipw.profilers.linux import rapl
from ipw.profilers.nvidia import gpu_load, nvml

TICK_NS = 7_000_000
"""What passes between two looks at the clock."""


class Watch(Clock):
    """A clock that remembers what it showed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: object) -> None:
        super().__init__(TICK_NS)
        self.shown_ns: list[int] = []
        self.tells.append(self.shown_ns.append)
        for module in modules:
            monkeypatch.setattr(module, "now_ns", self.now_ns)

    def read(self, read: Callable[[], Reading | None]) -> Reading:
        """Read at once."""
        self.shown_ns.clear()
        told = read()
        assert told is not None
        return told


def is_of(told: Reading, shown_ns: list[int]) -> bool:
    """Whether it spans two neighbouring looks at the clock: before the hardware was asked, and behind; whole ns."""
    begun_ns, ended_ns = told.t_ns - told.uncertainty_ns, told.t_ns + told.uncertainty_ns
    whole = isinstance(told.t_ns, int) and isinstance(told.uncertainty_ns, int)
    return whole and begun_ns in shown_ns and ended_ns == begun_ns + TICK_NS


def test_of_rapl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Powercap(tmp_path / "powercap").zone("intel-rapl:0", "package-0", energy_uj=1_500_000)
    monkeypatch.setenv("IPW_POWERCAP", str(tmp_path / "powercap"))
    watch = Watch(monkeypatch, rapl)
    sensor = rapl.open_sensor()
    told = watch.read(lambda: sensor.read(0))
    assert (told.value, is_of(told, watch.shown_ns)) == (1.5, True)
    sensor.close()


def test_of_a_gpus_counter_its_power_and_its_gauges(
    gpus: Callable[[int], FakeNvml], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = gpus(1)
    fake._state.start_ns -= 10**10
    fake.set_power(0, 100.0, fake._state.start_ns)
    fake.gpu(0).samples_period_ns = 0  # however long the counter takes to answer here
    watch = Watch(monkeypatch, nvml)
    sensor = nvml.open_sensor()
    for index, channel in enumerate(sensor.channels):
        told = watch.read(lambda at=index: sensor.read(at))  # type: ignore[misc]
        assert is_of(told, watch.shown_ns), channel.name
        assert channel.name != "nvml/gpu0/power" or told.value == pytest.approx(100.0, abs=0.01)
    sensor.close()


def test_of_both_loads_which_tell_of_one_look_for_50_ms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = Proc(tmp_path / "proc")
    proc.host(5.0)
    proc.process(10, own_s=2.0)
    proc.newest(10)
    monkeypatch.setenv("IPW_PROC", str(proc.root))
    watch = Watch(monkeypatch, host_load)
    sensor = host_load.open_load([10])
    assert sensor
    first = watch.read(lambda: sensor.read(0))
    assert (first.value, is_of(first, watch.shown_ns)) == (5.0, True)
    proc.host(6.0)
    assert watch.read(lambda: sensor.read(1)) == first._replace(value=2.0)
    watch.t_ns = first.t_ns + 50_000_000 - TICK_NS
    assert watch.read(lambda: sensor.read(0)) == first
    second = watch.read(lambda: sensor.read(0))
    assert (second.value, is_of(second, watch.shown_ns)) == (6.0, True)
    sensor.close()


def test_of_what_processes_used_of_a_gpu_which_is_one_look_for_50_ms(
    gpus: Callable[[int], FakeNvml], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = gpus(1)
    monkeypatch.setenv("IPW_PROC", "/proc")
    nvidia = nvml.open_sensor()
    watch = Watch(monkeypatch, gpu_load)
    sensor = gpu_load.open_gpu_load([nvidia], [os.getpid()])
    assert sensor
    fake.gpu(0).pids[0], fake.gpu(0).sm[0] = os.getpid(), 40
    others = watch.read(lambda: sensor.read(0))
    assert (others.value, is_of(others, watch.shown_ns)) == (0.0, True)
    fake.gpu(0).sm[0] = 70
    watch.t_ns = others.t_ns + 50_000_000 - TICK_NS
    assert watch.read(lambda: sensor.read(1)) == others._replace(value=40.0)
    own = watch.read(lambda: sensor.read(1))
    assert (own.value, is_of(own, watch.shown_ns)) == (70.0, True)
    sensor.close()
    nvidia.close()


def test_of_a_macs_battery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answer").write_bytes(plistlib.dumps([{"Voltage": 12_000, "Amperage": -500}]))
    (tmp_path / "ioreg").write_text(f"#!/bin/sh\ncat '{tmp_path}/answer'\n")
    (tmp_path / "ioreg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    watch = Watch(monkeypatch, battery)
    channel = Channel(name="battery/internal", kind="power", scope="system", method="integrated_power", unit="W")
    sensor = battery.MacBattery(channel)
    told = wait_for(lambda: sensor._newest)
    sensor.close()
    assert told.value == pytest.approx(6.0)
    assert is_of(told, watch.shown_ns)


def test_of_a_macs_rails_that_are_renewed_as_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", chip)
    watch = Watch(monkeypatch, ioreport)
    monkeypatch.setattr(ioreport, "sleep", watch.sleep)
    mac = chip.Chip(chip.PLAIN)
    mac.clock, mac.start_s = lambda: watch.t_s, watch.t_s - 60  # type: ignore[method-assign]
    monkeypatch.setattr(chip, "CHIP", mac)
    sensor = ioreport.open_sensor()
    watch.sleep(0.03)
    told = watch.read(lambda: sensor.read(0))
    assert is_of(told, watch.shown_ns)
    sensor.close()
