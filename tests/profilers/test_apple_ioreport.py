from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module

import pytest
from doubles.reading import failure, opened, reading

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis, find

Machine = Callable[[str], None]


def open_ioreport() -> Sensor:
    (sensor,) = find("ioreport")
    return sensor


def test_ioreports_soc_is_the_sum_of_the_rails_that_this_chip_has(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("ioreport")
    monkeypatch.setitem(import_module("zeus_apple_silicon").MILLIWATTS, "dram_mj", None)
    with opened(open_ioreport()) as sensor:
        assert [channel.name for channel in sensor.channels] == [
            f"ioreport/{rail}" for rail in ("soc", "cpu", "gpu", "ane")
        ]
        assert choose_basis(sensor.channels).channels == {"ioreport/soc"}
        first = reading(sensor, "ioreport/soc")
        time.sleep(0.1)
        last = reading(sensor, "ioreport/soc")
        assert (last.value - first.value) / ((last.t_ns - first.t_ns) / 1e9) == pytest.approx(7.5, rel=0.1)


def test_a_rail_that_is_no_longer_told_is_lost_and_not_0(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("ioreport")
    with opened(open_ioreport()) as sensor:
        monkeypatch.setitem(import_module("zeus_apple_silicon").MILLIWATTS, "gpu_mj", None)
        assert failure(sensor, "ioreport/gpu").status == "lost"
        assert failure(sensor, "ioreport/soc").status == "lost"
