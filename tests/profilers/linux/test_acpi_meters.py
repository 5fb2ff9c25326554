"""ACPI meters: a Grace socket's module contains its CPU, which contains its parts; two meters of one name stay two."""

from __future__ import annotations

from pathlib import Path

import pytest
from doubles.reading import named, opened, value

from ipw.profilers.base import Sensor, absent
from ipw.profilers.discovery import choose_basis
from ipw.profilers.linux.hwmon import open_sensor
from ipw.profilers.losses import losses

GRACE = {"Module": 300, "Grace": 120, "CPU": 80, "SysIO": 30}


def open_meters(root: Path, monkeypatch: pytest.MonkeyPatch, meters: list[tuple[str | None, object]]) -> Sensor:
    for number, (label, watts) in enumerate(meters):
        device = root / f"hwmon{number}/device"
        device.mkdir(parents=True, exist_ok=True)
        (device.parent / "name").write_text("power_meter\n")
        (device / "power1_average").write_text(f"{watts * 1_000_000 if isinstance(watts, int) else watts}\n")
        if label is not None:
            (device / "power1_oem_info").write_text(f"{label}\n")
    monkeypatch.setenv("IPW_HWMON", str(root))
    return open_sensor()


def socket(number: int) -> list[tuple[str | None, object]]:
    return [(f"{kind} Power Socket {number}", watts) for kind, watts in GRACE.items()]


@pytest.mark.parametrize(
    ("milliseconds", "period_s"), [("1", 0.001), ("50", 0.05), ("0", None), ("-5", None), ("", None)]
)
def test_a_meter_is_renewed_as_often_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, milliseconds: str, period_s: float | None
) -> None:
    device = tmp_path / "hwmon0/device"
    device.mkdir(parents=True)
    (device / "power1_average_interval").write_text(f"{milliseconds}\n")
    with opened(open_meters(tmp_path, monkeypatch, [("Module Power Socket 0", 300)])) as sensor:
        assert named(sensor, "hwmon/module-power-socket-0").update_period_s == period_s


def test_two_sockets_are_their_two_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(open_meters(tmp_path, monkeypatch, [*socket(0), *socket(1)])) as sensor:
        within = {channel.name: channel.included_in for channel in sensor.channels}
        assert (
            within["hwmon/cpu-power-socket-1"] == within["hwmon/sysio-power-socket-1"] == "hwmon/grace-power-socket-1"
        )
        assert within["hwmon/grace-power-socket-1"] == "hwmon/module-power-socket-1"
        basis = choose_basis(sensor.channels)
        assert (basis.name, len(basis.channels)) == ("module", 2)
        assert sum(value(sensor, name) for name in basis.channels) == 600.0


@pytest.mark.parametrize(
    ("labels", "scopes"),
    [
        (["Total Power in uW socket 0", "CPU Rail Power in uW socket 0"], ["package", "core"]),
        (["Total Input Power in uW socket 0", "SoC Rail Input Power in uW socket 0"], ["package", "uncore"]),
        (["Grace Power Socket 0", "DRAM Power socket 0"], ["package", "dram"]),
        (["TOTAL POWER SOCKET 0", "CPU RAIL INPUT POWER SOCKET 0"], ["package", "core"]),
    ],
)
def test_other_firmware_calls_the_same_things_by_other_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: list[str], scopes: list[str]
) -> None:
    with opened(open_meters(tmp_path, monkeypatch, [(label, 50) for label in labels])) as sensor:
        assert [channel.scope for channel in sensor.channels] == scopes
        assert choose_basis(sensor.channels).channels == {sensor.channels[0].name}


@pytest.mark.parametrize(
    "label",
    [
        "Total CPU Energy In uJ socket 0",
        "Chipthrot DDR Throttle (samples x1000) socket 0",
        "CPU Rail Output Power socket 0",
    ],
)
def test_what_is_no_power_is_no_meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    with opened(open_meters(tmp_path, monkeypatch, [("Grace Power Socket 0", 100), (label, 5)])) as sensor:
        assert [channel.name for channel in sensor.channels] == ["hwmon/grace-power-socket-0"]


def test_beside_grace_an_unknown_meter_is_not_the_whole_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(open_meters(tmp_path, monkeypatch, [("Grace Power Socket 0", 100), ("NVSwitch A", 50)])) as sensor:
        assert named(sensor, "hwmon/nvswitch-a").kind == "gauge"
        assert choose_basis(sensor.channels).name == "package"


@pytest.mark.parametrize("label", [None, "", "PSU"])
def test_two_meters_of_one_name_stay_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str | None) -> None:
    with opened(open_meters(tmp_path, monkeypatch, [(label, 200), (label, 150)])) as sensor:
        basis = choose_basis(sensor.channels)
        assert (basis.name, len(basis.channels)) == ("system", 2)
        assert sorted(value(sensor, name) for name in basis.channels) == [150.0, 200.0]


def test_two_sockets_that_firmware_numbers_alike_stay_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(open_meters(tmp_path, monkeypatch, [*socket(0), *socket(0)])) as sensor:
        assert choose_basis(sensor.channels).channels == {
            "hwmon/module-power-socket-0",
            "hwmon/module-power-socket-0-2",
        }
        for end in ("", "-2"):
            assert named(sensor, f"hwmon/grace-power-socket-0{end}").included_in == f"hwmon/module-power-socket-0{end}"


def test_two_meters_of_which_only_one_has_a_whole_are_both_within_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(open_meters(tmp_path, monkeypatch, [*socket(0), ("Grace Power Socket 0", 90)])) as sensor:
        for end in ("", "-2"):
            assert named(sensor, f"hwmon/grace-power-socket-0{end}").included_in == "hwmon/module-power-socket-0"


def test_one_meter_that_is_odd_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(open_meters(tmp_path, monkeypatch, [*socket(0), ("Module Power Socket 1", "N/A")])) as sensor:
        assert choose_basis(sensor.channels).channels == {"hwmon/module-power-socket-0"}
        assert named(sensor, "hwmon/module-power-socket-1").status == "lost"
        assert [(loss.channel, loss.level) for loss in losses(sensor.channels)] == [
            ("hwmon/module-power-socket-1", "error")
        ]


def test_a_label_that_is_no_utf_8_is_a_name_like_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_meters(tmp_path, monkeypatch, [("x", 100), *socket(0)])
    (tmp_path / "hwmon0/device/power1_oem_info").write_bytes(b"\xff\xfe\0")
    (tmp_path / "hwmon9").mkdir()
    (tmp_path / "hwmon9/name").write_bytes(b"\xff\xfe")
    with opened(open_sensor()) as sensor:
        assert choose_basis(sensor.channels).channels == {"hwmon/module-power-socket-0"}
        assert absent("hwmon", "system", "absent", "") not in sensor.channels
