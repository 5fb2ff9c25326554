"""No rail of a board counts twice, and none whose place nobody knows counts at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from doubles.reading import named, opened, value

from ipw.energy.belief.believed import doubtful_power
from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis
from ipw.profilers.linux.hwmon import open_sensor

Chip = dict[str, object]
BOARDS: dict[str, tuple[list[Chip], set[str], float]] = {
    "TX2": (
        [
            {"name": "ina3221", "in1": ("VDD_SYS_GPU", 3.0), "in2": ("VDD_SYS_SOC", 1.0)},
            {"name": "ina3221", "in1": ("VDD_IN", 9.0), "in2": ("VDD_SYS_CPU", 2.0), "in3": ("VDD_SYS_DDR", 1.0)},
            {"name": "ina3221", "in1": ("VDD_MUX", 14.0), "in2": ("VDD_5V0_IO_SYS", 2.0), "in3": ("VDD_3V3_SYS", 1.0)},
        ],
        {"vdd-in"}, 9.0,
    ),
    "Nano": ([{"name": "ina3221", "in1": ("POM_5V_IN", 5.0), "in2": ("POM_5V_GPU", 1.0), "in3": ("POM_5V_CPU", 2.0)}],
             {"pom-5v-in"}, 5.0),
    "AGX Xavier": (
        [{"name": "ina3221", "in1": ("GPU", 8.0), "in2": ("CPU", 4.0), "in3": ("SOC", 2.0)},
         {"name": "ina3221", "in1": ("CV", 0.0), "in2": ("VDDRQ", 1.0), "in3": ("SYS5V", 3.0)}],
        {"gpu", "cpu", "soc", "cv", "vddrq", "sys5v"}, 18.0,
    ),
    "Orin NX": ([{"name": "ina3221", "in1": ("VDD_IN", 15.0), "in2": ("VDD_CPU_GPU_CV", 6.0), "in3": ("VDD_SOC", 3.0)}],
                {"vdd-in"}, 15.0),
    "AGX Orin 64 GB": (
        [{"name": "ina3221", "in1": ("VDD_GPU_SOC", 10.0), "in2": ("VDD_CPU_CV", 5.0), "in3": ("VIN_SYS_5V0", 6.0),
          "in7_label": "sum of shunt voltages"},
         {"name": "ina3221", "in1": ("NC", 0.0), "in2": ("VDDQ_VDD2_1V8AO", 2.0), "in3": ("NC", 0.0)}],
        {"vdd-gpu-soc", "vdd-cpu-cv", "vin-sys-5v0"}, 21.0,
    ),
    "IGX Orin, carrier measured too": (
        [{"name": "ina3221", "in1": ("VDD_GPU_SOC", 10.0), "in2": ("VDD_CPU_CV", 5.0), "in3": ("VIN_SYS_5V0", 6.0)},
         {"name": "ina3221", "in1": ("CVB_ATX_12V", 60.0), "in2": ("CVB_ATX_3V3", 2.0), "in3": ("CVB_ATX_5V", 3.0)},
         {"name": "ina219", "in1_input": 19_000, "curr1_input": 4_000, "power1_input": 76_000_000}],
        {"vdd-gpu-soc", "vdd-cpu-cv", "vin-sys-5v0"}, 21.0,
    ),
    "Thor": (
        [{"name": "ina3221", "in1": ("VDD_GPU", 0.0), "in2": ("VDD_CPU_SOC_MSS", 6.5), "in3": ("VIN_SYS_5V0", 6.5)},
         {"name": "ina238", "label": "VIN", "in1_input": 19_000, "curr1_input": 1_316, "power1_input": 25_000_000}],
        {"vin"}, 25.0,
    ),
    "Thor without its input": (
        [{"name": "ina3221", "in1": ("VDD_GPU", 0.0), "in2": ("VDD_CPU_SOC_MSS", 6.5), "in3": ("VIN_SYS_5V0", 6.5)}],
        {"vdd-gpu", "vdd-cpu-soc-mss", "vin-sys-5v0"}, 13.0,
    ),
    "Thor, whose input tells no power": (
        [{"name": "ina238", "label": "VIN", "in0_input": 3, "in1_input": 20_000, "curr1_input": 1_500}], {"vin"}, 30.0,
    ),
    "an input and a module on one board": (
        [{"name": "ina228", "power1_label": "VIN", "power1_input": 40_000_000},
         {"name": "ina3221", "in1": ("VDD_IN", 30.0)}],
        {"vin"}, 40.0,
    ),
    "labels at the current": ([{"name": "ina3221", "curr1": ("VDD_IN", 15.0)}], {"vdd-in"}, 15.0),
    "a rail that is switched off": (
        [{"name": "ina3221", "in1": ("VDD_IN", 15.0), "in2_label": "VDD_SOC", "in2_enable": 0}], {"vdd-in"}, 15.0,
    ),
    "a rail of a name that is new": (
        [{"name": "ina3221", "in1": ("VDD_GPU_SOC", 10.0), "in2": ("VDD_NEW", 5.0), "in3": ("VIN_SYS_5V0", 6.0)}],
        {"vdd-gpu-soc", "vin-sys-5v0"}, 16.0,
    ),
}  # fmt: skip


def write(root: Path, chips: list[Chip]) -> None:
    for number, chip in enumerate(chips):
        folder = root / f"hwmon{number}"
        folder.mkdir(parents=True)
        for key, content in chip.items():
            if isinstance(content, tuple):
                label, watts = content
                n = key[-1]
                (folder / f"{key}_label").write_text(f"{label}\n")
                (folder / f"in{n}_input").write_text("5000\n")
                (folder / f"curr{n}_input").write_text(f"{watts * 200:.0f}\n")
            else:
                (folder / key).write_text(f"{content}\n")


def open_board(root: Path, monkeypatch: pytest.MonkeyPatch, chips: list[Chip]) -> Sensor:
    write(root, chips)
    monkeypatch.setenv("IPW_HWMON", str(root))
    return open_sensor()


@pytest.mark.parametrize(("chips", "summed", "watts"), BOARDS.values(), ids=BOARDS)
def test_a_board_is_the_outermost_of_its_rails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chips: list[Chip], summed: set[str], watts: float
) -> None:
    with opened(open_board(tmp_path / "hwmon", monkeypatch, chips)) as sensor:
        basis = choose_basis(sensor.channels)
        assert basis.name == "soc"
        assert basis.channels == {f"hwmon/{name}" for name in summed}
        assert sum(value(sensor, name) for name in basis.channels) == pytest.approx(watts)


def test_each_rail_says_what_contains_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chips = [*BOARDS["AGX Orin 64 GB"][0], {"name": "ina238", "label": "VIN", "power1_input": 30_000_000}]
    with opened(open_board(tmp_path / "hwmon", monkeypatch, chips)) as sensor:
        within = {channel.name: channel.included_in for channel in sensor.channels}
    assert within["hwmon/vdd-gpu-soc"] == within["hwmon/vin-sys-5v0"] == "hwmon/vin"
    assert within["hwmon/vddq-vdd2-1v8ao"] == "hwmon/vin-sys-5v0"
    assert within["hwmon/vin"] is None


def test_two_rails_of_one_name_stay_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chips: list[Chip] = [{"name": "ina3221", "in1": ("CPU", 4.0)}, {"name": "ina3221", "in1": ("CPU", 3.0)}]
    with opened(open_board(tmp_path / "hwmon", monkeypatch, chips)) as sensor:
        assert choose_basis(sensor.channels).channels == {"hwmon/cpu", "hwmon/cpu-2"}
        assert value(sensor, "hwmon/cpu-2") == pytest.approx(3.0)


def test_a_board_whose_rails_nobody_knows_is_not_summed_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips: list[Chip] = [{"name": "ina3221", "in1": ("ALPHA", 4.0), "in2": ("BETA", 3.0)}]
    with opened(open_board(tmp_path / "hwmon", monkeypatch, chips)) as sensor:
        basis = choose_basis(sensor.channels)
        assert basis.name is None
        assert "nobody knows which of this board's rails contains which (ALPHA, BETA)" in (basis.reason or "")
        assert named(sensor, "hwmon/alpha").kind == "gauge"


@pytest.mark.parametrize("driver", ["ina219", "ina226", "ina228", "ina231", "ina237", "ina238", "ina260", "sq52206"])
def test_every_chip_of_the_family_is_read_in_microwatts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    chips: list[Chip] = [{"name": driver, "label": "VIN", "power1_input": 45_000_000}]
    with opened(open_board(tmp_path / "hwmon", monkeypatch, chips)) as sensor:
        assert value(sensor, "hwmon/vin") == 45.0


def test_a_label_that_is_no_utf_8_costs_its_own_rail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "hwmon"
    write(root, [*BOARDS["Orin NX"][0], {"name": "ina3221", "in1": ("X", 4.0)}])
    (root / "hwmon1/in1_label").write_bytes(b"\xff\xfe\n")
    (root / "hwmon2").mkdir()
    (root / "hwmon2/name").write_bytes(b"\xffina3221\n")
    monkeypatch.setenv("IPW_HWMON", str(root))
    with opened(open_sensor()) as sensor:
        assert choose_basis(sensor.channels).channels == {"hwmon/vdd-in"}


def test_no_rail_can_draw_what_a_monitor_tells_at_full_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(open_board(tmp_path / "hwmon", monkeypatch, BOARDS["AGX Orin 64 GB"][0])) as sensor:
        for channel in sensor.channels:
            assert doubtful_power(np.array([60.0, 819.0]), max_power_w=channel.max_power_w).tolist() == [False, True]
