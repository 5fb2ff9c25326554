from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipw.errors import IpwError
from ipw.profilers.base import Channel
from ipw.profilers.probe.profile import (
    Profile,
    driver_of,
    find_profile,
    profiles_path,
    save,
    stored_profiles,
    with_profile,
)

COUNTER = Channel(
    name="nvml/gpu0", kind="counter", scope="gpu", method="counter", device="H200 GPU-1", driver="NVIDIA 580", note="a"
)


def profile_of(channel: Channel, **measured: Any) -> Profile:
    return Profile(
        channel=channel.name,
        device=channel.device,
        driver=driver_of(channel),
        kind=channel.kind,
        unit=channel.unit,
        measured="2026-01-02T03:04:05Z",
        **measured,
    )


def test_profiles_are_kept_where_the_user_keeps_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/configuration")
    assert profiles_path() == Path("/configuration/ipw/sensors.json")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert profiles_path() == Path("/home/someone/.config/ipw/sensors.json")


def test_what_was_saved_is_found_again(tmp_path: Path) -> None:
    kept = profile_of(COUNTER, update_period_s=0.1, reasons={"window_s": "no load"})
    path = save([kept], tmp_path / "new/sensors.json")
    assert stored_profiles(path) == [kept]
    assert find_profile(COUNTER, stored_profiles(path)) == kept


def test_a_new_profile_takes_the_place_of_the_old_one_and_leaves_the_others(tmp_path: Path) -> None:
    power = replace(COUNTER, name="nvml/gpu0/power", kind="power", unit="W")
    path = save([profile_of(COUNTER, update_period_s=0.1), profile_of(power, update_period_s=0.2)], tmp_path / "p.json")
    save([profile_of(COUNTER, update_period_s=0.02)], path)
    assert sorted(p.update_period_s or 0 for p in stored_profiles(path)) == [0.02, 0.2]


@pytest.mark.parametrize("change", [{"device": "H200 GPU-2"}, {"driver": "NVIDIA 590"}, {"name": "nvml/gpu0/power"}])
def test_a_profile_is_of_one_quantity_of_one_device_under_one_driver(change: dict[str, Any]) -> None:
    assert find_profile(replace(COUNTER, **change), [profile_of(COUNTER, update_period_s=0.1)]) is None


def test_a_gpu_that_is_counted_differently_after_a_boot_keeps_its_profile() -> None:
    kept = profile_of(COUNTER, update_period_s=0.1)
    assert find_profile(replace(COUNTER, name="nvml/gpu3"), [kept]) == kept


def test_what_was_measured_takes_the_place_of_what_is_assumed() -> None:
    channel = replace(COUNTER, update_period_s=1.0, resolution_j=1.0)
    filled = with_profile(channel, profile_of(channel, update_period_s=0.1, resolution=1e-3))
    assert (filled.update_period_s, filled.resolution_j, filled.note) == (0.1, 1e-3, "a")
    assert with_profile(channel, profile_of(channel)) == channel


def test_a_step_in_watts_is_no_resolution_in_joules() -> None:
    power = replace(COUNTER, kind="power", unit="W")
    assert with_profile(power, profile_of(power, resolution=1e-3)).resolution_j is None


def test_a_sensor_that_looks_away_is_noted_on_its_channel() -> None:
    filled = with_profile(COUNTER, profile_of(COUNTER, part_time=True, window_s=0.025))
    assert filled.note == "a; looks at 25 ms of each update period only: work that repeats as often can fool it"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"profiles": 3}',
        '{"profiles": [3, null, {}]}',
        json.dumps({"profiles": [profile_of(COUNTER, update_period_s=-1.0).as_dict()]}),
        json.dumps({"profiles": [profile_of(COUNTER).as_dict() | {"resolution": "a lot"}]}),
    ],
)
def test_a_damaged_file_holds_no_profiles(content: str, tmp_path: Path) -> None:
    path = tmp_path / "sensors.json"
    path.write_text(content)
    assert stored_profiles(path) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IpwError, match="cannot write"):
        save([profile_of(COUNTER)], tmp_path / "file/sensors.json")
