"""Sensors of another machine: what becomes of its channels, its readings, its failures, and of broken connections."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import Any

import pytest
from doubles.far import wire
from hypothesis import given
from hypothesis import strategies as st

from ipw.clock import boot_id, now_ns
from ipw.errors import UsageError
from ipw.profilers.base import FIELDS, Channel, Sensor, SensorError
from ipw.profilers.discovery import choose_basis, close, find
from ipw.profilers.losses import losses
from ipw.profilers.remote.ring import Ring
from ipw.profilers.remote.sensor import RemoteSensor, told_channels
from ipw.profilers.sampler.process import SamplerLoop
from ipw.profilers.sampler.relay import Told
from ipw.runs.readings import RECORD

TOKEN = "0123456789abcdef-for-a-test"


@contextmanager
def opened(url: str, *more: str) -> Iterator[Sensor]:
    found = find(",".join([url, *more]))
    try:
        yield found[-1]
    finally:
        close(found)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def told(sensor: Sensor, index: int, count: int) -> list[Told]:
    assert isinstance(sensor, RemoteSensor)
    found: list[Told] = []

    def enough() -> bool:
        found.extend(sensor.told(index))
        return len(found) >= count

    until(enough)
    return found


def test_its_channels_are_named_after_it_and_say_what_they_are_there(machine: Any) -> None:
    with machine.up() as url, opened(url) as sensor:
        clock, counter, power, closed = sensor.channels
    assert [c.name for c in sensor.channels] == [
        "127.0.0.1/clock", "127.0.0.1/nvml/gpu0", "127.0.0.1/nvml/gpu0/power", "127.0.0.1/rapl"
    ]  # fmt: skip
    assert power.included_in == counter.name
    assert (counter.clock, counter.host, counter.here) == (clock.name, "127.0.0.1", False)
    assert (closed.status, closed.hint) == ("permission", "on 127.0.0.1: sudo chmod")
    assert (clock.kind, clock.unit) == ("gauge", "s")
    assert "gpubox" in clock.device
    assert (counter.sensor, power.part) == ("127.0.0.1/nvml", "127.0.0.1/nvml/gpu0")


def test_a_machine_that_is_this_one_is_known_by_its_boot(machine: Any) -> None:
    boot = boot_id()
    if boot is None:
        pytest.skip("this system has no name for its boot")
    machine.boot = sha256(f"ipw {boot}".encode()).hexdigest()
    with machine.up() as url, opened(url) as sensor:
        assert all(channel.here for channel in sensor.channels)


def test_its_readings_are_told_on_about_our_clock(machine: Any) -> None:
    machine.read(3)
    with machine.up() as url, opened(url) as sensor:
        before = time.monotonic_ns()
        machine.read(2)
        found = told(sensor, 1, 5)
        assert [each.value for each in found] == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert before - 10**8 < found[-1].t_ns < time.monotonic_ns() + 10**8
        assert found[-1].uncertainty_ns == 1000
        exchanges = told(sensor, 0, 8)
    assert all(abs(1e9 * each.value) <= each.uncertainty_ns + 1e6 for each in exchanges)


def test_what_failed_there_says_why(machine: Any) -> None:
    with machine.up() as url, opened(url) as sensor:
        machine.read()
        machine.failures.append({"channel": "nvml/gpu0", "status": "lost", "reason": "NVML: GPU is lost"})
        machine.ring.add(time.monotonic_ns(), math.nan, 0, 4, 0)
        machine.ring.flush()
        assert [each.code for each in told(sensor, 1, 2)] == [0, 4]
        assert isinstance(sensor, RemoteSensor)
        assert sensor.why(1) == "NVML: GPU is lost"


def test_a_connection_that_breaks_is_taken_up_again_and_nothing_is_lost(machine: Any) -> None:
    with machine.up() as url, wire(url) as (near, line), opened(near) as sensor:
        machine.read(10)
        found = told(sensor, 1, 10)
        line.cut()
        machine.read(10)
        until(sensor.gone)  # type: ignore[attr-defined]
        machine.read(10)
        line.mend()
        found += told(sensor, 1, 20)
    assert [each.value for each in found] == [float(each) for each in range(1, 31)]
    assert not any(each.code for each in found)


def test_what_was_no_longer_kept_meanwhile_is_a_gap(machine: Any) -> None:
    machine.ring.__init__(16)
    with machine.up() as url, wire(url) as (near, line), opened(near) as sensor:
        machine.read(10)
        found = told(sensor, 1, 10)
        line.cut()
        until(sensor.gone)  # type: ignore[attr-defined]
        machine.read(40)
        line.mend()
        found += told(sensor, 1, 17)
        assert isinstance(sensor, RemoteSensor)
        why = sensor.why(1)
    assert [each.value for each in found if not each.code] == [*map(float, range(1, 11)), *map(float, range(35, 51))]
    (lost,) = [each for each in found if each.code]
    assert lost.t_ns == found[9].t_ns + 1
    assert "did not keep" in why


def test_another_process_there_with_the_same_channels_goes_on_after_a_gap(machine: Any) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(machine.up())
        sensor = stack.enter_context(opened(url))
        machine.read(5)
        found = told(sensor, 1, 5)
        first.close()
        machine.ring.__init__(64)
        machine.channels = [{**c, "index": 1 - c["index"]} if "index" in c else c for c in machine.channels]
        stack.enter_context(machine.up(port=int(url.rpartition(":")[2]), instance="two"))
        machine.read(5, index=1)
        found += told(sensor, 1, 6)
    assert [each.value for each in found if not each.code] == [float(each) for each in range(1, 11)]
    assert sum(each.code > 0 for each in found) == 1


def test_another_process_there_with_other_channels_is_not_gone_on_with(machine: Any) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(machine.up())
        sensor = stack.enter_context(opened(url))
        machine.read(5)
        told(sensor, 1, 5)
        first.close()
        machine.channels = machine.channels[1:]
        stack.enter_context(machine.up(port=int(url.rpartition(":")[2]), instance="two"))
        until(lambda: "other channels" in (sensor.gone() or ""))  # type: ignore[attr-defined]


def test_the_token_is_in_the_environment_and_a_wrong_one_is_told(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with machine.up(token=TOKEN) as url:
        monkeypatch.setenv("IPW_SENSORS_TOKEN", "another-token-of-16")
        with opened(url) as sensor:
            (channel,) = sensor.channels
        assert (channel.name, channel.status) == ("127.0.0.1", "permission")
        assert "IPW_SENSORS_TOKEN" in (channel.reason or "")
        (loss,) = losses([channel], url)
        assert (loss.level, loss.channel) == ("error", "127.0.0.1")
        monkeypatch.setenv("IPW_SENSORS_TOKEN", TOKEN)
        with opened(url) as sensor:
            assert len(sensor.channels) == 4
            assert TOKEN not in repr([channel.as_dict() for channel in sensor.channels])


def test_where_nobody_listens_the_channel_says_so_and_what_to_run(machine: Any) -> None:
    with machine.up() as url:
        pass
    with opened(url) as sensor:
        (channel,) = sensor.channels
    assert channel.status == "lost"
    assert "refused" in (channel.reason or "").lower()
    assert "ipw sensors serve" in (channel.hint or "")


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"SSH-2.0-x\r\n", b"",
                                  b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                                  b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[" + b"[" * 8])  # fmt: skip
def test_what_is_something_else_is_told_as_that(said: bytes) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with opened(f"http://127.0.0.1:{listener.getsockname()[1]}") as sensor:
            (channel,) = sensor.channels
        thread.join()
    assert channel.status in {"lost", "unsupported"}
    assert channel.reason


NASTY: list[Any] = [
    "no list",
    [{"name": "x"}, 5],
    [{"name": "x", "kind": "magic", "scope": "gpu", "method": "counter"}],
    [{"name": "x", "kind": "power", "scope": "gpu", "method": "counter", "index": -1}],
    [{"name": "x", "kind": "power", "scope": "gpu", "method": "counter", "index": 1e9}],
    [{"name": "x" * 1000, "kind": "power", "scope": "gpu", "method": "counter", "index": 1}],
    [{"name": "x", "kind": "power", "scope": "gpu", "method": "counter", "index": 1, "poll_s": "soon"}],
    [{"name": "x", "kind": "power", "scope": "gpu", "method": "counter", "index": 1, "clock": "y/clock"}],
    [{"name": "x", "kind": "power", "scope": "gpu", "method": "counter", "index": each} for each in (1, 2)],
]


@pytest.mark.parametrize("channels", NASTY)
def test_channels_that_cannot_be_are_refused_in_one_line(machine: Any, channels: Any) -> None:
    machine.channels = channels
    with machine.up() as url, opened(url) as sensor:
        (channel,) = sensor.channels
    assert channel.status == "unsupported"
    assert "\n" not in (channel.reason or "")


@pytest.mark.parametrize(
    "name", ["http://", "http://:9321", "http://user:secret-word@host", "https://ho st", "http://[::1", "http://h:port"]
)
def test_an_address_that_is_none_is_wrong_usage_and_shows_no_secret(name: str) -> None:
    with pytest.raises(UsageError) as told_:
        find(name)
    assert "secret-word" not in f"{told_.value} {told_.value.hint}"


def test_machines_with_one_address_are_told_apart_by_their_ports(machine: Any) -> None:
    with machine.up() as one, machine.up() as two:
        sensors = find(f"{one},{two}")
        try:
            names = [sensor.channels[1].name for sensor in sensors]
        finally:
            close(sensors)
    assert names == ["127.0.0.1/nvml/gpu0", f"127.0.0.1:{two.rpartition(':')[2]}/nvml/gpu0"]


def test_its_joules_and_ours_join_in_one_basis_that_says_so(
    machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from doubles.powercap import Powercap

    tree = Powercap.server(tmp_path / "powercap")
    monkeypatch.setenv("IPW_POWERCAP", str(tree.root))
    with machine.up() as url, tree.drawing({"intel-rapl:0": 100.0, "intel-rapl:1": 90.0}):
        sensors = find(f"rapl,{url}")
        close(sensors)
    basis = choose_basis([channel for sensor in sensors for channel in sensor.channels])
    assert basis.name == "package, 127.0.0.1: gpu"
    assert "127.0.0.1/nvml/gpu0" in basis.channels
    assert "rapl/package-0" in basis.channels
    assert os.environ.get("IPW_SENSORS_TOKEN") is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda each: (
        st.lists(each, max_size=4) | st.dictionaries(st.sampled_from([*FIELDS, "index", "x"]), each, max_size=6)
    ),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_whatever_a_machine_says_of_its_channels_is_taken_or_refused(said: Any) -> None:
    try:
        entries = told_channels({"channels": said})
    except SensorError:
        return
    assert all(Channel(**{k: v for k, v in each.items() if k in FIELDS}).name for each in entries)


def test_records_that_cannot_be_are_left_out_and_a_value_that_is_none_is_a_failure(machine: Any) -> None:
    now = time.monotonic_ns()
    for t_ns, value, index, code in (
        (-5, 1.0, 0, 0),
        (2**62 + 1, 1.0, 0, 0),
        (now, 1.0, 999, 0),
        (now, math.inf, 0, 0),
        (now, 1.0, 0, 77),
    ):
        machine.ring.add(t_ns, value, index, code, 0)
    machine.ring.add(now, 50.0, 1, 0, 0)
    machine.read()
    with machine.up() as url:
        sensors, sink = find(url), Ring(64)
        try:
            loop = SamplerLoop(sensors, sink, now_ns())
            loop.settle(first=True)
            stats = loop.stats()
        finally:
            close(sensors)
    kept = [record for record in RECORD.iter_unpack(sink.since(0, 0)[1]) if record[2] == 1]
    assert [(value, status) for _, value, _, status, _ in kept if not status] == [(1.0, 0)]
    assert {failure["status"] for failure in stats["failures"]} == {"lost"}
