from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from doubles.reading import failure, named, opened, reading, value

from ipw.profilers.base import Channel, Sensor
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.losses import losses


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


@pytest.mark.parametrize(("visible", "levels"), [("7", ["error"]), ("0,7", ["warning"]), ("-1", []), ("1,0", [])])
def test_a_gpu_that_was_named_and_is_not_here_is_told(
    amdsmi: Any, monkeypatch: pytest.MonkeyPatch, visible: str, levels: list[str]
) -> None:
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", visible)
    with opened(open_amd()) as sensor:
        assert [each.level for each in losses(sensor.channels)] == levels


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


ODD = (
    RuntimeError("AMDSMI_STATUS_UNKNOWN_ERROR"),
    KeyError("market_name"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
)


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", ["amdsmi_get_gpu_asic_info", "amdsmi_get_gpu_device_bdf", "amdsmi_get_power_info"])
def test_a_gpu_that_hides_one_fact_is_measured_with_the_others(
    amdsmi: Any, monkeypatch: pytest.MonkeyPatch, call: str, error: Exception
) -> None:
    well = getattr(amdsmi, call)

    def odd(handle: int) -> Any:
        if handle == 1:
            raise error
        return well(handle)

    monkeypatch.setattr(amdsmi, call, odd)
    with opened(open_amd()) as sensor:
        assert choose_basis(sensor.channels).channels == {"amd/gpu0", "amd/gpu1"}
        note = named(sensor, "amd/gpu1").note
        assert call == "amdsmi_get_power_info" or "not told" in (note or "")
        assert named(sensor, "amd/gpu0").note is None


def test_a_dead_gpu_of_two_is_listed_and_the_other_goes_on(amdsmi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in (
        "amdsmi_get_gpu_asic_info",
        "amdsmi_get_gpu_device_bdf",
        "amdsmi_get_energy_count",
        "amdsmi_get_power_info",
    ):
        well = getattr(amdsmi, call)

        def dead(handle: int, well: Any = well) -> Any:
            if handle == 1:
                raise amdsmi.AmdSmiLibraryException("AMDSMI_STATUS_DRM_ERROR")
            return well(handle)

        monkeypatch.setattr(amdsmi, call, dead)
    with opened(open_amd()) as sensor:
        assert choose_basis(sensor.channels).channels == {"amd/gpu0"}
        assert named(sensor, "amd/gpu1").reason == "amdsmi: AMDSMI_STATUS_DRM_ERROR"
        assert [(loss.channel, loss.level) for loss in losses(sensor.channels)] == [("amd/gpu1", "warning")]
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0,1")
    with opened(open_amd()) as sensor:
        assert [(loss.channel, loss.level) for loss in losses(sensor.channels)] == [("amd/gpu1", "error")]


def test_a_library_that_lists_nothing_is_told(amdsmi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise amdsmi.AmdSmiLibraryException("AMDSMI_STATUS_NOT_INIT")

    monkeypatch.setattr(amdsmi, "amdsmi_get_processor_handles", fail)
    (channel,) = open_amd().channels
    assert (channel.status, channel.reason) == ("lost", "amdsmi: AMDSMI_STATUS_NOT_INIT")


def test_the_second_die_of_an_mi250_is_within_the_first(amdsmi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = amdsmi.amdsmi_get_energy_count

    def of_the_first(handle: int) -> Any:
        return counted(handle) if handle == 0 else {"energy_accumulator": 0, "counter_resolution": 15.3}

    monkeypatch.setattr(amdsmi, "amdsmi_get_energy_count", of_the_first)
    monkeypatch.setattr(amdsmi, "amdsmi_get_gpu_asic_info", lambda _: {"market_name": "AMD Instinct MI250X"})
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0,1")
    with opened(open_amd()) as sensor:
        assert choose_basis(sensor.channels).channels == {"amd/gpu0"}
        assert named(sensor, "amd/gpu1").kind == "gauge"
        assert losses(sensor.channels) == []
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    with opened(open_amd()) as sensor:
        assert choose_basis(sensor.channels).channels == {"amd/gpu1/power"}


def card(root: Path, number: int, *, watts: float, apu: bool) -> None:
    meter, device = root / f"hwmon{number}", root / f"pci/0000:0{number}:00.0"
    meter.mkdir(parents=True)
    device.mkdir(parents=True)
    (meter / "device").symlink_to(device)
    (meter / "name").write_text("amdgpu\n")
    (meter / "in0_label").write_text("vddgfx\n")
    (meter / ("power1_input" if apu else "power1_average")).write_text(f"{round(watts * 1e6)}\n")
    if apu:
        (meter / "in1_label").write_text("vddnb\n")


def test_a_processor_with_graphics_is_its_socket_and_counts_once_beside_its_rapl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(tmp_path / "hwmon", 1, watts=45.0, apu=True)
    card(tmp_path / "hwmon", 2, watts=200.0, apu=False)
    monkeypatch.setenv("IPW_HWMON", str(tmp_path / "hwmon"))
    with opened(open_amd()) as sensor:
        alone = choose_basis(sensor.channels)
        assert alone.name == "gpu+package"
        assert [channel.max_power_w for channel in sensor.channels] == [1000.0, 2300.0]
        rapl = Channel(name="rapl/package-0", kind="counter", scope="package", method="counter")
        beside = choose_basis([*sensor.channels, rapl])
        assert beside.channels == {"amd/0000:02:00.0", "rapl/package-0"}


def test_a_processor_with_graphics_is_known_through_amdsmi_too(
    amdsmi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(tmp_path / "hwmon", 1, watts=45.0, apu=True)
    monkeypatch.setenv("IPW_HWMON", str(tmp_path / "hwmon"))
    monkeypatch.setattr(amdsmi, "amdsmi_get_gpu_device_bdf", lambda handle: f"0000:0{handle + 1}:00.0")
    with opened(open_amd()) as sensor:
        scopes = {channel.name: channel.scope for channel in sensor.channels}
    assert scopes == {
        "amd/gpu0": "package", "amd/gpu0/power": "package", "amd/gpu1": "gpu", "amd/gpu1/power": "gpu"
    }  # fmt: skip


@pytest.mark.parametrize("watts", [0.0, 0.012])
def test_a_socket_that_tells_milliwatts_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watts: float
) -> None:
    card(tmp_path / "hwmon", 1, watts=watts, apu=True)
    monkeypatch.setenv("IPW_HWMON", str(tmp_path / "hwmon"))
    with opened(open_amd()) as sensor:
        assert choose_basis(sensor.channels).name is None
        assert sensor.channels[0].reason == "it answers 0 W"


def test_a_driver_whose_name_is_no_utf_8_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate((b"\xff\xfe\n", b"amdgpu\n")):
        meter = tmp_path / f"hwmon/hwmon{number}"
        meter.mkdir(parents=True)
        (meter / "name").write_bytes(name)
        (meter / "power1_average").write_text("85000000\n")
    monkeypatch.setenv("IPW_HWMON", str(tmp_path / "hwmon"))
    with opened(open_amd()) as sensor:
        assert [channel.name for channel in sensor.channels] == ["amd/hwmon1"]
