from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from doubles.reading import failure, named, opened, value

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis
from ipw.profilers.linux.hwmon import open_sensor

Machine = Callable[[str], None]


def open_hwmon() -> Sensor:
    """As it is before it is looked at: most counters here stand still."""
    return open_sensor()


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder


@pytest.fixture
def hwmon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IPW_HWMON", str(tmp_path / "hwmon"))
    return tmp_path / "hwmon"


def test_a_grace_socket_is_its_module_which_contains_its_cpu(machine: Machine) -> None:
    machine("hwmon")
    with opened(open_hwmon()) as sensor:
        assert choose_basis(sensor.channels) == ("module", frozenset({"hwmon/module-power-socket-0"}), None)
        grace = named(sensor, "hwmon/grace-power-socket-0")
        assert (grace.scope, grace.included_in) == ("package", "hwmon/module-power-socket-0")
        assert value(sensor, grace.name) == 120.0
        assert grace.update_period_s == 0.05


def test_any_other_acpi_meter_is_of_the_whole_system(hwmon: Path) -> None:
    write(hwmon / "hwmon0", name="power_meter", power1_average=345_000_000)
    with opened(open_hwmon()) as sensor:
        assert choose_basis(sensor.channels).name == "system"
        assert value(sensor, "hwmon/acpi") == 345.0


def test_a_jetson_is_its_input_rail_in_milliamperes_times_millivolts(hwmon: Path) -> None:
    rails = {"in1_label": "VDD_IN", "in1_input": 5000, "curr1_input": 3000, "in2_label": "VDD_CPU_GPU_CV"}
    write(hwmon / "hwmon0", name="ina3221", in2_input=5000, curr2_input=1000, in3_label="NC", **rails)
    with opened(open_hwmon()) as sensor:
        assert choose_basis(sensor.channels) == ("soc", frozenset({"hwmon/vdd-in"}), None)
        assert value(sensor, "hwmon/vdd-in") == 15.0
        assert value(sensor, "hwmon/vdd-cpu-gpu-cv") == 5.0


def test_a_jetson_without_an_input_rail_is_the_sum_of_its_rails(hwmon: Path) -> None:
    for number, label in enumerate(("VDD_GPU_SOC", "VDD_CPU_CV")):
        write(hwmon / f"hwmon{number}", name="ina3221", in1_label=label, in1_input=5000, curr1_input=1000)
    with opened(open_hwmon()) as sensor:
        assert choose_basis(sensor.channels).channels == {"hwmon/vdd-gpu-soc", "hwmon/vdd-cpu-cv"}


def test_an_intel_card_is_counted_once_though_it_tells_its_package_too(hwmon: Path) -> None:
    write(hwmon / "hwmon4", name="xe", energy1_input=9_000_000, energy2_input=7_000_000)
    with opened(open_hwmon()) as sensor:
        assert choose_basis(sensor.channels).channels == {"hwmon/xe-4"}
        assert value(sensor, "hwmon/xe-4") == 9.0


def test_a_meter_that_vanishes_is_lost(hwmon: Path) -> None:
    folder = write(hwmon / "hwmon0", name="power_meter", power1_average=1)
    with opened(open_hwmon()) as sensor:
        (folder / "power1_average").unlink()
        assert failure(sensor, "hwmon/acpi").status == "lost"


@pytest.mark.parametrize("driver", ["nvme", "coretemp", "amdgpu", "sq521", "in", ""])
def test_what_measures_something_else_is_no_meter(hwmon: Path, driver: str) -> None:
    write(hwmon / "hwmon0", name=driver, label="VIN", power1_input=5, in1_label="VIN", in1_input=5, curr1_input=5)
    (channel,) = open_hwmon().channels
    assert (channel.name, channel.status, channel.reason) == ("hwmon", "absent", f"no known power meter in {hwmon}")


@pytest.mark.parametrize("driver", ["power_meter", "ina3221", "ina238", "i915"])
def test_a_meter_that_cannot_be_read_says_what_may_mend_it(hwmon: Path, driver: str) -> None:
    files = dict.fromkeys(("power1_average", "power1_input", "energy1_input", "in1_input", "curr1_input"), "N/A")
    write(hwmon / "hwmon0", name=driver, in1_label="VDD_IN", label="VDD_IN", **files)
    (channel,) = open_hwmon().channels
    assert (channel.status, channel.hint) == ("lost", f"sudo chmod -R a+r {hwmon}/hwmon0")
