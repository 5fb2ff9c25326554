"""Recordings in the shapes of real machines, through the sensors that such machines have: see tests/recordings."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pytest
from doubles.powermetrics import install
from doubles.reading import named, opened, reading

from ipw.energy.curve import Curve, coverage, energy_between, power_curve
from ipw.profilers import replay
from ipw.profilers.base import Reading, Sensor, SensorError
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.linux.hwmon import open_sensor as open_hwmon
from ipw.profilers.linux.rapl import open_sensor as open_rapl
from ipw.profilers.power_logs import read_log
from ipw.runs.readings import STATUS_CODES, Status

RECORDINGS = Path(__file__).parents[1] / "recordings"


def test_every_recording_is_described_and_used() -> None:
    described = set(re.findall(r"^\| `([^`]+)` \|", (RECORDINGS / "README.md").read_text("utf-8"), re.MULTILINE))
    assert described == {path.name for path in RECORDINGS.iterdir()} - {"README.md"}
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert all(re.search(name.split(".")[0].removeprefix("ioreport-"), tests) for name in described)


@pytest.mark.parametrize(
    ("name", "model", "joules"),
    [
        ("powermetrics-m1", "MacBookPro17,1", {"soc": 10.540932, "cpu": 8.506787, "gpu": 2.022041, "ane": 0.012104}),
        ("powermetrics-m2-ultra", "Mac14,14", {"soc": 219.59897, "cpu": 2.65476, "gpu": 216.94421, "ane": 0.0}),
        ("powermetrics-m5-max", "Mac17,7", {"soc": 20.120806, "cpu": 6.958702, "gpu": 13.162104}),
    ],
)
def test_a_macs_joules_are_those_of_its_samples_behind_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, model: str, joules: dict[str, float]
) -> None:
    programs = install(tmp_path / "bin", recording=str(RECORDINGS / f"{name}.plist"), interval_s=0.02)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    (sensor,) = find("powermetrics")
    with opened(sensor):
        assert {channel.name for channel in sensor.channels} == {f"powermetrics/{rail}" for rail in joules}
        assert choose_basis(sensor.channels) == ("soc", frozenset({"powermetrics/soc"}), None)
        assert named(sensor, "powermetrics/soc").device == model
        for rail, truth in joules.items():
            told = [reading(sensor, f"powermetrics/{rail}").value for _ in range(4)]
            assert told[0] == 0.0
            assert told[-1] == pytest.approx(truth, abs=1e-5)


def test_twelve_packages_whose_zones_are_hexadecimal_are_all_read_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in (RECORDINGS / "powercap-twelve-packages.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            file, _, content = line.partition(" ")
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(f"{content}\n")
    monkeypatch.setenv("IPW_POWERCAP", str(tmp_path))
    with opened(open_rapl()) as sensor:
        basis = choose_basis(sensor.channels)
        assert basis.name == "package+dram"
        assert len(basis.channels) == 24
        joules = {name: reading(sensor, name).value for name in basis.channels}
    assert joules["rapl/package-5-die-1"] == pytest.approx(12.0)
    assert joules["rapl/dram-4-die-1"] == pytest.approx(5.0)
    assert sum(joules.values()) == pytest.approx(78 + 39)


class Played:
    """What a replay gave, channel by channel, on a clock of its own."""

    def __init__(self, file: str, monkeypatch: pytest.MonkeyPatch, seconds: float, every_s: float = 0.005) -> None:
        self.now_ns = 10**12
        monkeypatch.setattr(replay, "now_ns", lambda: self.now_ns)
        monkeypatch.setenv("IPW_REPLAY", str(RECORDINGS / file))
        (self.sensor,) = find("replay")
        self.readings: dict[str, list[Reading]] = {channel.name: [] for channel in self.sensor.channels}
        self.failures: list[tuple[str, int, Status]] = []
        start_ns = self.now_ns
        while self.now_ns < start_ns + seconds * 1e9:
            for index, channel in enumerate(self.sensor.channels):
                self._take(self.sensor, index, channel.name)
            self.now_ns += round(every_s * 1e9)

    def _take(self, sensor: Sensor, index: int, name: str) -> None:
        try:
            told = sensor.read(index)
        except SensorError as error:
            self.failures.append((name, self.now_ns, error.status))
        else:
            self.readings[name] += [told] if told else []

    def curve(self, name: str) -> Curve:
        rows = [(t, value, 0, half) for t, value, half in self.readings[name]]
        rows += [(t, math.nan, STATUS_CODES[status], 0) for other, t, status in self.failures if other == name]
        t, value, status, half = zip(*sorted(rows), strict=True)
        return power_curve(t, value, status, half)

    def joules(self, name: str) -> tuple[float, float]:
        """Joules from the first to the last reading, and how much of that time they cover."""
        t = [told.t_ns for told in self.readings[name]]
        curve = self.curve(name)
        return float(energy_between(curve, t[0], t[-1])[0][0]), coverage(curve, t[0], t[-1])[0]


def test_an_a100s_log_has_its_joules_though_cells_carry_units_and_some_are_holes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played = Played("nvidia-smi-a100.csv", monkeypatch, 2.0)
    (channel,) = played.sensor.channels
    assert (channel.name, channel.kind, channel.scope, channel.unit) == ("nvidia-smi/gpu0", "power", "gpu", "W")
    assert channel.device == "NVIDIA A100-SXM4-40GB"
    assert {status for *_, status in played.failures} >= {"lost", "unsupported"}
    joules, covered = played.joules("nvidia-smi/gpu0")
    assert joules == pytest.approx(62.4 * 0.6 + 251.3 * 0.8 + 68.9 * 0.589, rel=0.01)
    assert covered == 1.0


def test_two_gpus_stay_two_and_the_end_of_summer_time_is_no_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played("nvidia-smi-two-gpus.csv", monkeypatch, 2.2)
    watts = {"GPU-3a1c0000-0000-0000-0000-000000000001": 310.0, "GPU-77be0000-0000-0000-0000-000000000002": 95.5}
    assert set(played.readings) == {f"nvidia-smi/{uuid}" for uuid in watts}
    assert choose_basis(played.sensor.channels).name == "gpu"
    for uuid, power in watts.items():
        told = played.readings[f"nvidia-smi/{uuid}"]
        assert len(told) == 40
        assert 1.8 < (told[-1].t_ns - told[0].t_ns) / 1e9 < 2.0
        assert {each.value for each in told} == {power}


@pytest.mark.parametrize(
    ("file", "total", "watts"),
    [
        ("tegrastats-orin-nx.log", {"VDD_IN"}, (6.0, 15.0)),
        ("tegrastats-agx-orin-64gb.log", {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}, (8.0, 25.0)),
    ],
)
def test_a_jetsons_log_counts_no_rail_twice(
    monkeypatch: pytest.MonkeyPatch, file: str, total: set[str], watts: tuple[float, float]
) -> None:
    played = Played(file, monkeypatch, 3.0)
    basis = choose_basis(played.sensor.channels)
    assert basis.channels == {f"tegrastats/{rail}" for rail in total}
    joules = [played.joules(name) for name in basis.channels]
    assert sum(each for each, _ in joules) == pytest.approx(watts[0] * 1.0 + watts[1] * 1.9, rel=0.03)
    assert {covered for _, covered in joules} == {1.0}


@pytest.mark.parametrize(("file", "watts"), [("tegrastats-orin-nx.log", 15.0), ("tegrastats-agx-orin-64gb.log", 25.0)])
def test_the_same_rails_behind_their_chips_add_up_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, watts: float
) -> None:
    last = (RECORDINGS / file).read_text("utf-8").splitlines()[-1]
    rails = re.findall(r"([A-Z][A-Z0-9_]+) (\d+)mW/", last)
    for place, (label, milliwatts) in enumerate(rails):
        chip, n = tmp_path / f"hwmon{place // 3}", place % 3 + 1
        chip.mkdir(exist_ok=True)
        (chip / "name").write_text("ina3221\n")
        (chip / f"in{n}_label").write_text(f"{label}\n")
        (chip / f"in{n}_input").write_text("5000\n")
        (chip / f"curr{n}_input").write_text(f"{int(milliwatts) // 5}\n")
    monkeypatch.setenv("IPW_HWMON", str(tmp_path))
    with opened(open_hwmon()) as sensor:
        summed = choose_basis(sensor.channels).channels
        assert sum(reading(sensor, name).value for name in summed) == pytest.approx(watts)


def test_a_log_with_a_cell_of_a_megabyte_is_told() -> None:
    with pytest.raises(ValueError, match="it is not a CSV"):
        read_log("timestamp, index, power.draw [W]\n" + "x" * (1 << 20) + ", 0, 5 W\n")
