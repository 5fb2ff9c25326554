from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from doubles.reading import named
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import UsageError
from ipw.profilers.base import Channel, Scope
from ipw.profilers.discovery import SENSORS, SUMMED, choose_basis, find

Machine = Callable[[str], None]


def counter(name: str, scope: Scope, included_in: str | None = None) -> Channel:
    return Channel(name=name, kind="counter", scope=scope, method="counter", included_in=included_in)


GPU, POWER = counter("nvml/gpu0", "gpu"), counter("nvml/gpu0/power", "gpu", "nvml/gpu0")
PACKAGE, CORE = counter("rapl/package-0", "package", "rapl/psys"), counter("rapl/core-0", "core", "rapl/package-0")
DRAM, PSYS = counter("rapl/dram-0", "dram", "rapl/psys"), counter("rapl/psys", "system")
WALL = replace(counter("meter/power", "wall"), kind="power", method="external_meter")
ESTIMATE = replace(counter("estimate/cpu", "package"), method="model_estimate")


def test_an_unknown_sensor_is_a_usage_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown sensor: rappl") as told:
        find("nvml,rappl")
    assert told.value.hint
    assert all(name in told.value.hint for name in SENSORS)


@pytest.mark.parametrize("selection", ["", " , "])
def test_naming_no_sensor_is_a_usage_error(selection: str) -> None:
    with pytest.raises(UsageError):
        find(selection)


def test_a_named_sensor_that_is_missing_comes_with_its_reason() -> None:
    (sensor,) = find("rapl")
    assert sensor.channels[0].reason


def test_a_sensor_named_twice_is_opened_once() -> None:
    assert len(find("estimate,estimate")) == 1


def test_auto_estimates_only_where_nothing_is_measured(machine: Machine) -> None:
    bare = [channel.name for sensor in find("auto") for channel in sensor.channels]
    assert "estimate/cpu" in bare
    machine("rapl")
    sensors = find("auto")
    assert "estimate/cpu" not in {channel.name for sensor in sensors for channel in sensor.channels}
    for sensor in sensors:
        sensor.close()


def test_auto_tells_why_each_missing_sensor_is_missing() -> None:
    missing = {channel.name: channel.reason for sensor in find("auto") for channel in sensor.channels if channel.reason}
    assert {"nvml", "amd", "rapl", "perf", "hwmon", "battery", "meter"} <= {name.partition("/")[0] for name in missing}


def test_auto_leaves_a_second_way_alone_where_the_first_is_open(machine: Machine) -> None:
    machine("rapl")
    machine("perf")
    sensors = find("auto")
    assert {channel.name.partition("/")[0] for sensor in sensors for channel in sensor.channels} >= {"rapl"}
    assert not [channel for sensor in sensors for channel in sensor.channels if channel.name.startswith("perf")]
    for sensor in sensors:
        sensor.close()


def test_auto_never_plays_a_recording_unasked(machine: Machine) -> None:
    machine("replay")
    assert not [c for sensor in find("auto") for c in sensor.channels if "replayed" in (c.note or "")]


def test_a_sensor_that_raises_instead_of_telling_is_told_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SENSORS, "broken", "ipw.profilers.no_such_module:open_sensor")
    (sensor,) = find("broken")
    told = named(sensor, "broken")
    assert told.status == "unsupported"
    assert told.reason
    assert "ModuleNotFoundError" in told.reason


@pytest.mark.parametrize(
    ("channels", "name", "summed"),
    [
        ([GPU, POWER], "gpu", {"nvml/gpu0"}),
        ([GPU, POWER, PACKAGE, CORE, DRAM, PSYS], "gpu+package+dram", {"nvml/gpu0", "rapl/package-0", "rapl/dram-0"}),
        ([PACKAGE, PSYS, WALL], "package", {"rapl/package-0"}),
        ([PSYS, CORE], "system", {"rapl/psys"}),
        ([PSYS, counter("battery/BAT0", "system")], "system", {"rapl/psys"}),
        ([WALL], "wall", {"meter/power"}),
        ([WALL, ESTIMATE], "wall", {"meter/power"}),
        ([ESTIMATE], "estimate", {"estimate/cpu"}),
        ([ESTIMATE, PACKAGE], "package", {"rapl/package-0"}),
        ([PACKAGE, counter("perf/package-0", "package"), DRAM], "package+dram", {"rapl/package-0", "rapl/dram-0"}),
        ([GPU, counter("amd/gpu0", "gpu")], "gpu", {"nvml/gpu0", "amd/gpu0"}),
        ([counter("a/soc", "soc"), counter("a/gpu", "gpu", "a/soc")], "soc", {"a/soc"}),
        ([counter("nvml/gpu0/module", "module")], "module", {"nvml/gpu0/module"}),
        (
            [GPU, counter("hwmon/module", "module"), counter("hwmon/grace", "package", "hwmon/module")],
            "gpu+package",
            {"nvml/gpu0", "hwmon/grace"},
        ),
    ],
)  # fmt: skip
def test_the_basis_is_the_outermost_of_what_is_measured(channels: list[Channel], name: str, summed: set[str]) -> None:
    assert choose_basis(channels) == (name, frozenset(summed), None)


def test_gauges_and_unreadable_channels_are_no_basis_and_the_reasons_are_told() -> None:
    closed = replace(PACKAGE, status="permission", reason="root only")
    basis = choose_basis([closed, replace(GPU, kind="gauge"), CORE])
    assert basis == (None, frozenset(), "rapl/package-0: root only")


def test_no_channels_at_all_are_no_basis_with_a_reason() -> None:
    assert choose_basis([]).reason == "no sensor measures energy or power"


CHANNELS = st.lists(
    st.builds(
        counter,
        st.sampled_from(["a/1", "a/2", "b/1", "b/2", "c/1"]),
        st.sampled_from([*SUMMED, "core", "memory", "system", "wall"]),
        st.none() | st.sampled_from(["a/1", "b/1"]),
    ),
    unique_by=lambda channel: channel.name,
)


@given(CHANNELS)
def test_no_total_counts_a_channel_and_what_contains_it(channels: list[Channel]) -> None:
    basis = choose_basis(channels)
    chosen = [channel for channel in channels if channel.name in basis.channels]
    assert not [channel for channel in chosen if channel.included_in in basis.channels]
    assert not {channel.scope for channel in chosen} & {"core", "uncore", "memory"}
    assert not {"gpu", "module"} <= {channel.scope for channel in chosen}
