"""What amdsmi and the amdgpu driver answer, and what is made of it: generations of GPUs and of ROCm differ in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doubles.reading import failure, named, opened, value

from ipw.profilers.amd import open_sensor
from ipw.profilers.losses import losses

ERROR = RuntimeError("AMDSMI_STATUS_UNKNOWN_ERROR")


class Gpus:
    """An amdsmi over these GPUs: what each tells of itself; an exception is raised."""

    def __init__(self, *gpus: dict[str, Any]) -> None:
        plain = {"name": "AMD Instinct Test", "joules": 500.0, "power": {"socket_power": 300}}
        self.gpus = [plain | gpu for gpu in gpus]
        self.ended = 0

    def _told(self, handle: int, fact: str, default: Any = None) -> Any:
        answer = self.gpus[handle].get(fact, default)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        self.ended += 1

    def module(self) -> SimpleNamespace:
        count = {"counter_resolution": 15.3}
        return SimpleNamespace(
            amdsmi_init=lambda: None,
            amdsmi_shut_down=self.end,
            amdsmi_get_processor_handles=lambda: list(range(len(self.gpus))),
            amdsmi_get_gpu_asic_info=lambda h: {"market_name": self._told(h, "name"), "asic_serial": f"0x{h}F"},
            amdsmi_get_gpu_device_bdf=lambda h: f"0000:0{h}:00.0",
            amdsmi_get_energy_count=lambda h: count | {"energy_accumulator": self._told(h, "joules") / 15.3e-6},
            amdsmi_get_power_info=lambda h: self._told(h, "power"),
        )


Have = Callable[..., Gpus]


@pytest.fixture
def have(monkeypatch: pytest.MonkeyPatch) -> Have:
    def be(*gpus: dict[str, Any]) -> Gpus:
        made = Gpus(*gpus)
        monkeypatch.setitem(sys.modules, "amdsmi", made.module())
        return made

    return be


@pytest.mark.parametrize(
    ("power", "watts"),
    [
        ({"current_socket_power": 300, "socket_power": 200, "average_socket_power": 100}, 300.0),
        ({"current_socket_power": "N/A", "socket_power": 200, "average_socket_power": 100}, 200.0),
        ({"current_socket_power": 0, "average_socket_power": 100}, 100.0),
        ({"current_socket_power": 0xFFFF_FFFF, "average_socket_power": 0.5}, 0.5),
        ({"socket_power": 99_999}, 99_999.0),
        ({"socket_power": 100_000}, None),
        ({"socket_power": -5}, None),
        ({}, None),
    ],
)
def test_power_is_the_first_figure_that_can_be_one(have: Have, power: dict[str, Any], watts: float | None) -> None:
    have({"power": power})
    with opened(open_sensor()) as sensor:
        assert named(sensor, "amd/gpu0/power").status == ("ok" if watts else "unsupported")
        assert watts is None or value(sensor, "amd/gpu0/power") == watts


@pytest.mark.parametrize(
    ("power", "most_w"),
    [
        ({"power_limit": 750}, 1500.0),
        ({"power_limit": "N/A"}, 2300.0),
        ({"power_limit": 750_000_000}, 2300.0),
        (ERROR, 2300),
    ],
)
def test_a_gpu_can_draw_twice_the_limit_that_is_set_or_what_its_class_can(
    have: Have, power: object, most_w: float
) -> None:
    have({"power": power})
    with opened(open_sensor()) as sensor:
        assert named(sensor, "amd/gpu0").max_power_w == most_w


def test_the_counter_is_steps_times_their_size(have: Have) -> None:
    have({"joules": 1234.5})
    with opened(open_sensor()) as sensor:
        assert value(sensor, "amd/gpu0") == pytest.approx(1234.5)
        assert named(sensor, "amd/gpu0").device == "AMD Instinct Test 0000:00:00.0 GPU-0f"


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (
            RuntimeError("2: AMDSMI_STATUS_NOT_SUPPORTED - feature"),
            "unsupported",
            "2: AMDSMI_STATUS_NOT_SUPPORTED - feature",
        ),
        (RuntimeError("The call is not supported"), "unsupported", "The call is not supported"),
        (RuntimeError("AMDSMI_STATUS_BUSY"), "lost", "AMDSMI_STATUS_BUSY"),
        (KeyError(), "lost", "KeyError"),
    ],
)
def test_a_counter_that_fails_is_unsupported_or_lost_and_power_takes_its_place(
    have: Have, error: Exception, status: str, reason: str
) -> None:
    have({"joules": error})
    with opened(open_sensor()) as sensor:
        told = named(sensor, "amd/gpu0")
        assert (told.status, told.reason) == (status, f"amdsmi: {reason}")
        assert named(sensor, "amd/gpu0/power").included_in is None


MI250 = {"name": "AMD Instinct MI250X"}
FIRST, SECOND = MI250 | {"joules": 7.0}, MI250 | {"joules": 0.0}


@pytest.mark.parametrize(
    ("gpus", "visible", "seconds"),
    [
        ([FIRST, SECOND], "0,1", {1: 0}),
        ([FIRST, SECOND, FIRST, SECOND], "0,1,2,3", {1: 0, 3: 2}),
        ([FIRST, SECOND, FIRST, SECOND], "0,2,3", {3: 2}),
        ([FIRST, SECOND], "1", {}),
        ([FIRST, FIRST], "0,1", {}),
        ([{"joules": 7.0}, {"joules": 0.0}], "0,1", {}),
        ([FIRST, FIRST, SECOND], "0,1,2", {}),
        ([FIRST, MI250 | {"joules": ERROR}], "0,1", {}),
    ],
)
def test_an_mi250s_second_die_is_that_which_counts_nothing_behind_its_first(
    have: Have, monkeypatch: pytest.MonkeyPatch, gpus: list[dict[str, Any]], visible: str, seconds: dict[int, int]
) -> None:
    have(*gpus)
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", visible)
    with opened(open_sensor()) as sensor:
        gauges = {channel.name: channel.note for channel in sensor.channels if channel.kind == "gauge"}
        assert f"amd/gpu{visible[-1]}" in {channel.name for channel in sensor.channels}
    assert gauges == {
        f"amd/gpu{die}": f"the second die of amd/gpu{first}, whose counter holds both" for die, first in seconds.items()
    }


@pytest.mark.parametrize(
    ("rocr", "hip", "measured", "asked", "levels"),
    [
        (None, None, ["amd/gpu0", "amd/gpu1", "amd/gpu2"], False, []),
        ("1,2", None, ["amd/gpu1", "amd/gpu2"], True, []),
        (None, "2", ["amd/gpu2"], True, []),
        ("1,2", "1", ["amd/gpu2"], True, []),
        ("1,2", "7", [], True, ["error"]),
        ("1,7", "0", ["amd/gpu1"], True, ["warning"]),
        ("-1", None, [], True, []),
    ],
)
def test_what_rocm_hides_is_not_there_for_hip_and_names_are_what_was_asked_for(
    have: Have, monkeypatch: pytest.MonkeyPatch, rocr: str | None, hip: str | None, measured: list[str],
    asked: bool, levels: list[str],
) -> None:  # fmt: skip
    made = have({}, {}, {})
    for variable, told in (("ROCR_VISIBLE_DEVICES", rocr), ("HIP_VISIBLE_DEVICES", hip)):
        if told is not None:
            monkeypatch.setenv(variable, told)
    sensor = open_sensor()
    counters = [each for each in sensor.channels if each.status == "ok" and each.kind == "counter"]
    assert [each.name for each in counters] == measured
    assert {each.asked for each in counters} <= {asked}
    found = losses(sensor.channels)
    assert [each.level for each in found] == levels
    assert all(f"VISIBLE_DEVICES={hip if rocr == '1,2' else rocr}: " in each.reason for each in found)
    assert made.ended == (rocr == "-1")  # at once, where there is nothing to read
    sensor.close()
    assert made.ended == 1


def test_a_library_that_has_no_list_is_let_go_of_at_once(have: Have, monkeypatch: pytest.MonkeyPatch) -> None:
    made = have({})
    monkeypatch.delattr(sys.modules["amdsmi"], "amdsmi_get_processor_handles")
    (channel,) = open_sensor().channels
    assert (channel.status, made.ended) == ("lost", 1)


def card(folder: Path, **texts: object) -> Path:
    folder.mkdir(parents=True)
    for name, text in ({"name": "amdgpu"} | texts).items():
        (folder / name).write_text(f"{text}\n")
    return folder


def test_without_amdsmi_the_drivers_own_power_is_read_up_to_twice_its_highest_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    monkeypatch.setenv("IPW_HWMON", str(tmp_path))
    limits = {"power1_cap": 200_000_000, "power1_cap_max": 350_000_000}
    card(tmp_path / "hwmon1", power1_average=85_000_000, power1_input=90_000_000, **limits)
    card(tmp_path / "hwmon2", power1_input=45_000_000, in1_label="vddnb", power1_cap=60_000_000)
    card(tmp_path / "hwmon3", power1_input=45_000_000, in1_label="vddgfx")
    card(tmp_path / "hwmon4")
    card(tmp_path / "hwmon5", name="nvme", power1_input=1)
    with opened(open_sensor()) as sensor:
        told = {each.name: (each.scope, each.max_power_w, each.status) for each in sensor.channels}
        assert told == {
            "amd/hwmon1": ("gpu", 700.0, "ok"), "amd/hwmon2": ("package", 120.0, "ok"),
            "amd/hwmon3": ("gpu", 2300.0, "ok"), "amd/hwmon4": ("gpu", 2300.0, "lost"),
        }  # fmt: skip
        assert [value(sensor, f"amd/hwmon{number}") for number in (1, 2, 3)] == [85.0, 45.0, 45.0]
        assert failure(sensor, "amd/hwmon4").reason.startswith("power1_input: ")
        note = named(sensor, "amd/hwmon2").note or ""
        assert note.startswith("a processor with graphics: this is the power of its whole socket; HIP_VISIBLE_DEVICES")
