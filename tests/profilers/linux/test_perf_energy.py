from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles.reading import named, opened, reading

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import find
from ipw.profilers.linux.perf import cpu_list

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
    assert channel.reason
    assert channel.hint == "sudo sysctl kernel.perf_event_paranoid=0"


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
