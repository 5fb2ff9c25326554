"""When waiting ends: at which warmth, at which load, after how long, and what is told then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from ipw.gate import settle
from ipw.gate.settle import BAND_C, BUSY, Settle
from ipw.profilers.base import SensorError


@pytest.fixture
def cpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """CPUs that are so busy, in per cent, at each look; the last level stays. What is returned are the looks."""

    def told(*percents: float) -> list[float]:
        looks: list[float] = []

        def look(interval: float) -> float:
            looks.append(interval)
            return percents[min(len(looks), len(percents)) - 1]

        monkeypatch.setattr(psutil, "cpu_percent", look)
        return looks

    return told


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a thousandth of the time between two looks."""
    monkeypatch.setattr(settle, "LOOK_S", settle.LOOK_S / 1000)


def watching(limit_s: float, *celsius: float | None) -> Settle:
    """A settle that watches one sensor, which shows these temperatures one after the other; the last one stays."""
    shown: Iterator[float | None] = iter(celsius)
    last: list[float | None] = [None]

    def read() -> float | None:
        last[0] = next(shown, last[0])
        return last[0]

    made = Settle("none", limit_s)
    made._probes = [("g/temperature", read)]
    return made


def settled(made: Settle) -> list[str]:
    """What the second of two calls missed."""
    made()
    made()
    return made.missed


@pytest.mark.parametrize("later", [40.0 + BAND_C, 40.0 - BAND_C, 40.0, None])
def test_three_degrees_to_either_side_are_within_the_band(later: float | None, cpus: Callable[..., Any]) -> None:
    cpus(0.0)
    assert settled(watching(0.001, 40.0, later)) == []


def test_what_the_first_call_could_not_read_is_no_band(cpus: Callable[..., Any]) -> None:
    cpus(0.0)
    assert settled(watching(0.001, None, 90.0)) == []


@pytest.mark.parametrize(("later", "told"), [(43.6, "4 °C warmer"), (36.4, "4 °C colder")])
def test_a_degree_more_is_told_with_its_direction(later: float, told: str, cpus: Callable[..., Any]) -> None:
    cpus(0.0)
    assert settled(watching(0.001, 40.0, later)) == [f"g/temperature: {told}"]


def test_what_is_colder_is_not_waited_for_and_what_is_warmer_is(cpus: Callable[..., Any]) -> None:
    looks = cpus(0.0)
    assert settled(watching(60.0, 40.0, 30.0)) == ["g/temperature: 10 °C colder"]
    assert len(looks) == 2
    assert settled(watching(60.0, 40.0, 50.0, 48.0, 45.0, 43.0, 99.0)) == []  # it ends within the band at once


def test_a_machine_that_is_colder_and_busy_is_waited_for_until_it_is_idle(cpus: Callable[..., Any]) -> None:
    looks = cpus(0.0, 90.0, 90.0, 10.0)
    assert settled(watching(60.0, 40.0, 30.0)) == ["g/temperature: 10 °C colder"]
    assert len(looks) == 4


@pytest.mark.parametrize(
    ("first", "later", "told"),
    [
        (0.0, 20.0, []),
        (0.0, 21.0, ["CPUs 21 % busy"]),
        (13.0, 20.0, []),
        (13.0, 21.0, ["CPUs 21 % busy"]),  # half as much again as at first is less than a fifth of them
        (40.0, 60.0, []),
        (40.0, 62.0, ["CPUs 62 % busy"]),
    ],
)
def test_cpus_may_be_a_fifth_busy_or_half_as_much_again_as_at_first(
    first: float, later: float, told: list[str], cpus: Callable[..., Any]
) -> None:
    assert BUSY == 0.2
    cpus(first, later)
    made = Settle("none", 0.001)
    assert settled(made) == told


def test_each_call_that_misses_is_told_and_the_first_one_is_the_band_of_all(cpus: Callable[..., Any]) -> None:
    cpus(0.0)
    made = watching(0.0001, 40.0, 30.0, 41.0, 30.0)
    for _ in range(4):
        made()
    assert made.missed == ["g/temperature: 10 °C colder"] * 2


def test_without_time_to_wait_nothing_is_looked_at(cpus: Callable[..., Any]) -> None:
    looks = cpus(90.0)
    assert settled(watching(0.0, 40.0, 90.0)) == []
    assert looks == []
    with Settle("replay", 0.0) as made:
        assert not made.warms


def test_where_the_system_does_not_tell_its_load_there_is_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def untold(_: float) -> float:
        raise OSError

    monkeypatch.setattr(psutil, "cpu_percent", untold)
    assert settled(watching(0.001, 40.0, 41.0)) == []


def test_temperatures_that_can_be_read_are_watched_and_nothing_else() -> None:
    def channel(name: str, unit: str, status: str = "ok") -> SimpleNamespace:
        return SimpleNamespace(name=name, unit=unit, status=status)

    def read(index: int) -> SimpleNamespace | None:
        if index == 4:
            raise SensorError("lost", "gone")
        return None if index == 3 else SimpleNamespace(value=10.0 * index)

    channels = [
        channel("w", "W"),
        channel("a", "C"),
        channel("gone", "C", "lost"),
        channel("b", "C"),
        channel("c", "C"),
    ]
    sensor = cast("Any", SimpleNamespace(channels=channels, read=read))
    assert [(name, told()) for name, told in settle._temperatures(sensor)] == [("a", 10.0), ("b", None), ("c", None)]
