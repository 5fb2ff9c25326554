"""Names of sensors and of machines, what a channel is called, and the sensors that are made of single sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ipw.errors import UsageError
from ipw.profilers import base, discovery
from ipw.profilers.base import Channel, Reading, SensorError, absent, timed
from ipw.profilers.discovery import ENTRY_POINTS, choose_basis, close, find, machine_of, uuid_of
from ipw.profilers.selection import is_elsewhere, names_of, prefixes
from ipw.profilers.sources import Sources, missing, missing_there, probed

COUNTER = Channel(name="a/b", kind="counter", scope="gpu", method="counter")


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ("nvml,rapl", ["nvml", "rapl"]),
        (" nvml , rapl,,nvml ", ["nvml", "rapl"]),
        ("", []),
        (",", []),
        ("a{b,c},d", ["a{b,c}", "d"]),
        ('q={x="1,2",y="}"},d', ['q={x="1,2",y="}"}', "d"]),
        ("f(a,b),d[1,2],e", ["f(a,b)", "d[1,2]", "e"]),
        ("f(a,{b,c),d},e),g", ["f(a,{b,c),d},e)", "g"]),
        ("'a,(',b", ["'a,('", "b"]),
        ('"a,\'",b', ['"a,\'"', "b"]),
        ("a),b", ["a)", "b"]),
        ("a(b,c", ["a(b,c"]),
    ],
)
def test_a_comma_parts_names_unless_it_stands_in_brackets_or_quotes(selection: str, names: list[str]) -> None:
    assert names_of(selection) == names


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["nvml", "http://A:1"], {"http://A:1": ("a", "a")}),
        (["HTTPS://[::1]:1/"], {"HTTPS://[::1]:1/": ("[::1]", "[::1]")}),
        (["dcgm:http://a:1", "Prometheus:http://a:2"],
         {"dcgm:http://a:1": ("a", "a/dcgm"), "Prometheus:http://a:2": ("a", "a/prometheus")}),
        (["http://a:1", "http://a:1/x", "http://a:1/y", "http://a:1/z"],
         {"http://a:1": ("a", "a"), "http://a:1/x": ("a:1", "a:1"), "http://a:1/y": ("a:1-2", "a:1-2"),
          "http://a:1/z": ("a:1-3", "a:1-3")}),
        (["dcgm:http://a:1", "dcgm:http://a:2"],
         {"dcgm:http://a:1": ("a", "a/dcgm"), "dcgm:http://a:2": ("a:2", "a:2/dcgm")}),
        (["http://[bad"], {"http://[bad": ("http://[bad", "http://[bad")}),
    ],
)  # fmt: skip
def test_machines_are_named_by_host_and_where_that_does_not_suffice_by_port(
    names: list[str], found: dict[str, tuple[str, str]]
) -> None:
    assert prefixes(names) == found
    assert [is_elsewhere(name) for name in names] == [name in found for name in names]


# --- channels ---------------------------------------------------------------------------------------------------------


def test_a_channel_that_says_nothing_of_itself_is_read_ten_times_a_second_and_known_to_five_percent() -> None:
    told = COUNTER.as_dict()
    assert told["max_power_w"] > 0
    assert {name: value for name, value in told.items() if value and name != "max_power_w"} == {
        "name": "a/b", "kind": "counter", "scope": "gpu", "method": "counter", "unit": "J", "poll_s": 0.1,
        "gain_rel": 0.05, "status": "ok", "here": True,
    }  # fmt: skip
    assert told["ticks"] is told["asked"] is False
    assert told["age_periods"] == 0.0
    assert replace(COUNTER, kind="gauge", max_power_w=None).max_power_w is None


@pytest.mark.parametrize(
    ("told_s", "kept_s"), [(None, None), (0.0, None), (-1.0, None), (1e-3, 1e-3), (3600.0, 3600.0), (3600.1, None)]
)
def test_a_period_of_an_hour_at_most_is_believed(told_s: float | None, kept_s: float | None) -> None:
    assert replace(COUNTER, update_period_s=told_s).update_period_s == kept_s


@pytest.mark.parametrize(
    ("name", "host", "sensor", "part"),
    [
        ("nvml/gpu0/power", None, "nvml", "nvml/gpu0"),
        ("nvml", None, "nvml", "nvml"),
        ("h/nvml/gpu0/power", "h", "h/nvml", "h/nvml/gpu0"),
        ("h", "h", "h", "h"),
    ],
)
def test_a_name_holds_machine_sensor_and_device(name: str, host: str | None, sensor: str, part: str) -> None:
    channel = replace(COUNTER, name=name, host=host)
    assert (channel.sensor, channel.part) == (sensor, part)


def test_a_reading_is_of_the_middle_of_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1000, 1301])
    monkeypatch.setattr(base, "now_ns", lambda: next(moments))
    assert timed(lambda: 5.0) == Reading(1150, 5.0, 150)


def test_what_is_absent_is_a_counter_that_says_why() -> None:
    channel = absent("a", "wall", "permission", "r", "h")
    assert (channel.name, channel.kind, channel.scope, channel.status, channel.reason, channel.hint) == (
        "a", "counter", "wall", "permission", "r", "h"
    )  # fmt: skip


# --- sources ----------------------------------------------------------------------------------------------------------


def failing(error: Exception) -> Callable[[], Reading | None]:
    def read() -> Reading | None:
        raise error

    return read


def test_a_source_that_fails_as_it_is_tried_says_why_in_its_channel() -> None:
    good = probed(COUNTER, lambda: Reading(1, 2.0, 3))
    shut = probed(COUNTER, failing(SensorError("permission", "root only")), "chmod")
    odd = probed(COUNTER, failing(ZeroDivisionError("by zero")), "mend it")
    sensor = Sources([good, shut, odd])
    assert good[0] == COUNTER
    assert sensor.read(0) == Reading(1, 2.0, 3)
    assert [(c.status, c.reason, c.hint) for c in sensor.channels[1:]] == [
        ("permission", "root only", "chmod"), ("lost", "ZeroDivisionError: by zero", "mend it")
    ]  # fmt: skip
    for index, reason in ((1, "root only"), (2, "ZeroDivisionError: by zero")):
        with pytest.raises(SensorError, match=reason) as told:
            sensor.read(index)
        assert told.value.status == sensor.channels[index].status


def test_a_sensor_is_closed_once_and_read_no_more_whatever_its_device_says() -> None:
    closed: list[int] = []

    def shut() -> None:
        closed.append(1)
        raise OSError("gone")

    sensor = Sources([(COUNTER, lambda: None)], shut)
    assert sensor.read(0) is None
    sensor.close()
    sensor.close()
    assert closed == [1]
    with pytest.raises(SensorError, match="the sensor is closed") as told:
        sensor.read(0)
    assert told.value.status == "lost"
    Sources([]).close()


def test_what_is_missing_there_is_of_that_machine() -> None:
    (here,) = missing("a", "gpu", "absent", "r", "h").channels
    (there,) = missing_there("h", "h/a", "gpu", "lost", "r", "x").channels
    assert (here.name, here.host, here.here, here.status, here.hint) == ("a", None, True, "absent", "h")
    assert (there.name, there.host, there.here, there.status, there.hint) == ("h/a", "h", False, "lost", "x")
    with pytest.raises(SensorError, match="r"):
        missing("a", "gpu", "absent", "r").read(0)


# --- what adds up -----------------------------------------------------------------------------------------------------


def far(name: str, scope: Any, host: str, **changes: Any) -> Channel:
    return replace(COUNTER, name=f"{host}/{name}", scope=scope, host=host, here=False, **changes)


A100 = "NVIDIA A100 GPU-00000000-aaaa"


@pytest.mark.parametrize(
    ("channels", "name", "summed"),
    [
        ([COUNTER, far("x/p", "package", "h")], "gpu, h: package", {"a/b", "h/x/p"}),
        ([far("x/p", "package", "h"), far("x/p", "dram", "g"), far("x/q", "package", "g")],
         "g: package+dram, h: package", {"h/x/p", "g/x/p", "g/x/q"}),
        ([far("x/p", "package", "h"), far("y/p", "package", "h")], "package", {"h/x/p"}),
        ([replace(COUNTER, name="x/p", scope="package"), far("x/p", "package", "h")], "package, h: package",
         {"x/p", "h/x/p"}),
        ([far("x/p", "package", "h", kind="power"), far("y/p", "package", "h")], "package", {"h/y/p"}),
        ([replace(COUNTER, device=A100), replace(COUNTER, name="x/1", device=f"{A100} again")], "gpu", {"a/b"}),
        ([replace(COUNTER, device=A100), far("x/1", "gpu", "h", device=A100)], "gpu", {"a/b"}),
        ([replace(COUNTER, device=A100, scope="core"), far("x/1", "gpu", "h", device=A100)], "gpu", {"h/x/1"}),
        ([replace(COUNTER, scope="wall"), far("x/1", "wall", "h")], "wall, h: wall", {"a/b", "h/x/1"}),
        ([replace(COUNTER, scope="wall"), replace(COUNTER, name="y/1", scope="system")], "system", {"y/1"}),
    ],
)  # fmt: skip
def test_machines_add_up_and_the_basis_names_each(channels: list[Channel], name: str, summed: set[str]) -> None:
    assert choose_basis(channels) == (name, frozenset(summed), None)


def test_a_machine_and_a_gpu_are_known_by_what_they_are() -> None:
    assert machine_of(COUNTER) is machine_of(replace(COUNTER, host="h")) is None
    assert machine_of(far("x", "gpu", "h")) == "h"
    assert uuid_of(replace(COUNTER, device=A100)) == "GPU-00000000-aaaa"
    assert uuid_of(replace(COUNTER, device="GPU-1")) == uuid_of(COUNTER) == "a/b"
    assert uuid_of(replace(COUNTER, device=A100, scope="memory")) == "a/b"


# --- found ------------------------------------------------------------------------------------------------------------


def test_a_name_may_be_an_address_and_an_unknown_one_is_told_with_all_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"unknown sensor: a, c$") as told:
        find("a,http://h:1,nvml,c")
    hint = str(told.value.hint)
    assert hint.startswith("known sensors: auto, nvml, ")
    assert hint.endswith("http://HOST:PORT, dcgm:URL, prometheus:URL?query=…")
    with pytest.raises(UsageError, match="no sensor is named"):
        find(" ,")


def test_an_address_whose_reader_breaks_is_told_as_missing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(discovery.OVER_THE_NETWORK, "dcgm:", "ipw.profilers.no_such_module:open_sensor")
    sensors = find("estimate,dcgm:http://h:1")
    close(sensors)
    (channel,) = sensors[1].channels
    assert (channel.name, channel.host, channel.here, channel.status) == ("h/dcgm", "h", False, "lost")
    assert (channel.reason or "").startswith("ModuleNotFoundError: ")
    assert channel.note == discovery.BROKEN


def test_auto_may_be_named_beside_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(discovery.OVER_THE_NETWORK, "dcgm:", "ipw.profilers.no_such_module:open_sensor")
    sensors = find("dcgm:http://h:1,auto")
    close(sensors)
    names = [channel.name for sensor in sensors for channel in sensor.channels]
    assert names[-1] == "h/dcgm"
    assert "estimate/cpu" in names


def test_a_sensor_of_another_package_does_not_take_the_name_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    points = [metadata.EntryPoint(name, "made.up:open", ENTRY_POINTS) for name in ("nvml", "lab")]
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: points if group == ENTRY_POINTS else [])
    known = discovery.known()
    assert list(known) == [*discovery.SENSORS, "lab"]
    assert known["nvml"] is not points[0].load
    (sensor,) = find("lab")
    (channel,) = sensor.channels
    assert (channel.name, channel.scope, channel.status, channel.note) == (
        "lab", "system", "unsupported", discovery.BROKEN
    )  # fmt: skip
    assert channel.hint == "ipw doctor --sensors lab"


def test_closing_goes_on_behind_a_sensor_that_fails_at_it() -> None:
    closed: list[str] = []

    class Odd:
        channels: Sequence[Channel] = ()

        def read(self, index: int) -> Reading | None:
            raise NotImplementedError

        def close(self) -> None:
            raise OSError("gone")

    close([Odd(), Sources([], lambda: closed.append("second"))])
    assert closed == ["second"]
