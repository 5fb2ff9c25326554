"""Trees of zones as machines have them: many sockets, links, odd names, one package shown twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from doubles.powercap import Powercap
from doubles.reading import named, opened, value

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis
from ipw.profilers.linux.rapl import open_sensor


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Powercap:
    made = Powercap(tmp_path / "powercap")
    monkeypatch.setenv("IPW_POWERCAP", str(made.root))
    return made


def summed(sensor: Sensor) -> set[str]:
    return set(choose_basis(sensor.channels).channels)


def test_twelve_sockets_are_twelve_though_the_kernel_counts_in_hexadecimal(tree: Powercap) -> None:
    for number in range(12):
        tree.zone(f"intel-rapl:{number:x}", f"package-{number}", energy_uj=number * 1_000_000)
        tree.zone(f"intel-rapl:{number:x}:0", "dram")
    with opened(open_sensor()) as sensor:
        assert summed(sensor) == {f"rapl/{part}-{number}" for part in ("package", "dram") for number in range(12)}
        assert [value(sensor, f"rapl/package-{number}") for number in range(12)] == list(range(12))
        names = [channel.name for channel in sensor.channels if channel.scope == "package"]
        assert names == [f"rapl/package-{number}" for number in range(12)]


def test_the_seventeenth_zone_and_the_eleventh_part_are_hexadecimal_too(tree: Powercap) -> None:
    tree.zone("intel-rapl:10", "package-16")
    tree.zone("intel-rapl:10:a", "dram")
    with opened(open_sensor()) as sensor:
        assert summed(sensor) == {"rapl/package-16", "rapl/dram-16"}


def test_links_that_lead_nowhere_are_no_zones_and_the_real_ones_beside_them_are(tree: Powercap, tmp_path: Path) -> None:
    real = Powercap(tmp_path / "devices/intel-rapl")
    real.zone("intel-rapl:0", "package-0", energy_uj=5_000_000)
    (tree.root / "intel-rapl").symlink_to(tmp_path / "devices/intel-rapl")
    (tree.root / "intel-rapl:0").symlink_to(tmp_path / "gone")
    (tree.root / "intel-rapl:1").symlink_to("intel-rapl:1")
    with opened(open_sensor()) as sensor:
        assert [(channel.name, channel.status) for channel in sensor.channels] == [("rapl/package-0", "ok")]
        assert value(sensor, "rapl/package-0") == 5.0


def test_a_class_tree_whose_links_all_lead_nowhere_says_so_and_what_to_mount(tree: Powercap, tmp_path: Path) -> None:
    for zone in ("intel-rapl", "intel-rapl:0", "intel-rapl:a"):
        (tree.root / zone).symlink_to(tmp_path / "gone" / zone)
    with opened(open_sensor()) as sensor:
        (channel,) = sensor.channels
        assert channel.status == "absent"
        assert "links that lead nowhere" in (channel.reason or "")
        assert "/sys/devices/virtual/powercap" in (channel.hint or "")


def test_other_links_that_lead_nowhere_and_files_are_no_zones(tree: Powercap, tmp_path: Path) -> None:
    (tree.root / "dtpm").symlink_to(tmp_path / "gone")
    (tree.root / "intel-rapl:0").write_text("a file")
    (tree.root / "enabled").write_text("1")
    (channel,) = open_sensor().channels
    assert (channel.reason or "").startswith(f"no RAPL zones in {tree.root}")


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"", b"package-0\0\0\n"])
def test_a_name_that_is_no_text_costs_its_own_zone(tree: Powercap, content: bytes) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:1", "package-1")
    (tree.root / "intel-rapl:1/name").write_bytes(content)
    with opened(open_sensor()) as sensor:
        assert "rapl/package-0" in summed(sensor)


def test_a_package_without_a_number_is_a_package(tree: Powercap) -> None:
    tree.zone("intel-rapl:0", "package")
    tree.zone("intel-rapl:0:0", "core")
    tree.zone("intel-rapl:0:1", "dram")
    with opened(open_sensor()) as sensor:
        assert summed(sensor) == {"rapl/package", "rapl/dram"}
        assert named(sensor, "rapl/core").included_in == "rapl/package"


def test_two_packages_of_one_name_stay_two_where_their_counters_differ(tree: Powercap) -> None:
    for number in (0, 1):
        tree.zone(f"intel-rapl:{number}", "package-0", energy_uj=(number + 1) * 7_000_000_000)
        tree.zone(f"intel-rapl:{number}:0", "core", energy_uj=(number + 1) * 3_000_000_000)
        tree.zone(f"intel-rapl:{number}:1", "dram", energy_uj=(number + 1) * 2_000_000_000)
    with opened(open_sensor()) as sensor:
        assert summed(sensor) == {"rapl/package-0", "rapl/package-0-2", "rapl/dram-0", "rapl/dram-0-2"}
        assert named(sensor, "rapl/core-0-2").included_in == "rapl/package-0-2"
        assert value(sensor, "rapl/package-0-2") == 14_000.0


def test_one_package_that_is_shown_twice_is_one_also_while_it_runs(tree: Powercap) -> None:
    first = tree.zone("intel-rapl:0", "package-0")
    (tree.root / "intel-rapl:1").symlink_to(first)
    with tree.drawing({"intel-rapl:0": 100.0}), opened(open_sensor()) as sensor:
        assert summed(sensor) == {"rapl/package-0"}


@pytest.mark.parametrize("unreadable", [0, 1])
def test_of_one_package_that_is_shown_twice_the_zone_that_can_be_read_is_read(tree: Powercap, unreadable: int) -> None:
    for number in (0, 1):
        tree.zone(f"intel-rapl:{number}", "package-0", energy_uj=5_000_000)
    (tree.root / f"intel-rapl:{unreadable}/energy_uj").write_text("")
    with opened(open_sensor()) as sensor:
        assert [(channel.name, channel.status) for channel in sensor.channels] == [("rapl/package-0", "ok")]
        assert value(sensor, "rapl/package-0") == 5.0


def test_a_package_read_through_memory_counts_once_whatever_its_counter_says(tree: Powercap) -> None:
    tree.zone("intel-rapl:0", "package-0", energy_uj=9_000_000)
    tree.zone("intel-rapl-mmio:0", "package-0", energy_uj=4_000_000)
    tree.zone("intel-rapl-mmio:0:0", "dram", energy_uj=1_000_000)
    with opened(open_sensor()) as sensor:
        assert summed(sensor) == {"rapl/package-0", "rapl/dram-0"}
        assert value(sensor, "rapl/package-0") == 9.0


def test_dies_of_two_packages_are_zones_of_their_own_past_the_ninth(tree: Powercap) -> None:
    for number in range(16):
        tree.zone(f"intel-rapl:{number:x}", f"package-{number // 8}-die-{number % 8}", energy_uj=number)
    with opened(open_sensor()) as sensor:
        assert len(summed(sensor)) == 16
        assert "rapl/package-1-die-7" in summed(sensor)


def test_who_may_not_read_is_told_which_capability_suffices(tree: Powercap, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.zone("intel-rapl:0", "package-0")
    import os

    opening = os.open

    def closed(path: str | Path, *arguments: int) -> int:
        if str(path).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied")
        return opening(path, *arguments)

    monkeypatch.setattr(os, "open", closed)
    hint = named(open_sensor(), "rapl/package-0").hint or ""
    assert "--cap-add DAC_READ_SEARCH" in hint
    assert "udev" in hint
