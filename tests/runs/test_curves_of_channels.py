"""Which readings make a channel's curve: its limit, what may rest, what adds up, what shapes it, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipw.energy.belief.limits import MARGIN, most_power_w
from ipw.runs import curves as module
from ipw.runs.curves import believed, curves_of, limit_w, of_channel, refused, still, with_shapes
from ipw.runs.readings import RECORD_FIELDS

S = 1_000_000_000
GPU: dict[str, Any] = {"name": "nvml/gpu0", "index": 0, "kind": "power", "scope": "gpu", "max_power_w": 300.0}


def readings(*rows: tuple[float, float, int, int]) -> Any:
    """(s, value, channel, status)."""
    found = np.zeros(len(rows), RECORD_FIELDS)
    for k, (t, value, channel, status) in enumerate(rows):
        found[k] = (round(t * S), value, channel, status, 0)
    return found


def test_readings_of_a_channel_are_those_with_its_index() -> None:
    made = readings((0, 1, 0, 0), (1, 2, 3, 0), (2, 3, 0, 4))
    assert of_channel(made, {"index": 0})["value"].tolist() == [1, 3]
    assert of_channel(made, {"index": None}).size == of_channel(made, {}).size == 0


def test_a_shape_is_found_by_its_name_and_parts_of_a_whole_know_how_many_are_beside_them() -> None:
    channels: list[dict[str, Any]] = [
        {"name": "tegra/cpu", "scope": "soc", "in_total": True, "shape": "fast"},
        {"name": "tegra/gpu", "scope": "soc", "in_total": True},
        {"name": "tegra/vdd", "scope": "soc", "in_total": False},
        {"name": "other/cpu", "scope": "soc", "in_total": True},
        {"name": "fast", "scope": "gpu"},
    ]
    found = with_shapes(channels)
    assert [each["beside"] for each in found] == [1, 1, 1, 0, -1]
    assert found[0]["shape"] == channels[4]
    assert [each["shape"] for each in found[1:]] == [None] * 4


@pytest.mark.parametrize(
    ("channel", "rests"),
    [
        ({"scope": "gpu"}, False),
        ({"scope": "package"}, False),
        ({"scope": "wall"}, False),
        ({"scope": "gpu", "included_in": "module"}, True),
        ({"scope": "dram"}, True),
        ({"scope": "ane"}, True),
        ({"scope": "soc", "beside": 0}, False),
        ({"scope": "soc", "beside": 1}, True),
        ({"scope": "system", "beside": 1}, True),
        ({"scope": "package", "beside": 1}, False),
        ({"scope": "soc"}, False),
    ],
)
def test_a_part_may_draw_nothing_and_a_whole_may_not(channel: dict[str, Any], *, rests: bool) -> None:
    assert module._may_rest(channel) == rests


def test_the_limit_is_the_devices_own_unless_its_readings_refute_it() -> None:
    cool = readings(*((0.1 * k, 200.0 + k % 3, 0, 0) for k in range(100)))
    assert limit_w(cool, GPU) == 300
    hot = readings(*((0.1 * k, 900.0 + k % 3, 0, 0) for k in range(100)))
    assert limit_w(hot, GPU) == most_power_w("gpu")
    failed = hot.copy()
    failed["status"] = 4
    assert limit_w(failed, GPU) == 300
    assert limit_w(hot, GPU | {"max_power_w": None}) == most_power_w("gpu")
    assert limit_w(hot, GPU | {"max_power_w": 2 * most_power_w("gpu")}) == 2 * most_power_w("gpu")


@pytest.mark.parametrize(("watts", "limit"), [(200.0, 300.0), (900.0, most_power_w("gpu"))])
def test_a_counter_refutes_its_limit_by_its_steps(watts: float, limit: float) -> None:
    made = readings(*((0.1 * k, 1000 + 0.1 * k * watts, 0, 0) for k in range(100)))
    counter = GPU | {"kind": "counter", "resolution_j": 0.001}
    assert limit_w(made, counter) == limit
    assert limit_w(made[::-1], counter) == limit  # in whatever order they came
    assert limit_w(np.repeat(made, 2), counter) == limit


def test_a_power_beyond_its_limit_is_refused_and_the_others_are_believed() -> None:
    rows = [(0.1 * k, 200.0 + k % 3, 0, 0) for k in range(50)]
    rows[20] = (2.0, MARGIN * 300 + 1, 0, 0)
    rows[30] = (3.0, 0.0, 0, 0)  # a GPU that is read draws something
    rows[40] = (4.0, 5.0, 0, 4)
    made = readings(*rows)
    assert (refused(made, GPU) / S).tolist() == [2.0, 3.0]
    t_ns, values = believed(made, GPU)
    assert t_ns.size == values.size == 47
    assert (refused(made, GPU | {"scope": "dram"}) / S).tolist() == [2.0]  # and memory may rest


def test_a_counter_that_leaves_its_course_for_a_reading_is_refused_there() -> None:
    rows = [(0.1 * k, 1000 + 20.0 * k, 0, 0) for k in range(50)]
    rows[20] = (2.0, 7.0, 0, 0)
    counter = GPU | {"kind": "counter", "resolution_j": 0.001, "update_period_s": 0.1}
    assert (refused(readings(*rows), counter) / S).tolist() == [2.0]
    assert believed(readings(*rows), counter)[1].size == 49


def test_a_counter_that_stands_still_for_long_loses_what_it_does_not_catch_up() -> None:
    rows = [(0.1 * k, 1000 + 20.0 * min(k, 50) + 20.0 * max(k - 400, 0), 0, 0) for k in range(450)]
    counter = GPU | {"kind": "counter", "resolution_j": 0.001, "update_period_s": 0.1}
    (stretch,) = still(readings(*rows), counter)
    assert not stretch.caught_up
    running = [(0.1 * k, 1000 + 20.0 * k, 0, 0) for k in range(450)]
    assert still(readings(*running), counter) == []


def test_every_channel_in_joules_or_watts_that_was_read_has_a_curve_with_its_gain() -> None:
    channels: list[dict[str, Any]] = [
        GPU | {"gain_rel": 0.05},
        {"name": "t", "index": 1, "kind": "gauge", "scope": "gpu"},
        {"name": "unread", "kind": "power", "scope": "gpu"},
        {"name": "c", "index": 2, "kind": "counter", "scope": "gpu", "gain_rel": "x", "update_period_s": None},
    ]
    made = readings(*((k, 100.0, 0, 0) for k in range(5)), *((k, 50.0 * k, 2, 0) for k in range(5)))
    found = curves_of(made, channels)
    assert list(found) == ["nvml/gpu0", "c"]
    assert found["nvml/gpu0"].energy_j[-1] == pytest.approx(400)
    assert found["c"].energy_j[-1] == pytest.approx(200)
    assert (found["nvml/gpu0"].gain_rel, found["c"].gain_rel) == (0.05, 0.0)
    assert found["nvml/gpu0"].most_w == MARGIN * 300
