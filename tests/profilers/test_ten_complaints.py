"""The ten complaints that users of energy tools repeat most: each has its tests here, of the sensors together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doubles import nvml as double
from doubles.machines import NOTHING
from doubles.nvml import FakeNvml
from doubles.patience import undisturbed
from doubles.powercap import Powercap
from doubles.powermetrics import install
from doubles.reading import named, opened, read, reading, value

from ipw.energy.curve import counter_curve, energy_between, power_curve
from ipw.profilers.base import Channel, Reading, Sensor
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.linux import rapl
from ipw.profilers.nvidia import nvml

Gpus = Callable[[int], FakeNvml]


def open_one(name: str) -> Sensor:
    (sensor,) = find(name)
    return sensor


def open_unseen(name: str) -> Sensor:
    """Open a sensor before it is looked at: its counters may stand still."""
    return rapl.open_sensor() if name == "rapl" else nvml.open_sensor()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Powercap:
    made = Powercap.server(tmp_path / "powercap")
    monkeypatch.setenv("IPW_POWERCAP", str(made.root))
    return made


def all_channels(sensors: list[Sensor]) -> list[Channel]:
    return [channel for sensor in sensors for channel in sensor.channels]


def test_1_a_closed_rapl_never_silently_becomes_an_estimate(tree: Powercap, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = os.open

    def closed(path: str | Path, *arguments: int) -> int:
        if str(path).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied")
        return opening(path, *arguments)

    monkeypatch.setattr(os, "open", closed)
    channels = all_channels(find("auto"))
    assert choose_basis(channels).name == "estimate"
    packages = [channel for channel in channels if channel.scope == "package" and channel.method == "counter"]
    assert {channel.status for channel in packages} == {"permission", "absent"}  # RAPL's, and perf's
    assert any(channel.hint and "udev" in channel.hint for channel in packages)
    asked_for = choose_basis(all_channels(find("rapl")))
    assert asked_for.name is None  # who names a sensor gets that one or none
    assert "energy_uj may be read by root only" in (asked_for.reason or "")


@pytest.mark.parametrize("range_is_readable", [True, False])
def test_2_a_counter_that_wraps_is_never_negative_nor_huge(range_is_readable: bool, tree: Powercap) -> None:
    if not range_is_readable:
        (tree.root / "intel-rapl:0/max_energy_range_uj").write_text("")
    readings = []
    with opened(open_unseen("rapl")) as sensor:
        channel = named(sensor, "rapl/package-0")
        for second in range(40):
            tree.set("intel-rapl:0", 65_000_000_000 + second * 100_000_000)
            readings.append((second * 10**9, value(sensor, channel.name)))
    t, energy = (np.array(column) for column in zip(*readings, strict=True))
    assert np.any(np.diff(energy) < 0)
    nothing = np.zeros(40)
    curve = counter_curve(
        t, energy, nothing, nothing, ticks=False, range_j=channel.range_j, max_power_w=channel.max_power_w
    )
    lost = [] if range_is_readable else ["reset"]
    assert list(curve.gap_reasons) == lost
    assert np.sort(np.diff(curve.energy_j)) == pytest.approx([0.0] * len(lost) + [100.0] * (39 - len(lost)))


def test_3_a_gpu_without_a_counter_is_never_0_joules(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.fail(0, double.ENERGY, double.NOT_SUPPORTED)
    fake.set_power(0, 250.0)
    time.sleep(0.15)
    with opened(open_one("nvml")) as sensor:
        (basis,) = choose_basis(sensor.channels).channels
        assert value(sensor, basis) == pytest.approx(250.0, rel=0.01)
        assert named(sensor, "nvml/gpu0").reason


def test_3_a_task_shorter_than_an_update_of_the_counter_is_not_0_joules(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.set_power(0, 250.0, time.monotonic_ns() - 10**9)

    def told() -> None:
        with opened(open_one("nvml")) as sensor:
            seen = []
            for _ in range(400):
                time.sleep(0.001)
                seen.append(reading(sensor, "nvml/gpu0"))
        t, joules, half = (np.array(column) for column in zip(*seen, strict=True))
        curve = counter_curve(t, joules, np.zeros(t.size), half, ticks=True)
        start = int(curve.t_ns[1]) + 30_000_000
        energy, low, high = energy_between(curve, start, start + 30_000_000)
        assert energy[0] == pytest.approx(250.0 * 0.03, rel=0.2)
        assert low[0] <= 250.0 * 0.03 <= high[0]
        assert high[0] - low[0] > 0.1 * energy[0]  # and it is not said to be known well

    undisturbed(told)


@pytest.mark.parametrize("form", ["6", "{uuid}", "{prefix}", "6,-1,2"])
def test_4_a_job_on_one_gpu_of_a_shared_node_is_not_charged_for_the_others(
    form: str, gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = gpus(8).uuid(6)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", form.format(uuid=uuid, prefix=uuid[:12]))
    with opened(open_one("nvml")) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu6"}


def test_4_ranks_that_see_one_gpu_each_count_every_gpu_once(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(4)
    counted: list[str] = []
    for rank in range(4):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(rank))
        with opened(open_one("nvml")) as sensor:
            counted += choose_basis(sensor.channels).channels
    assert sorted(counted) == [f"nvml/gpu{rank}" for rank in range(4)]


def test_5_rapl_is_packages_and_memory_without_psys_parts_or_duplicates(tree: Powercap) -> None:
    watts = {"package": 100.0, "core": 60.0, "uncore": 10.0, "dram": 20.0, "psys": 300.0}
    with opened(open_unseen("rapl")) as sensor:
        for zone in tree.root.iterdir():
            name = (zone / "name").read_text().strip().partition("-")[0]
            tree.set(zone.name, int(watts[name] * 1e6))
        basis = choose_basis(sensor.channels)
        assert sum(value(sensor, name) for name in basis.channels) == 2 * 100.0 + 2 * 20.0


@pytest.mark.parametrize("shape", ["silicon", "monterey", "intel"])
def test_6_a_mac_is_never_asked_for_a_password_and_its_changing_names_are_known(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    programs = install(tmp_path / "bin", shape=shape, interval_s=0.02, sudo="free", unknown_sampler="ane_power")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with opened(open_one("powermetrics")) as sensor:  # the stand-in's sudo fails unless it is told not to ask
        (basis,) = choose_basis(sensor.channels).channels
        reading(sensor, basis)
        assert reading(sensor, basis).value > 0


def test_6_a_sudo_that_wants_a_password_is_told_and_neither_waited_for_nor_replaced_by_a_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    programs = install(tmp_path / "bin", sudo="password")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with opened(open_one("powermetrics")) as sensor:
        (channel,) = sensor.channels
    assert (channel.status, choose_basis([channel]).name) == ("permission", None)
    assert "NOPASSWD: /usr/bin/powermetrics" in (channel.hint or "")


def test_7_a_mig_instance_is_measured_as_its_parent_instead_of_failing(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = gpus(1)
    fake.gpu(0).mig_mode = 1
    for place, uuid in enumerate((b"MIG-aaaa", b"MIG-bbbb")):
        fake.gpu(0).mig_uuid[place].value = uuid
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-aaaa,MIG-bbbb")
    with opened(open_one("nvml")) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0"}
        assert "whole parent GPU" in (named(sensor, "nvml/gpu0").note or "")


def test_8_a_counter_that_disagrees_with_the_power_can_be_seen_to(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.gpu(0).power_period_ns = 10_000_000
    fake.gpu(0).counter_period_ns = double.FOREVER
    fake.set_power(0, 400.0)
    time.sleep(0.05)
    with opened(open_one("nvml")) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0/power"}

    def told() -> None:
        readings: dict[str, list[Reading]] = {"nvml/gpu0": [], "nvml/gpu0/power": []}
        with opened(open_unseen("nvml")) as sensor:
            for _ in range(10):
                time.sleep(0.01)
                for name, seen in readings.items():
                    seen.append(reading(sensor, name))
        nothing = np.zeros(10)
        counted, integrated = ([np.array(column) for column in zip(*seen, strict=True)] for seen in readings.values())
        counter = counter_curve(counted[0], counted[1], nothing, counted[2], ticks=False)
        power = power_curve(integrated[0], integrated[1], nothing, integrated[2])
        assert counter.energy_j[-1] == 0.0
        assert power.energy_j[-1] == pytest.approx(400.0 * float(np.ptp(power.t_ns)) / 1e9, rel=0.01)

    undisturbed(told)


def test_8_a_counter_that_jumps_for_one_reading_is_not_terawatts() -> None:
    t = np.arange(20) * 100_000_000
    joules = 30.0 * np.arange(20)
    joules[10] = 3.69e11
    curve = counter_curve(t, joules, np.zeros(20), np.zeros(20), ticks=False, max_power_w=600.0)
    assert curve.energy_j[-1] == pytest.approx(19 * 30.0)
    assert curve.gap_reasons == ()


@pytest.mark.parametrize("name", ["nvml", "amd", "rapl", "hwmon", "battery", "meter", "estimate"])
def test_9_no_reading_waits(name: str, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(seconds: float) -> None:
        raise AssertionError(f"a reading slept for {seconds} s")

    machine(name)
    with opened(open_one(name)) as sensor:
        monkeypatch.setattr(time, "sleep", wait)
        for index, channel in enumerate(sensor.channels):
            if channel.status == "ok":
                sensor.read(index)
        monkeypatch.undo()


def test_9_a_reading_asks_the_driver_once_and_nothing_else(gpus: Gpus) -> None:
    fake = gpus(2)
    with opened(open_one("nvml")) as sensor:
        before = [(fake.gpu(i).energy_calls, fake.gpu(i).power_calls) for i in (0, 1)]
        read(sensor, "nvml/gpu0")
        read(sensor, "nvml/gpu1/power")
        after = [(fake.gpu(i).energy_calls, fake.gpu(i).power_calls) for i in (0, 1)]
    assert np.subtract(after, before).tolist() == [[1, 0], [0, 1]]


def test_10_a_gpu_whose_counter_is_not_ready_is_measured_by_its_power(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.fail(0, double.ENERGY, double.NOT_READY)
    with opened(open_one("nvml")) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0/power"}
        assert "ready" in (named(sensor, "nvml/gpu0").reason or "")


SCRIPT = """
from pathlib import Path
import sys
print("the user's module runs")
from ipw.profilers.sampler.handle import Sampler
sampler = Sampler.start(Path(sys.argv[1]), "rapl")
print(sorted(channel["name"] for channel in sampler.channels if channel["scope"] == "package"))
sampler.stop()
"""


def test_10_measuring_runs_no_users_module_twice_and_finds_a_tree_that_a_container_mounts(tmp_path: Path) -> None:
    tree = Powercap(tmp_path / "mounted/intel-rapl")
    tree.zone("intel-rapl:0", "package-0")
    (tmp_path / "job.py").write_text(SCRIPT)
    environment = NOTHING | {
        "IPW_POWERCAP": str(tmp_path / "mounted"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path)]
    out = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["the user's module runs", "['rapl/package-0']"]
