from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from doubles.reading import failure, named, opened, reading, value

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis, find


@pytest.fixture
def amdsmi(machine: Callable[[str], None]) -> Any:
    machine("amd")
    return import_module("amdsmi")


def open_amd() -> Sensor:
    (sensor,) = find("amd")
    return sensor


def test_each_gpu_has_a_counter_in_joules_with_power_within_it(amdsmi: Any) -> None:
    with opened(open_amd()) as sensor:
        assert choose_basis(sensor.channels).channels == {"amd/gpu0", "amd/gpu1"}
        assert named(sensor, "amd/gpu0/power").included_in == "amd/gpu0"
        first, last = reading(sensor, "amd/gpu0"), reading(sensor, "amd/gpu0")
        assert 1000 < first.value <= last.value < 1300
        assert value(sensor, "amd/gpu0/power") == 300.0


def test_the_accumulators_older_name_is_known(amdsmi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = amdsmi.amdsmi_get_energy_count

    def older(handle: int) -> dict[str, float]:
        told = newer(handle)
        return {"power": told["energy_accumulator"], "counter_resolution": told["counter_resolution"]}

    monkeypatch.setattr(amdsmi, "amdsmi_get_energy_count", older)
    with opened(open_amd()) as sensor:
        assert value(sensor, "amd/gpu0") > 1000


def test_a_frozen_counter_is_not_trusted_and_power_takes_its_place(
    amdsmi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amdsmi, "FROZEN", True)
    with opened(open_amd()) as sensor:
        assert named(sensor, "amd/gpu0").reason == "its energy counter stands still"
        assert choose_basis(sensor.channels).channels == {"amd/gpu0/power", "amd/gpu1/power"}


@pytest.mark.parametrize("power", [{"average_socket_power": "N/A"}, {}, {"current_socket_power": 0xFFFFFFFF}])
def test_power_that_is_not_told_is_unsupported_and_never_0(
    amdsmi: Any, monkeypatch: pytest.MonkeyPatch, power: dict[str, Any]
) -> None:
    monkeypatch.setattr(amdsmi, "POWER", power)
    with opened(open_amd()) as sensor:
        assert named(sensor, "amd/gpu0/power").status == "unsupported"


@pytest.mark.parametrize(
    ("variable", "visible"),
    [("HIP_VISIBLE_DEVICES", "1"), ("ROCR_VISIBLE_DEVICES", "1"), ("ROCR_VISIBLE_DEVICES", "GPU-abcd000000000001")],
)
def test_only_visible_gpus_are_measured(
    amdsmi: Any, monkeypatch: pytest.MonkeyPatch, variable: str, visible: str
) -> None:
    monkeypatch.setenv(variable, visible)
    with opened(open_amd()) as sensor:
        assert choose_basis(sensor.channels).channels == {"amd/gpu1"}


def test_a_gpu_lost_in_the_middle_is_told(amdsmi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(open_amd()) as sensor:

        def fail(handle: int) -> None:
            raise amdsmi.AmdSmiLibraryException("AMDSMI_STATUS_NO_DATA")

        monkeypatch.setattr(amdsmi, "amdsmi_get_energy_count", fail)
        assert failure(sensor, "amd/gpu0").reason == "amdsmi: AMDSMI_STATUS_NO_DATA"


def test_without_rocm_the_drivers_own_power_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = tmp_path / "hwmon/hwmon3"
    meter.mkdir(parents=True)
    (meter / "name").write_text("amdgpu\n")
    (meter / "power1_average").write_text("85000000\n")
    (tmp_path / "0000:03:00.0").mkdir()
    (meter / "device").symlink_to(tmp_path / "0000:03:00.0")
    monkeypatch.setenv("IPW_HWMON", str(tmp_path / "hwmon"))
    with opened(open_amd()) as sensor:
        assert value(sensor, "amd/0000:03:00.0") == 85.0
        assert choose_basis(sensor.channels).name == "gpu"
