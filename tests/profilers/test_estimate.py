from __future__ import annotations

import time
from collections.abc import Callable

from doubles.patience import undisturbed
from doubles.reading import named, opened, reading

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis, find

Machine = Callable[[str], None]


def open_estimate() -> Sensor:
    (sensor,) = find("estimate")
    return sensor


def test_an_estimate_is_called_one_and_claims_no_better_than_half(machine: Machine) -> None:
    with opened(open_estimate()) as sensor:
        channel = named(sensor, "estimate/cpu")
        assert (channel.method, channel.gain_rel) == ("model_estimate", 0.5)
        assert channel.note
        assert "not measured" in channel.note
        assert choose_basis(sensor.channels).name == "estimate"


def test_a_busy_cpu_is_estimated_above_the_idle_floor_and_within_the_models_range() -> None:
    def told() -> None:
        with opened(open_estimate()) as sensor:
            first = reading(sensor, "estimate/cpu")
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                pass
            last = reading(sensor, "estimate/cpu")
            limit = named(sensor, "estimate/cpu").max_power_w
        assert limit is not None
        assert 10.5 < (last.value - first.value) / ((last.t_ns - first.t_ns) / 1e9) < limit

    undisturbed(told)
