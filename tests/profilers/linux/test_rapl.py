from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from doubles.patience import undisturbed
from doubles.powercap import RANGE_UJ, Powercap
from doubles.reading import failure, named, opened, read, value

from ipw.energy.curve import Curve, counter_curve
from ipw.profilers.base import Channel, Reading, Sensor
from ipw.profilers.discovery import choose_basis
from ipw.profilers.linux.rapl import open_sensor


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Powercap:
    """Two packages with their parts, psys, and the MMIO duplicate of the first."""
    made = Powercap.server(tmp_path / "powercap")
    monkeypatch.setenv("IPW_POWERCAP", str(made.root))
    return made


def open_rapl() -> Sensor:
    """As it is before it is looked at: most counters here stand still."""
    return open_sensor()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Without root's right to read what may not be read."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_tree(monkeypatch: pytest.MonkeyPatch) -> Iterator[Powercap]:
    """One package and its memory, in a folder that anybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = Powercap(Path(folder) / "powercap")
        made.zone("intel-rapl:0", "package-0")
        made.zone("intel-rapl:0:0", "dram")
        monkeypatch.setenv("IPW_POWERCAP", str(made.root))
        yield made


def test_a_total_is_all_packages_and_all_memory_and_nothing_twice(tree: Powercap) -> None:
    with opened(open_rapl()) as sensor:
        assert sorted(channel.name for channel in sensor.channels) == [
            "rapl/core-0", "rapl/core-1", "rapl/dram-0", "rapl/dram-1", "rapl/package-0", "rapl/package-1",
            "rapl/psys", "rapl/uncore-0", "rapl/uncore-1",
        ]  # fmt: skip
        basis = choose_basis(sensor.channels)
    assert basis.name == "package+dram"
    assert basis.channels == {"rapl/package-0", "rapl/package-1", "rapl/dram-0", "rapl/dram-1"}


def test_what_contains_what_is_said(tree: Powercap) -> None:
    with opened(open_rapl()) as sensor:
        within = {channel.name: channel.included_in for channel in sensor.channels}
    assert within["rapl/core-1"] == within["rapl/uncore-1"] == "rapl/package-1"
    assert within["rapl/package-0"] == within["rapl/dram-0"] == "rapl/psys"
    assert within["rapl/psys"] is None


def test_values_are_joules_as_the_register_gives_them(tree: Powercap) -> None:
    tree.set("intel-rapl:1", 12_345_678)
    with opened(open_rapl()) as sensor:
        assert value(sensor, "rapl/package-1") == 12.345678
        tree.set("intel-rapl:1", RANGE_UJ + 1_000_000)
        assert value(sensor, "rapl/package-1") == 1.0
        assert named(sensor, "rapl/package-1").range_j == RANGE_UJ / 1e6


def test_the_dies_of_a_package_are_zones_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Powercap(tmp_path / "dies")
    for zone in range(4):
        tree.zone(f"intel-rapl:{zone}", f"package-{zone // 2}-die-{zone % 2}")
        tree.zone(f"intel-rapl:{zone}:0", "dram")
    monkeypatch.setenv("IPW_POWERCAP", str(tree.root))
    with opened(open_rapl()) as sensor:
        assert len(choose_basis(sensor.channels).channels) == 8
        assert "rapl/dram-1-die-0" in {channel.name for channel in sensor.channels}


def test_one_package_shown_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Powercap(tmp_path / "twice")
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:1", "package-0")
    monkeypatch.setenv("IPW_POWERCAP", str(tree.root))
    with opened(open_rapl()) as sensor:
        assert [channel.name for channel in sensor.channels] == ["rapl/package-0"]


def test_the_mmio_zone_is_used_where_it_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Powercap(tmp_path / "mmio")
    tree.zone("intel-rapl-mmio:0", "package-0", energy_uj=7_000_000)
    monkeypatch.setenv("IPW_POWERCAP", str(tree.root))
    with opened(open_rapl()) as sensor:
        assert value(sensor, "rapl/package-0") == 7.0


def test_a_nested_tree_as_containers_mount_it_is_walked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = Powercap(tmp_path / "mounted/intel-rapl")
    package = flat.zone("intel-rapl:0", "package-0")
    flat.zone("intel-rapl:0:0", "dram").rename(package / "intel-rapl:0:0")
    monkeypatch.setenv("IPW_POWERCAP", str(tmp_path / "mounted"))
    with opened(open_rapl()) as sensor:
        assert [channel.name for channel in sensor.channels] == ["rapl/package-0", "rapl/dram-0"]


def test_amds_tree_without_memory_is_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Powercap(tmp_path / "amd")
    tree.zone("intel-rapl:0", "package-0", limit_uw=None)
    tree.zone("intel-rapl:0:0", "core", limit_uw=None)
    monkeypatch.setenv("IPW_POWERCAP", str(tree.root))
    with opened(open_rapl()) as sensor:
        assert choose_basis(sensor.channels) == ("package", frozenset({"rapl/package-0"}), None)


def test_permission_denied_is_told_with_the_line_that_mends_it_for_good(public_tree: Powercap) -> None:
    (public_tree.root / "intel-rapl:0/energy_uj").chmod(0o400)
    with unprivileged(), opened(open_rapl()) as sensor:
        package = named(sensor, "rapl/package-0")
        assert package.status == "permission"
        assert package.reason == "energy_uj may be read by root only"
        assert package.hint
        assert "udev" in package.hint
        assert failure(sensor, "rapl/package-0").status == "permission"
        assert choose_basis(sensor.channels).name == "dram"


def test_a_counter_stays_readable_when_its_file_is_closed_to_us_in_the_middle(public_tree: Powercap) -> None:
    with unprivileged():
        sensor = open_rapl()
    (public_tree.root / "intel-rapl:0/energy_uj").chmod(0)
    with unprivileged(), opened(sensor):
        assert value(sensor, "rapl/package-0") == 0.0


def test_a_counter_that_stops_being_a_number_is_lost_and_the_others_go_on(tree: Powercap) -> None:
    with opened(open_rapl()) as sensor:
        (tree.root / "intel-rapl:0/energy_uj").write_text("")
        assert failure(sensor, "rapl/package-0").status == "lost"
        assert value(sensor, "rapl/package-1") == 0.0


@pytest.mark.parametrize(
    ("folder", "status", "reason"),
    [(False, "absent", "energy_uj: No such file or directory"), (True, "lost", "energy_uj: Is a directory")],
)
def test_a_counter_that_is_not_there_or_is_no_file_says_so(
    tree: Powercap, folder: bool, status: str, reason: str
) -> None:
    counter = tree.root / "intel-rapl:1/energy_uj"
    counter.unlink()
    if folder:
        counter.mkdir()
    with opened(open_rapl()) as sensor:
        assert [named(sensor, "rapl/package-1").status, named(sensor, "rapl/package-1").reason] == [status, reason]
        assert named(sensor, "rapl/package-0").status == "ok"


def curve_of(channel: Channel, readings: list[Reading]) -> Curve:
    columns = [np.array(column) for column in zip(*readings, strict=True)]
    return counter_curve(
        columns[0], columns[1], np.zeros(len(readings)), columns[2], ticks=channel.ticks, range_j=channel.range_j,
        max_power_w=channel.max_power_w, resolution_j=channel.resolution_j,
    )  # fmt: skip


@pytest.mark.parametrize(("text", "range_j"), [("1", 1e-6), ("0", None), ("-7", None), ("none", None)])
def test_a_range_is_any_number_of_microjoules_above_nothing(tree: Powercap, text: str, range_j: float | None) -> None:
    (tree.root / "intel-rapl:0/max_energy_range_uj").write_text(f"{text}\n")
    with opened(open_rapl()) as sensor:
        assert named(sensor, "rapl/package-0").range_j == range_j


def test_an_unreadable_range_leaves_the_wrap_as_a_gap_and_never_as_negative_energy(tree: Powercap) -> None:
    (tree.root / "intel-rapl:0/max_energy_range_uj").unlink()
    readings = []
    with opened(open_rapl()) as sensor:
        channel = named(sensor, "rapl/package-0")
        assert (channel.status, channel.range_j) == ("ok", None)
        assert channel.note
        for second, joules in enumerate((60_000, 10, 110)):
            tree.set("intel-rapl:0", joules * 1_000_000)
            readings.append(Reading(second * 10**9, value(sensor, "rapl/package-0"), 0))
    curve = curve_of(channel, readings)
    assert curve.gap_reasons == ("reset",)
    assert curve.energy_j[-1] == 100.0


def test_two_packages_at_400_watts_for_an_hour_are_exact_through_all_wraps(tree: Powercap) -> None:
    """65.5 kJ ranges wrap every 164 s: 21 times each. An hour of simulated time, read twice a second."""
    readings: dict[str, list[Reading]] = {"rapl/package-0": [], "rapl/package-1": []}
    with opened(open_rapl()) as sensor:
        channels = {name: named(sensor, name) for name in readings}
        for second in np.arange(0, 3600.5, 0.5):
            for package in (0, 1):
                tree.set(f"intel-rapl:{package}", 60_000_000_000 + int(400e6 * second))
                seen = read(sensor, f"rapl/package-{package}")
                assert seen is not None
                readings[f"rapl/package-{package}"].append(seen._replace(t_ns=int(second * 1e9), uncertainty_ns=10_000))
    curves = [curve_of(channels[name], readings[name]) for name in readings]
    assert [curve.gap_reasons for curve in curves] == [(), ()]
    assert sum(curve.energy_j[-1] for curve in curves) == pytest.approx(2 * 400 * 3600, rel=1e-6)


def test_a_machine_without_zones_says_so_and_which_module_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPW_POWERCAP", str(tmp_path))
    (channel,) = open_rapl().channels
    assert (channel.name, channel.status, channel.scope) == ("rapl", "absent", "package")
    assert (channel.reason or "").startswith(f"no RAPL zones in {tmp_path}")
    assert channel.hint == "sudo modprobe intel_rapl_msr"


def test_a_live_tree_gives_its_power(tree: Powercap) -> None:
    def told() -> None:
        with tree.drawing({"intel-rapl:0": 200.0}), opened(open_rapl()) as sensor:
            first = read(sensor, "rapl/package-0")
            time.sleep(0.2)
            last = read(sensor, "rapl/package-0")
        assert first is not None
        assert last is not None
        assert (last.value - first.value) / ((last.t_ns - first.t_ns) / 1e9) == pytest.approx(200.0, rel=0.2)

    undisturbed(told)


def test_impossible_power_is_bounded_by_the_zones_own_limit(tree: Powercap) -> None:
    with opened(open_rapl()) as sensor:
        assert named(sensor, "rapl/package-0").max_power_w == 800.0
