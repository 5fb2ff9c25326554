from __future__ import annotations

import numpy as np
import pytest

from ipw.runs.curves import curves_of
from ipw.runs.one_clock import on_one_clock
from ipw.runs.readings import RECORD_FIELDS

CHANNELS = [
    {"name": "far/clock", "kind": "gauge", "index": 0, "host": "far"},
    {"name": "far/nvml/gpu0", "kind": "counter", "scope": "gpu", "index": 1, "clock": "far/clock", "ticks": True},
    {"name": "rapl/package-0", "kind": "counter", "scope": "package", "index": 2},
]
S = 1_000_000_000


def made(*rows: tuple[int, float, int, int, int]) -> np.ndarray:
    return np.array(list(rows), np.dtype(RECORD_FIELDS))


def recorded(drift: float, half_ns: int = 1_000_000) -> np.ndarray:
    """A minute of a GPU at 100 W whose clock gains, and of a package beside us."""
    rows = []
    for tenth in range(600):
        t = tenth * S // 10
        rows.append((t, drift * t / 1e9, 0, 0, half_ns))
        rows.append((t + round(drift * t), 10.0 * tenth, 1, 0, 0))
        rows.append((t, 5.0 * tenth, 2, 0, 0))
    return made(*rows)


@pytest.mark.parametrize("drift", [0.0, 1e-4, -1e-4])
def test_what_another_machine_read_is_moved_to_the_runs_clock(drift: float) -> None:
    before = recorded(drift)
    after = on_one_clock(before, CHANNELS)
    theirs = after[after["channel"] == 1]["t_ns"]
    assert np.abs(theirs - np.arange(600) * S // 10).max() < 100_000
    for ours in (0, 2):
        assert np.array_equal(after[after["channel"] == ours], before[before["channel"] == ours])


def test_the_error_of_the_clock_is_in_every_knot_of_its_channels_and_of_no_other() -> None:
    readings = on_one_clock(recorded(1e-4), CHANNELS)
    found = curves_of(readings, CHANNELS)
    assert np.all(found["far/nvml/gpu0"].t_err_ns >= 1_000_000)
    assert np.all(found["far/nvml/gpu0"].t_err_ns < 100_000_000)
    assert found["rapl/package-0"].t_err_ns.max() == 0


def test_readings_without_another_machine_are_left_as_they_are() -> None:
    readings = recorded(0.0)
    assert on_one_clock(readings, CHANNELS[2:]) is readings


@pytest.mark.parametrize(
    "channels",
    [
        [CHANNELS[1]],
        [{**CHANNELS[0], "index": None}, CHANNELS[1]],
        [CHANNELS[0], {**CHANNELS[1], "index": None}],
        [{**CHANNELS[0], "index": 7}, CHANNELS[1]],
    ],
    ids=["no clock", "a clock that was not read", "a channel that was not read", "a clock without exchanges"],
)
def test_without_exchanges_nothing_is_moved(channels: list[dict[str, object]]) -> None:
    readings = recorded(1e-4)
    assert np.array_equal(on_one_clock(readings, channels), readings)
