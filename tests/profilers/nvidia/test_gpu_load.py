"""What others use of the GPUs, through the NVML stand-in; it answers as drivers do, with leftovers behind the list."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubles.nvml import GPU_IS_LOST, NO_PERMISSION, NOT_SUPPORTED, UTILISATION, FakeNvml

from ipw.profilers.base import SensorError
from ipw.profilers.discovery import close, find
from ipw.profilers.nvidia import gpu_load

LOOK = """
import json, os, sys
from ipw.profilers.base import SensorError
from ipw.profilers.discovery import find
from ipw.profilers.nvidia.gpu_load import open_gpu_load
roots = [int(word) for word in sys.argv[1:]]
gauges = open_gpu_load(find("nvml"), roots)
told = {}
for number, channel in enumerate(gauges.channels if gauges else []):
    try:
        told[channel.name] = gauges.read(number).value
    except SensorError as error:
        told[channel.name] = error.reason
print(json.dumps(told))
"""


def looked(fake: FakeNvml, *roots: int, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *map(str, roots)],
        env=os.environ | fake.environment() | {"IPW_PROC": "/proc"} | environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture
def gpu(tmp_path: Path) -> FakeNvml:
    return FakeNvml.create(tmp_path / "nvml")


def use(fake: FakeNvml, number: int = 0, **sm: int) -> None:
    for place, (pid, percent) in enumerate(sm.items()):
        fake.gpu(number).pids[place], fake.gpu(number).sm[place] = int(pid.removeprefix("pid")), percent


@pytest.mark.skipif(not Path("/proc/1").exists(), reason="no /proc")
def test_what_this_run_and_what_others_used_is_told_apart(gpu: FakeNvml) -> None:
    use(gpu, **{f"pid{os.getpid()}": 60, "pid1": 25})
    assert looked(gpu, os.getpid()) == {"load/gpu0/others": 25.0, "load/gpu0/own": 60.0}


def test_a_gpu_that_nobody_used_is_used_by_nobody(gpu: FakeNvml) -> None:
    assert looked(gpu, os.getpid()) == {"load/gpu0/others": 0.0, "load/gpu0/own": 0.0}


def test_kernels_at_the_same_time_are_the_whole_time_at_most(gpu: FakeNvml) -> None:
    use(gpu, **{f"pid{os.getpid()}": 90, f"pid{os.getppid()}": 80})
    assert looked(gpu, os.getppid()) == {"load/gpu0/others": 0.0, "load/gpu0/own": 100.0}


def test_processes_that_nobody_sees_from_here_are_not_called_others(gpu: FakeNvml) -> None:
    use(gpu, pid4194303=80)
    assert looked(gpu, os.getpid()) == {}
    assert looked(gpu, os.getpid(), IPW_PROC="/nonexistent") == {}


@pytest.mark.parametrize("error", [NOT_SUPPORTED, NO_PERMISSION, GPU_IS_LOST])
def test_a_gpu_that_does_not_tell_has_no_gauges_and_the_others_keep_theirs(tmp_path: Path, error: int) -> None:
    fake = FakeNvml.create(tmp_path / "nvml", 2)
    fake.fail(0, UTILISATION, error)
    assert list(looked(fake, os.getpid())) == ["load/gpu1/others", "load/gpu1/own"]


def test_a_driver_without_the_call_has_no_gauges(tmp_path: Path) -> None:
    assert looked(FakeNvml.create(tmp_path / "nvml", driver="OLD_DRIVER"), os.getpid()) == {}


def test_only_gpus_that_are_measured_are_looked_at(tmp_path: Path) -> None:
    told = looked(FakeNvml.create(tmp_path / "nvml", 3), os.getpid(), CUDA_VISIBLE_DEVICES="1")
    assert list(told) == ["load/gpu1/others", "load/gpu1/own"]


def test_without_an_nvidia_gpu_there_are_none(tmp_path: Path) -> None:
    fake = FakeNvml.create(tmp_path / "nvml")
    fake.fail_init(9)
    assert looked(fake, os.getpid()) == {}


@pytest.mark.parametrize(
    ("look_s", "polls_s"),
    [
        (0.0002, [5, 5, 5, 5]),  # all at one waking
        (0.00051, [5.1, 5.1, 5.35, 5.35]),
        (0.002, [20, 20, 20.25, 20.25]),
        (0.02, [60, 60, 60.25, 60.25]),
    ],
)
def test_looks_are_taken_together_where_they_are_quick_and_else_apart_and_as_seldom_as_they_are_dear(
    gpus: Callable[[int], FakeNvml], monkeypatch: pytest.MonkeyPatch, look_s: float, polls_s: list[float]
) -> None:
    gpus(2)
    taken = itertools.count()
    monkeypatch.setattr(gpu_load, "process_time", lambda: next(taken) * look_s)
    sensors = find("nvml")
    gauges = gpu_load.open_gpu_load(sensors, [os.getpid()])
    assert gauges is not None
    assert [channel.poll_s for channel in gauges.channels] == pytest.approx(polls_s)
    close([gauges, *sensors])


def told_here(fake: FakeNvml, gpus_used: dict[int, int]) -> list[float | str]:
    """What a look says of others and of this process, where these processes have such parts of the time."""
    for place in range(len(fake.gpu(0).pids)):
        fake.gpu(0).pids[place] = fake.gpu(0).sm[place] = 0
    for place, (pid, percent) in enumerate(gpus_used.items()):
        fake.gpu(0).pids[place], fake.gpu(0).sm[place] = pid, percent
    sensors = find("nvml")
    gauges = gpu_load.open_gpu_load(sensors, [os.getpid()])
    if gauges is None:
        close(sensors)
        return []
    found: list[float | str] = []
    for number in (0, 1):
        try:
            reading = gauges.read(number)
            assert reading is not None
            found.append(reading.value)
        except SensorError as error:
            found.append(error.reason)
    close([gauges, *sensors])
    return found


def test_a_look_adds_up_by_whose_it_is_and_no_more_than_the_whole(
    gpus: Callable[[int], FakeNvml], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPW_PROC", "/proc")
    fake, own, other = gpus(1), os.getpid(), os.getppid()
    assert told_here(fake, {own: 30, other: 20}) == [20, 30]
    assert told_here(fake, {other: 1}) == [1, 0]
    assert told_here(fake, {own: 100}) == [0, 100]
    assert told_here(fake, {other: 70, 1: 80, own: 5}) == [100, 5]
    assert told_here(fake, {}) == [0, 0]
    unknown = (1 << 22) + 7  # above any number that a system gives
    assert told_here(fake, {own: 30, unknown: 20}) == []  # whose it is cannot be told, and so there is no gauge


class Driver:
    """NVIDIA's binding over a driver that tells of so many processes, each with 1 % of the time."""

    class NVMLError(Exception):
        """The binding's own."""

    def __init__(self, processes: int, code: int = 0) -> None:
        self.rooms: list[int] = []
        self._processes, self._code = processes, code

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802 - as the library has it
        return number

    def _nvmlGetFunctionPointer(self, _name: str) -> Callable[..., int]:  # noqa: N802 - as above
        return self._tell

    def _tell(self, _handle: int, buffer: Any, count: Any, _since_us: Any) -> int:
        room = count._obj.value
        self.rooms.append(room)
        count._obj.value = self._processes
        if room < self._processes:
            return 7  # NVML_ERROR_INSUFFICIENT_SIZE
        for place in range(self._processes):
            gpu_load.SAMPLE.pack_into(buffer, place * gpu_load.SAMPLE.size, 1000 + place, 5, 1, 0, 0, 0)
        return self._code


class Everybody:
    """All processes are of this run."""

    def all(self) -> set[int]:
        return set(range(1 << 16))

    def sees(self, pid: int) -> bool:
        return pid > 0


@pytest.mark.parametrize(("processes", "rooms"), [(100, [100]), (101, [100, 200]), (250, [100, 250])])
def test_a_driver_that_tells_of_more_processes_is_given_room_for_them(processes: int, rooms: list[int]) -> None:
    driver = Driver(processes)
    look = gpu_load.Look(driver, 0, Everybody())  # type: ignore[arg-type]
    assert look.take() == (0, min(processes, 100))
    assert driver.rooms == rooms


def test_a_driver_that_never_has_room_enough_is_asked_no_longer_and_one_that_found_nobody_tells_nothing() -> None:
    greedy = Driver(1 << 20)
    assert isinstance(gpu_load.Look(greedy, 0, Everybody()).take(), SensorError)  # type: ignore[arg-type]
    assert greedy.rooms == [100, 4096]
    nobody = Driver(7, 6)  # NVML_ERROR_NOT_FOUND: what the list holds then means nothing
    assert gpu_load.Look(nobody, 0, Everybody()).take() == (0, 0)  # type: ignore[arg-type]


def test_what_was_told_before_is_not_told_again() -> None:
    look = gpu_load.Look(Driver(3), 0, Everybody())  # type: ignore[arg-type]
    assert look.take() == (0, 3)
    assert look.take() == (0, 0)
