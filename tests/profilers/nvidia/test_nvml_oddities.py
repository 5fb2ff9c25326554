"""One GPU, one call or one name that is odd costs itself: no other GPU, and no run."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubles import nvml as double
from doubles.nvml import FakeNvml
from doubles.reading import in_child, named, opened

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.nvidia.calls import told
from ipw.profilers.nvidia.gpus import foreign_processes

Gpus = Callable[[int], FakeNvml]
UNKNOWN = 999
BINDING = ("nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetPciInfo", "nvmlDeviceGetMaxMigDeviceCount",
           "nvmlSystemGetDriverVersion", "nvmlDeviceGetPowerManagementLimitConstraints", "nvmlDeviceGetTemperature",
           "nvmlDeviceGetClockInfo", "nvmlDeviceGetEnforcedPowerLimit",
           "nvmlDeviceGetCurrentClocksEventReasons")  # fmt: skip
"""What is asked through pynvml's own functions."""


def open_nvml() -> Sensor:
    (sensor,) = find("nvml")
    return sensor


def mismatch() -> Exception:
    import pynvml

    kind = getattr(pynvml, "NVMLLibraryMismatchError", None) or type("NVMLLibraryMismatchError", (Exception,), {})
    return kind("use nvmlDeviceGetName_v2")  # type: ignore[no-any-return]


def unsupported() -> Exception:
    import pynvml

    return pynvml.NVMLError(3)  # type: ignore[no-any-return]


ERRORS: dict[str, Callable[[], Exception]] = {
    "NVML's own": unsupported,
    "no NVMLError": mismatch,
    "an older binding": lambda: AttributeError("module 'pynvml' has no attribute"),
    "ctypes": lambda: ctypes.ArgumentError("argument 1: TypeError"),
    "no UTF-8": lambda: UnicodeDecodeError("utf-8", b"\xffGPU", 0, 1, "invalid start byte"),
    "anything": lambda: RuntimeError("odd"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("call", BINDING)
def test_a_call_that_fails_in_any_way_costs_its_own_fact(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch, call: str, error: Callable[[], Exception]
) -> None:
    import pynvml

    gpus(1)

    def fail(*_: Any) -> None:
        raise error()

    monkeypatch.setattr(pynvml, call, fail)
    with opened(open_nvml()) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0"}
        assert named(sensor, "nvml/gpu0/power").status == "ok"
    assert foreign_processes(()) == []


@pytest.mark.parametrize("error", [double.GPU_IS_LOST, double.NOT_SUPPORTED, UNKNOWN])
def test_a_dead_gpu_of_eight_is_listed_and_the_others_go_on(gpus: Gpus, error: int) -> None:
    gpus(8).fail(1, double.HANDLE, error)
    with opened(open_nvml()) as sensor:
        dead = named(sensor, "nvml/gpu1")
        assert (dead.kind, dead.scope) == ("power", "gpu")
        assert dead.status == ("unsupported" if error == double.NOT_SUPPORTED else "lost")
        assert dead.reason
        assert dead.reason.startswith("NVML: ")
        assert choose_basis(sensor.channels).channels == {f"nvml/gpu{i}" for i in (0, 2, 3, 4, 5, 6, 7)}


@pytest.mark.parametrize("fact", [double.NAME, double.UUID, double.PCI, double.LIMITS])
def test_a_gpu_that_hides_one_fact_is_measured_with_the_others(gpus: Gpus, fact: int) -> None:
    gpus(2).fail(1, fact, UNKNOWN)
    with opened(open_nvml()) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0", "nvml/gpu1"}
        note = named(sensor, "nvml/gpu1").note
        assert fact == double.LIMITS or (note and "is not told (NVML: Unknown Error)" in note)
        assert named(sensor, "nvml/gpu0").note is None


def test_a_name_that_is_no_utf_8_is_shown_as_far_as_it_can_be(gpus: Gpus) -> None:
    gpus(2).gpu(1).name = b"GPU \xff\xfe\x1b[31m"
    with opened(open_nvml()) as sensor:
        assert named(sensor, "nvml/gpu1").device.startswith("GPU \ufffd\ufffd\ufffd[31m GPU-")
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0", "nvml/gpu1"}


def test_field_values_of_an_unknown_type_are_no_power_and_the_counter_stays(gpus: Gpus) -> None:
    gpus(1).gpu(0).field_type = 42
    with opened(open_nvml()) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0"}
        power = named(sensor, "nvml/gpu0/power")
        assert (power.status, power.note) == ("ok", "averaged over 1 s by some drivers")
        assert named(sensor, "nvml/gpu0/thermal_slowdown").reason == "NVML: a value of the unknown type 42"


def test_a_power_limit_of_0_is_no_limit(gpus: Gpus) -> None:
    gpus(1).gpu(0).no_limit = 1
    with opened(open_nvml()) as sensor:
        assert named(sensor, "nvml/gpu0").max_power_w != 0


def test_a_gpu_that_always_answers_0_watts_is_not_believed(gpus: Gpus) -> None:
    fake = gpus(2)
    fake.fail(0, double.ENERGY, double.NOT_SUPPORTED)
    fake.gpu(0).gain = 0.0
    with opened(open_nvml()) as sensor:
        power = named(sensor, "nvml/gpu0/power")
        assert (power.status, power.reason) == ("unsupported", "it answers 0 W")
        assert choose_basis(sensor.channels).channels == {"nvml/gpu1"}


def test_an_integrated_gpu_that_tells_neither_place_nor_energy_nor_power_says_so(gpus: Gpus) -> None:
    fake = gpus(1)
    for call in (double.PCI, double.UUID, double.ANY, double.LIMITS):
        fake.fail(0, call, double.NOT_SUPPORTED)
    with opened(open_nvml()) as sensor:
        assert {channel.status for channel in sensor.channels} == {"unsupported"}


@pytest.mark.parametrize("visible", ["1", "GPU-00000001-1111-2222-3333-444444444444"])
def test_a_dead_gpu_that_is_named_is_what_was_asked_for(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    gpus(3).fail(1, double.HANDLE, double.GPU_IS_LOST)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with opened(open_nvml()) as sensor:
        dead = named(sensor, "nvml/gpu1")
        assert (dead.asked, dead.status) == (True, "lost")
        assert not choose_basis(sensor.channels).channels
        assert not named(sensor, "nvml/gpu0").asked


def test_a_number_behind_a_dead_gpu_is_noted_as_unsure(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(3).fail(1, double.HANDLE, double.GPU_IS_LOST)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    with opened(open_nvml()) as sensor:
        assert named(sensor, "nvml/gpu0").note is None
        note = named(sensor, "nvml/gpu2").note
        assert note
        assert "name GPUs by UUID" in note


def test_processes_of_a_gpu_that_does_not_tell_hide_no_others(gpus: Gpus) -> None:
    fake = gpus(3)
    fake.fail(0, double.HANDLE, double.GPU_IS_LOST)
    fake.fail(1, double.PROCESSES, double.NOT_SUPPORTED)
    fake.gpu(2).pids[0] = 4321
    assert foreign_processes(()) == [(fake.uuid(2), 4321)]


TELL = """
from ipw.profilers.discovery import find
from ipw.profilers.nvidia.gpus import foreign_processes
for channel in find("nvml")[0].channels:
    print(channel.name, channel.status, channel.note, sep="|")
print("others", [each.pid for each in foreign_processes(())], sep="|")
"""


def test_a_driver_of_2020_lacks_functions_and_is_measured_all_the_same(tmp_path: Path) -> None:
    fake = FakeNvml.create(tmp_path / "nvml", driver="DRIVER_2020")
    fake.gpu(0).pids[0], fake.gpu(0).pids[1] = 4321, 99
    told = {name: rest for name, *rest in (line.split("|") for line in in_child(TELL, fake.environment()).splitlines())}
    assert told["nvml/gpu0"] == ["ok", "None"]
    assert told["nvml/gpu0/power"] == ["ok", "averaged over 1 s by some drivers"]
    assert told["nvml/gpu0/clock_events"][0] == "ok"
    assert told["others"] == ["[4321, 99]"]


def test_an_error_whose_own_text_cannot_be_had_is_told_by_its_number() -> None:
    class OddError(Exception):
        value = 1234

        def __str__(self) -> str:
            raise ValueError

    assert told(OddError()).reason == "NVML: error 1234"
