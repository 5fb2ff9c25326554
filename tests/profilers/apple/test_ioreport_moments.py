"""How long the opening looks at a Mac's rails, for how long a look serves all, and what is no energy: by a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from doubles.clock import Clock
from doubles.reading import named, opened, read

from ipw.profilers import publications
from ipw.profilers.apple import ioreport
from ipw.profilers.apple.ioreport import open_sensor
from ipw.profilers.base import Sensor, SensorError

Rails = Callable[[float], dict[str, Any]]
"""By the seconds since the opening began: what the binding tells, in millijoules."""
ALL = ("cpu_total_mj", "gpu_mj", "ane_mj", "dram_mj")


class Mac:
    """A Mac that tells this, on a clock that waiting moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.looks_s = Clock(0), list[float]()
        self.rails: Rails = plain
        self.look_takes_s = 0.0
        self._begun_ns = self.clock.t_ns
        for module in (ioreport, publications):
            monkeypatch.setattr(module, "now_ns", self.clock.now_ns)
        monkeypatch.setattr(ioreport, "sleep", self.clock.sleep)
        binding = SimpleNamespace(AppleEnergyMonitor=lambda: SimpleNamespace(get_cumulative_energy=self._look))
        monkeypatch.setitem(sys.modules, "zeus_apple_silicon", binding)

    @property
    def t_s(self) -> float:
        return (self.clock.t_ns - self._begun_ns) / 1e9

    def _look(self) -> SimpleNamespace:
        self.looks_s.append(self.t_s)
        self.clock.sleep(self.look_takes_s)
        return SimpleNamespace(**self.rails(self.t_s))


def plain(t_s: float) -> dict[str, Any]:
    """All rails renewed as they are read, at 1 W."""
    return dict.fromkeys(ALL, 1e3 * (5 + t_s))


def cpu_from(begin_s: float) -> Rails:
    """A CPU that is first renewed then."""
    return lambda t_s: plain(t_s) | {"cpu_total_mj": 5e3 + (t_s > begin_s) * (1 + t_s)}


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Mac:
    return Mac(monkeypatch)


@pytest.mark.parametrize(
    ("rails", "late", "least_s", "most_s"),
    [
        (plain, False, 0.17, 0.19),
        (cpu_from(0.25), False, 0.38, 0.40),
        (cpu_from(0.35), True, 0.35, 0.40),
        (cpu_from(2.3), True, 2.3, 2.34),
        (cpu_from(9.9), True, 3.5, 3.54),
    ],
    ids=["at once", "soon", "in batches", "in long ones", "never"],
)
def test_the_opening_looks_until_all_have_moved_that_never_rest_and_four_times_more_where_that_is_soon(
    mac: Mac, rails: Rails, late: bool, least_s: float, most_s: float
) -> None:
    mac.rails = rails
    with opened(open_sensor()) as sensor:
        assert least_s <= mac.t_s <= most_s
        assert {round(b - a, 3) for a, b in zip(mac.looks_s, mac.looks_s[1:], strict=False)} == {0.03}
        assert named(sensor, "ioreport/gpu").update_period_s == (3.0 if late else None)
        assert ("batches" in (named(sensor, "ioreport/gpu").note or "")) is late


def test_a_look_serves_all_rails_for_20_ms(mac: Mac) -> None:
    with opened(open_sensor()) as sensor:
        mac.clock.sleep(1.0)
        looks = len(mac.looks_s)
        for name, seconds, more in (
            ("soc", 0.0, 1),
            ("cpu", 0.02, 1),
            ("gpu", 0.001, 2),
            ("ane", 0.02, 2),
            ("cpu", 0.01, 3),
        ):
            mac.clock.sleep(seconds)
            assert read(sensor, f"ioreport/{name}") is not None
            assert len(mac.looks_s) - looks == more
        assert read(sensor, "ioreport/cpu") is None


def test_a_look_that_takes_long_serves_from_its_middle_on(mac: Mac) -> None:
    with opened(open_sensor()) as sensor:
        mac.look_takes_s = 0.01
        mac.clock.sleep(1.0)
        looks = len(mac.looks_s)
        for name, seconds, more in (("soc", 0.0, 1), ("cpu", 0.015, 1), ("gpu", 0.001, 2)):
            mac.clock.sleep(seconds)
            read(sensor, f"ioreport/{name}")
            assert len(mac.looks_s) - looks == more


def test_a_rail_that_stands_still_for_longer_than_batches_take_is_lost_and_said_to_be(mac: Mac) -> None:
    with opened(open_sensor()) as sensor:
        stopped_s = mac.t_s
        mac.rails = lambda t_s: plain(t_s) | {"cpu_total_mj": 1e3 * (5 + stopped_s)}
        mac.clock.sleep(2.9)
        assert read(sensor, "ioreport/gpu") is not None
        assert read(sensor, "ioreport/cpu") is not None  # what it told last
        mac.clock.sleep(0.3)
        for name in ("cpu", "soc"):
            with pytest.raises(SensorError, match=r"the rail cpu stands still \(3.2 s\), though a running chip"):
                read(sensor, f"ioreport/{name}")
        assert read(sensor, "ioreport/gpu") is not None


@pytest.mark.parametrize(("millijoules", "rests"), [(0, True), (1, False), (900, False)])
def test_memory_never_rests_unless_it_never_drew_anything(mac: Mac, millijoules: int, rests: bool) -> None:
    mac.rails = lambda t_s: plain(t_s) | {"dram_mj": millijoules}
    with opened(open_sensor()) as sensor:
        mac.clock.sleep(2.7)
        assert read(sensor, "ioreport/soc") is not None
        mac.clock.sleep(0.5)
        if rests:
            assert read(sensor, "ioreport/soc") is not None
        else:
            with pytest.raises(SensorError, match="the rail dram stands still"):
                read(sensor, "ioreport/soc")


@pytest.mark.parametrize("strange", [None, "5", True, [5], -1, float("nan"), float("inf")])
def test_what_is_no_energy_is_no_rail_and_0_is_one(mac: Mac, strange: Any) -> None:
    mac.rails = lambda t_s: plain(t_s) | {"ane_mj": strange, "gpu_mj": 0}
    with opened(open_sensor()) as sensor:
        assert [channel.name.partition("/")[2] for channel in sensor.channels] == ["soc", "cpu", "gpu", "dram"]
        assert named(sensor, "ioreport/soc").status == "ok"
        assert named(sensor, "ioreport/soc").resolution_j == pytest.approx(3e-3)


@pytest.mark.parametrize(
    ("binding", "status", "reason", "hint"),
    [
        (None, "absent", "zeus-apple-silicon is not installed (Apple silicon only)", None),
        (SimpleNamespace(), "unsupported", "IOReport: ", "pip install -U zeus-apple-silicon"),
        (
            SimpleNamespace(AppleEnergyMonitor=lambda: SimpleNamespace(get_cumulative_energy=SimpleNamespace)),
            "unsupported", "IOReport tells no energy on this machine", "pip install -U zeus-apple-silicon",
        ),
    ],
)  # fmt: skip
def test_where_there_are_no_rails_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, binding: Any, status: str, reason: str, hint: str | None
) -> None:
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", binding)
    sensor: Sensor = open_sensor()
    (channel,) = sensor.channels
    assert (channel.name, channel.scope, channel.status, channel.hint) == ("ioreport", "soc", status, hint)
    assert (channel.reason or "").startswith(reason)
