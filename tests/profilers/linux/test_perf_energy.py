from __future__ import annotations

import ctypes
import os
import platform
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from doubles.reading import named, opened, reading, value

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import find
from ipw.profilers.linux.perf import cpu_list, open_sensor

Machine = Callable[[str], None]


def open_perf() -> Sensor:
    (sensor,) = find("perf")
    return sensor


def test_a_perf_event_counts_in_its_own_scale(machine: Machine) -> None:
    machine("perf")
    with opened(open_perf()) as sensor:
        if named(sensor, "perf/package-0").status == "permission":
            pytest.skip("this kernel lets nobody but root open perf events")
        first = reading(sensor, "perf/package-0")
        time.sleep(0.1)
        last = reading(sensor, "perf/package-0")
        assert (last.value - first.value) / ((last.t_ns - first.t_ns) / 1e9) == pytest.approx(1.0, rel=0.1)


def test_an_event_that_the_kernel_does_not_know_says_so(machine: Machine, tmp_path: Path) -> None:
    machine("perf")
    (tmp_path / "devices/power/type").write_text("4000000000\n")
    (channel,) = open_perf().channels
    assert channel.status in {"unsupported", "permission"}
    assert (channel.reason or "").removeprefix("perf_event_open: ") in {os.strerror(code) for code in (1, 2, 13, 38)}
    assert channel.hint == "sudo sysctl kernel.perf_event_paranoid=0"


@pytest.mark.parametrize(("machine_name", "number"), [("x86_64", 298), ("aarch64", 241), ("riscv64", None)])
def test_the_kernel_is_asked_for_an_event_of_a_whole_cpu(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine_name: str, number: int | None
) -> None:
    """Its call takes perf_event_attr (type, size, config, …), any process, the CPU, no group, and close-on-exec."""
    machine("perf")
    pmu = tmp_path / "devices/power"
    (pmu / "type").write_text("23\n")
    (pmu / "cpumask").write_text("4\n")
    (pmu / "events/energy-pkg").write_text("umask=0x01,event=0x2a\n")
    (pmu / "events/energy-pkg.scale").write_text("2.0\n")
    (tmp_path / "count").write_bytes(struct.pack("<QQQ", 0, 2**40 + 5, 2**63))  # a look at each
    asked: list[tuple[object, ...]] = []

    def syscall(call: int, attributes: ctypes.Array[ctypes.c_char], *rest: object) -> int:
        asked.append((call, attributes.raw[:112], *(getattr(each, "value", each) for each in rest)))
        return os.open(tmp_path / "count", os.O_RDONLY)

    monkeypatch.setattr(platform, "machine", lambda: machine_name)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syscall=syscall))
    sensor = open_sensor()
    (channel,) = sensor.channels
    if number is None:
        assert (channel.status, channel.reason) == ("unsupported", f"perf_event_open: {os.strerror(38)}")
        assert asked == []
        return
    assert asked == [(number, struct.pack("<IIQ96x", 23, 112, 0x2A), -1, 4, -1, 8)]
    assert (channel.name, channel.device) == ("perf/package-0", "energy-pkg on CPU 4")
    assert value(sensor, "perf/package-0") == 2.0 * (2**40 + 5)
    descriptors = Path("/proc/self/fd")
    for closed in (False, True):
        if closed:
            sensor.close()
        if descriptors.is_dir():
            kept = {path.readlink() for path in descriptors.iterdir() if path.is_symlink()}
            assert (tmp_path / "count" in kept) is not closed


def test_a_garbled_tree_of_events_is_absent(machine: Machine, tmp_path: Path) -> None:
    machine("perf")
    (tmp_path / "devices/power/cpumask").write_text("all of them\n")
    assert open_perf().channels[0].status == "absent"


def test_the_kernels_lists_of_cpus_are_read() -> None:
    assert list(cpu_list("0,18\n")) == [0, 18]
    assert list(cpu_list("0-2,5\n")) == [0, 1, 2, 5]


def test_one_event_that_is_garbled_costs_itself(machine: Machine, tmp_path: Path) -> None:
    machine("perf")
    events = tmp_path / "devices/power/events"
    (events / "energy-ram").write_bytes(b"\xff\xfe\n")
    (events / "energy-ram.scale").write_text("1e-9\n")
    (events / "energy-psys").write_text("umask=0x01,event=0x00\n")
    (events / "energy-psys.scale").write_text("one\n")
    with opened(open_perf()) as sensor:
        assert named(sensor, "perf/dram-0").status == "unsupported"
        assert "the event is not described" in (named(sensor, "perf/psys-0").reason or "")
        assert named(sensor, "perf/package-0").status in {"ok", "permission"}
