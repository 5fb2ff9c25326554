"""The look at opening: what does not move is passed over, and what moves is not waited for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from doubles.clock import Clock
from doubles.machines import NOTHING
from doubles.nvml import ENERGY, NOT_SUPPORTED, FakeNvml
from doubles.powercap import Powercap
from doubles.reading import failure, named, opened, value
from doubles.sandbox import run_in

from ipw import system
from ipw.clock import now_ns
from ipw.energy.belief.limits import NOTHING_W
from ipw.profilers import discovery, opening
from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.opening import STILL, ZERO, Look
from ipw.profilers.sources import Sources, missing

Machine = Callable[[str], None]
COUNTER = Channel(name="made/a", kind="counter", scope="package", method="counter", update_period_s=1e-3)
POWER = Channel(name="made/a/power", kind="power", scope="package", method="integrated_power", unit="W")


def made(*channels: tuple[Channel, Callable[[], float | None]]) -> Sources:
    def reader(ask: Callable[[], float | None]) -> Callable[[], Reading | None]:
        return lambda: None if (told := ask()) is None else Reading(now_ns(), told, 0)

    return Sources([(channel, reader(ask)) for channel, ask in channels])


def statuses(sensor: Sensor) -> dict[str, str]:
    return {channel.name: channel.reason or channel.status for channel in sensor.channels}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The look lives by a clock that the test moves."""
    return Clock().drives(opening, monkeypatch)


def since_now(watts: float) -> Callable[[], float]:
    start = time.monotonic()
    return lambda: watts * (time.monotonic() - start)


def test_a_counter_that_never_moves_is_failed_with_its_reason() -> None:
    sensor = Look(made((COUNTER, lambda: 5.0))).judged()
    channel = named(sensor, "made/a")
    assert (channel.status, channel.reason) == ("unsupported", STILL)
    assert channel.hint
    assert failure(sensor, "made/a").reason == STILL


def test_what_has_not_moved_for_long_is_asked_ever_more_seldom(clock: Clock) -> None:
    asked: list[float] = []

    def ask() -> float:
        asked.append(clock.t_s)
        return 5.0

    Look(made((replace(COUNTER, update_period_s=None, ticks=True), ask))).judged()
    assert 2 < len(asked) < opening.TICKING_S / opening.PAUSE_S / 3
    assert asked[-1] - asked[-2] > 2 * (asked[2] - asked[1])


def test_a_counter_that_moves_is_believed_at_once_and_left_as_it_is() -> None:
    asked: list[int] = []

    def ask() -> float:
        asked.append(1)
        return 20.0 * len(asked)

    sensor = made((COUNTER, ask))
    assert Look(sensor).judged() is sensor
    assert len(asked) <= 3  # in a virtual machine it must move again


@pytest.mark.parametrize(
    "channel",
    [COUNTER, replace(COUNTER, update_period_s=None, ticks=True), POWER],
    ids=["counter", "ticking counter", "power"],
)
@pytest.mark.parametrize("held_up", range(5))
def test_what_moved_while_the_process_was_held_up_is_looked_at_once_more(
    channel: Channel, held_up: int, clock: Clock
) -> None:
    began_s = clock.t_s
    clock.held_up_s = [0.0] * held_up + [60.0]
    look = Look(made((channel, lambda: 20.0 * (clock.t_s - began_s > 1.0))))
    assert statuses(look.judged()) == {channel.name: "ok"}


@pytest.mark.parametrize(
    "channel",
    [COUNTER, replace(COUNTER, update_period_s=None, ticks=True), POWER],
    ids=["counter", "ticking counter", "power"],
)
def test_one_that_moves_is_looked_at_however_long_the_other_sensors_took_to_open(
    channel: Channel, clock: Clock
) -> None:
    began_ns = clock.t_ns
    look = Look(made((channel, lambda: 0.0 if clock.t_ns < began_ns + 10**9 else 20.0)))
    clock.t_ns += 60 * 10**9
    assert statuses(look.judged()) == {channel.name: "ok"}


def test_one_that_is_renewed_late_is_waited_for(clock: Clock) -> None:
    began_s = clock.t_s
    channel = replace(COUNTER, update_period_s=None, ticks=True)
    sensor = Look(made((channel, lambda: float(clock.t_s - began_s > 0.1)))).judged()
    assert statuses(sensor) == {"made/a": "ok"}


@pytest.mark.parametrize(
    "changes",
    [
        {"update_period_s": 2.0},
        {"scope": "core"},
        {"scope": "uncore"},
        {"scope": "memory"},
        {"method": "model_estimate"},
        {"method": "external_meter", "scope": "wall"},
        {"kind": "gauge"},
    ],
    ids=str,
)
def test_what_may_stand_still_is_not_judged(changes: dict[str, Any]) -> None:
    asked = []

    def ask() -> float:
        asked.append(1)
        return 5.0

    assert statuses(Look(made((replace(COUNTER, **changes), ask))).judged()) == {"made/a": "ok"}
    assert not asked


def test_a_counter_of_another_package_is_judged_by_the_period_that_it_tells() -> None:
    unknown = replace(COUNTER, update_period_s=None)
    assert statuses(Look(made((unknown, lambda: 5.0)), prompt=False).judged()) == {"made/a": "ok"}
    assert statuses(Look(made((COUNTER, lambda: 5.0)), prompt=False).judged()) == {"made/a": STILL}
    assert statuses(Look(made((COUNTER, lambda: 5.0)), prompt=None).judged()) == {"made/a": "ok"}


def test_a_stream_without_news_and_a_read_that_fails_are_left_to_the_run() -> None:
    def fail() -> float:
        raise SensorError("lost", "just now")

    other = replace(COUNTER, name="made/b")
    assert statuses(Look(made((COUNTER, lambda: None), (other, fail))).judged()) == {"made/a": "ok", "made/b": "ok"}


def test_a_sensor_of_any_kind_that_raises_anything_is_left_to_the_run() -> None:
    class Odd:
        def __init__(self) -> None:
            self.channels: Sequence[Channel] = (COUNTER, replace(COUNTER, name="made/b"))
            self.closed = False

        def read(self, index: int) -> Reading:
            if index:
                raise ZeroDivisionError
            return Reading(now_ns(), 5.0, 0)

        def close(self) -> None:
            self.closed = True

    odd = Odd()
    sensor = Look(odd).judged()
    assert statuses(sensor) == {"made/a": STILL, "made/b": "ok"}
    with pytest.raises(ZeroDivisionError):
        sensor.read(1)
    sensor.close()
    assert odd.closed


@pytest.mark.parametrize("scope", ["gpu", "module", "package", "system"])
def test_a_meter_of_something_whole_that_answers_0_watts_is_passed_over(scope: Any) -> None:
    assert statuses(Look(made((replace(POWER, scope=scope), lambda: 0.0))).judged()) == {POWER.name: ZERO}


def test_one_rail_of_several_and_a_part_may_rest() -> None:
    rail, part = replace(POWER, scope="soc"), replace(POWER, name="made/b", included_in="made/a/power")
    other = replace(rail, name="made/c")
    sources = (rail, lambda: 0.0), (part, lambda: 0.0), (other, lambda: 3.0)
    assert set(statuses(Look(made(*sources)).judged()).values()) == {"ok"}


def test_rails_that_all_answer_0_watts_are_passed_over_and_those_that_wake_are_not(clock: Clock) -> None:
    one, two = replace(POWER, scope="soc"), replace(POWER, name="made/b", scope="soc")
    dead = statuses(Look(made((one, lambda: 0.0), (two, lambda: 0.0))).judged())
    assert dead == {one.name: ZERO, two.name: ZERO}
    began_s = clock.t_s
    woken = Look(made((one, lambda: 0.0), (two, lambda: 2.0 * (clock.t_s - began_s > 0.05)))).judged()
    assert set(statuses(woken).values()) == {"ok"}


def test_a_meter_that_begins_with_0_is_waited_for(clock: Clock) -> None:
    began_s = clock.t_s
    sensor = Look(made((POWER, lambda: 100.0 * (clock.t_s - began_s > 0.05)))).judged()
    assert statuses(sensor) == {POWER.name: "ok"}


def test_the_power_beside_takes_the_place_of_a_counter_and_is_read_often(gpus: Callable[[int], FakeNvml]) -> None:
    fake = gpus(2)
    fake.gpu(0).counter_period_ns = 2**60
    with opened(find("nvml")[0]) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0/power", "nvml/gpu1"}
        assert named(sensor, "nvml/gpu0/power").poll_s == opening.POWER_POLL_S
        assert named(sensor, "nvml/gpu1/power").included_in == "nvml/gpu1"


def test_samples_and_memory_of_a_gpu_are_not_counted_beside_its_power(gpus: Callable[[int], FakeNvml]) -> None:
    fake = gpus(1)
    fake.gpu(0).counter_period_ns, fake.gpu(0).energy_latency_ns, fake.gpu(0).memory_share = 2**60, 3_000_000, 0.2
    time.sleep(0.15)  # until there are samples
    with opened(find("nvml")[0]) as sensor:
        assert {c.name for c in sensor.channels} >= {"nvml/gpu0/samples", "nvml/gpu0/memory"}
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0/power"}


def test_a_gpu_whose_counter_stands_still_and_that_tells_no_power_is_no_basis(gpus: Callable[[int], FakeNvml]) -> None:
    fake = gpus(1)
    fake.gpu(0).gain = 0.0
    with opened(find("nvml")[0]) as sensor:
        assert choose_basis(sensor.channels).name is None
    fake.fail(0, ENERGY, NOT_SUPPORTED)
    with opened(find("nvml")[0]) as sensor:
        assert choose_basis(sensor.channels).name is None


def test_auto_falls_back_from_a_tree_of_zeros_to_perf_and_then_to_the_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Powercap.server(tmp_path / "powercap")
    monkeypatch.setenv("IPW_POWERCAP", str(tmp_path / "powercap"))
    channels = [channel for sensor in find("auto") for channel in sensor.channels]
    assert choose_basis(channels).name == "estimate"
    reasons = {channel.name: channel.reason for channel in channels}
    assert reasons["rapl/package-0"] == reasons["rapl/psys"] == STILL
    assert "perf" in reasons
    monkeypatch.setitem(discovery.SENSORS, "perf", "profilers_opening_perf:open_sensor")
    stand_in = tmp_path / "profilers_opening_perf.py"
    stand_in.write_text("def open_sensor():\n    return MADE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import profilers_opening_perf  # type: ignore[import-not-found]

    profilers_opening_perf.MADE = made((replace(COUNTER, name="perf/package-0"), since_now(50.0)))
    channels = [channel for sensor in find("auto") for channel in sensor.channels]
    assert choose_basis(channels).channels == {"perf/package-0"}


def test_a_frozen_socket_of_two_is_failed_and_the_other_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Powercap(tmp_path / "powercap")
    for package in (0, 1):
        tree.zone(f"intel-rapl:{package}", f"package-{package}", energy_uj=123_456)
    monkeypatch.setenv("IPW_POWERCAP", str(tree.root))
    with tree.drawing({"intel-rapl:0": 50.0}), opened(find("rapl")[0]) as sensor:
        assert statuses(sensor) == {"rapl/package-0": "ok", "rapl/package-1": STILL}
        assert value(sensor, "rapl/package-0") >= 0


@pytest.mark.parametrize("frozen", [False, True])
def test_in_a_virtual_machine_a_counter_that_is_renewed_each_second_is_followed(
    tmp_path: Path, *, frozen: bool
) -> None:
    """Takes as long as such a counter: QEMU renews those of its guests once a second."""
    tree = Powercap(tmp_path / "powercap")
    tree.zone("intel-rapl:0", "package-0", energy_uj=5_000_000)
    code = "from ipw.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-P", "-c", code, "doctor", "--json", "--sensors", "rapl"]
    shown: dict[str, bytes | None] = {"/proc/cpuinfo": b"model name: QEMU\nflags: fpu hypervisor\n"}
    environment = {**NOTHING, "IPW_POWERCAP": str(tree.root), "PYTHONPATH": str(Path(__file__).parents[2])}
    with tree.drawing({} if frozen else {"intel-rapl:0": 50.0}, 1.0):
        told = json.loads(run_in(tmp_path, command, shown, None, **environment).stdout)
    (channel,) = told["channels"]
    if frozen:
        assert (channel["status"], channel["reason"]) == ("unsupported", STILL)
    else:
        assert (channel["status"], channel["ticks"], channel["note"]) == ("ok", True, opening.SLOW)


@pytest.mark.parametrize(("every_s", "slow"), [(0.05, False), (1.0, True)])
@pytest.mark.parametrize("held_up", range(0, 12, 2))
def test_in_a_virtual_machine_being_held_up_makes_no_counter_slow_and_none_quick(
    every_s: float, slow: bool, held_up: int, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text("flags: fpu hypervisor\n")
    monkeypatch.setattr(system, "CPU", tmp_path / "cpuinfo")
    clock.held_up_s = [0.0] * held_up + [1.7]
    sensor = Look(made((COUNTER, lambda: 100.0 + clock.t_s // every_s))).judged()
    assert [(channel.status, channel.note) for channel in sensor.channels] == [("ok", opening.SLOW if slow else None)]


def test_a_sensor_that_is_missing_is_not_looked_at() -> None:
    sensor = missing("made", "package", "absent", "not here")
    assert Look(sensor).judged() is sensor


# --- how long, and how often ------------------------------------------------------------------------------------------


def looked(clock: Clock, *sources: tuple[Channel, Callable[[], float | None]], **how: Any) -> tuple[Sensor, float]:
    """Judge, and tell in how many seconds."""
    began_s = clock.t_s
    sensor = Look(made(*sources), **how).judged()
    return sensor, clock.t_s - began_s


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"update_period_s": 1e-3}, 0.3),
        ({"update_period_s": 0.12}, 0.36),
        ({"update_period_s": 0.15}, 0.45),
        ({"update_period_s": 0.16}, 0.0),
        ({"update_period_s": None}, 0.3),
        ({"update_period_s": None, "ticks": True}, 0.5),
        ({"kind": "power", "method": "integrated_power", "update_period_s": 9.0}, 27.0),
        ({"kind": "power", "method": "integrated_power", "update_period_s": None}, 0.3),
        ({"kind": "power", "method": "integrated_power", "included_in": "made/b"}, 0.0),
        ({"status": "lost", "reason": "gone"}, 0.0),
    ],
    ids=str,
)
def test_what_stands_still_is_looked_at_for_many_of_its_updates(
    changes: dict[str, Any], seconds: float, clock: Clock
) -> None:
    _, took_s = looked(clock, (replace(COUNTER, **changes), lambda: 0.0))
    assert seconds <= took_s < seconds + 0.08


def test_it_looks_without_a_pause_for_two_milliseconds_then_ever_more_seldom(clock: Clock) -> None:
    began_s, asked = clock.t_s, list[float]()

    def still() -> float:
        asked.append(1e3 * (clock.t_s - began_s))
        return 5.0

    looked(clock, (COUNTER, still))
    gaps = [(after, after - before) for before, after in pairwise(asked)]
    busy = [gap for at, gap in gaps if at < 2]
    assert len(busy) > 20
    assert max(busy) < 0.1
    for at, gap in gaps[len(busy) + 2 :]:
        before = at - gap
        assert gap == pytest.approx(min(max(4.0, before / 8), 40.0), abs=0.3)
    asked.clear()
    began_s = clock.t_s
    looked(clock, (replace(COUNTER, update_period_s=None, ticks=True), still))
    assert asked[2] - asked[1] > 3.9
    asked.clear()
    ticking = replace(COUNTER, name="made/b", update_period_s=None, ticks=True)
    looked(clock, (COUNTER, still), (ticking, lambda: 5.0))
    assert asked[2] - asked[1] < 0.1  # what ticks renews itself in no two milliseconds


def test_however_little_a_counter_moves_it_is_believed_and_so_is_power_without_news(clock: Clock) -> None:
    values = iter([0.0, 0.0, 1e-4, 1e-4])
    sensor, took_s = looked(clock, (replace(COUNTER, ticks=True), lambda: next(values)))
    assert statuses(sensor) == {"made/a": "ok"}
    assert took_s < 0.05
    watts: list[float | None] = [0.0, 0.0, 1e-4, None]
    sensor, took_s = looked(clock, (POWER, lambda: watts.pop(0) if len(watts) > 1 else watts[0]))
    assert statuses(sensor) == {POWER.name: "ok"}
    assert took_s < 0.05


def test_power_that_is_next_to_nothing_is_0_watts(clock: Clock) -> None:
    for least, reason in ((NOTHING_W, "ok"), (0.9 * NOTHING_W, ZERO)):
        sensor, _ = looked(clock, (POWER, lambda watts=least: watts))  # type: ignore[misc]
        assert statuses(sensor) == {POWER.name: reason}


@pytest.fixture
def virtual(clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    """The look is made in a virtual machine."""
    (tmp_path / "cpuinfo").write_text("flags: fpu hypervisor\n")
    monkeypatch.setattr(system, "CPU", tmp_path / "cpuinfo")
    return clock


@pytest.mark.parametrize(
    ("changes", "first", "seconds"),
    [
        ({}, 5.0, 1.3),
        ({}, 0.0, 0.3),
        ({"ticks": True}, 5.0, 0.5),
        ({"kind": "power", "method": "integrated_power"}, 0.0, 0.3),
    ],
    ids=str,
)
def test_in_a_virtual_machine_a_counter_that_was_ever_above_0_is_looked_at_for_longer(
    changes: dict[str, Any], first: float, seconds: float, virtual: Clock
) -> None:
    sensor, took_s = looked(virtual, (replace(COUNTER, **changes), lambda: first))
    assert sensor.channels[0].status == "unsupported"
    assert seconds <= took_s < seconds + 0.05


@pytest.mark.parametrize(
    ("moves_s", "slow", "seconds"), [((0.1, 0.25), False, 0.25), ((0.1, 0.27), False, 0.27), ((0.1, 0.4), True, 0.3)]
)
def test_in_a_virtual_machine_it_must_move_again_within_a_fifth_of_a_second(
    moves_s: tuple[float, float], slow: bool, seconds: float, virtual: Clock
) -> None:
    began_s = virtual.t_s
    channel = replace(COUNTER, update_period_s=1e-3)
    sensor, took_s = looked(virtual, (channel, lambda: 5.0 + sum(virtual.t_s - began_s >= at for at in moves_s)))
    (found,) = sensor.channels
    assert seconds <= took_s < seconds + 0.06
    assert (found.status, found.ticks, found.note) == ("ok", slow, opening.SLOW if slow else None)
    assert found.update_period_s == (None if slow else 1e-3)
    assert value(sensor, "made/a") >= 5.0


def test_what_was_held_up_for_more_than_five_seconds_is_not_looked_at_anew(virtual: Clock) -> None:
    for held_up_s, slow in ((4.0, False), (6.0, True)):
        began_s = virtual.t_s
        virtual.held_up_s = [0.0] * 3 + [held_up_s]
        sensor, _ = looked(virtual, (COUNTER, lambda began=began_s: 5.0 + (virtual.t_s - began) // 0.01))  # type: ignore[misc]
        assert (sensor.channels[0].note == opening.SLOW) is slow


def test_the_power_of_the_same_device_takes_the_place_of_a_counter_and_the_rest_lies_within_it(clock: Clock) -> None:
    counter = replace(COUNTER, included_in="made/all")
    within: dict[str, Any] = {"kind": "power", "included_in": "made/a", "unit": "W", "method": "integrated_power"}
    others = [
        replace(COUNTER, name="made/all", scope="system", ticks=True),
        replace(COUNTER, name="made/a/core", scope="core", **within),
        replace(COUNTER, name="made/a/odd", **within),
        replace(COUNTER, name="made/a/power", poll_s=0.5, **within),
        replace(COUNTER, name="made/a/joules", scope="core", included_in="made/a"),
        replace(COUNTER, name="made/b", scope="dram", method="model_estimate"),
    ]
    moving = iter(range(1, 10_000))
    sources = [(counter, lambda: 5.0), (others[0], lambda: float(next(moving)))]
    sensor, _ = looked(clock, *sources, *((each, lambda: 7.0) for each in others[1:]))
    found = {channel.name: channel for channel in sensor.channels}
    assert found["made/a"].reason == STILL
    assert (found["made/a/power"].included_in, found["made/a/power"].poll_s) == ("made/all", 0.02)
    inner = ("made/a/core", "made/a/odd", "made/a/joules")
    assert [found[name].included_in for name in inner] == ["made/a/power"] * 3
    assert [found[name].included_in for name in ("made/all", "made/b")] == [None, None]
    assert found["made/a/odd"].poll_s == COUNTER.poll_s
    shut = replace(others[3], status="lost", reason="gone", poll_s=0.01)
    quick = replace(others[2], poll_s=0.01)
    sensor, _ = looked(clock, sources[0], (others[1], lambda: 7.0), (quick, lambda: 7.0), (shut, lambda: 7.0))
    found = {channel.name: channel for channel in sensor.channels}
    assert (found["made/a/odd"].included_in, found["made/a/odd"].poll_s) == ("made/all", 0.01)
    assert found["made/a/core"].included_in == "made/a/odd"
