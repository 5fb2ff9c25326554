"""Watts as they come, to the reading: which are remembered, which are doubted, and when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipw.runs.live.power import LivePower
from ipw.runs.readings import RECORD

S = 1_000_000_000
COUNTER = {"index": 0, "kind": "counter", "scope": "gpu", "max_power_w": 100.0}
POWER = {"index": 1, "kind": "power", "scope": "gpu", "max_power_w": 100.0}
GAUGE = {"index": 2, "kind": "gauge", "scope": "gpu"}


class Growing:
    """A file that grows by readings, and what is shown of it."""

    def __init__(self, path: Path, *channels: dict[str, Any]) -> None:
        self.path = path
        self.live = LivePower(path, channels)

    def read(self, seconds: float, value: float, index: int = 0, status: int = 0) -> float | None:
        """Add a reading; the watts of its channel then."""
        with self.path.open("ab") as file:
            file.write(RECORD.pack(round(seconds * S), value, index, status, 0))
        return self.live.watts().get(index)


@pytest.fixture
def grow(tmp_path: Path) -> Growing:
    """One of each kind."""
    return Growing(tmp_path / "power.bin", COUNTER, POWER, GAUGE, {"kind": "power", "scope": "cpu"})


def test_a_counter_shows_its_joules_over_the_last_two_seconds_and_one_reading_from_before(grow: Growing) -> None:
    assert grow.read(0, 1000) is None
    assert grow.read(1, 1010) == pytest.approx(10)
    assert grow.read(2, 1030) == pytest.approx(15)
    assert grow.read(3, 1060) == pytest.approx(20)  # the first is two seconds before the second that is kept
    assert grow.read(3.1, 1061) == pytest.approx((1061 - 1010) / 2.1)
    assert grow.read(9, 1100) == pytest.approx((1100 - 1061) / 5.9)


def test_a_counter_that_stands_still_shows_nothing_after_two_periods(grow: Growing) -> None:
    grow.read(0, 1000)
    assert grow.read(1, 1010) == pytest.approx(10)
    assert grow.read(7, 1010) == pytest.approx(10)
    assert grow.read(7.01, 1010) is None


def test_a_value_off_the_course_is_passed_over_and_one_that_goes_on_from_it_is_a_new_course(grow: Growing) -> None:
    grow.read(0, 1000)
    grow.read(1, 1010)
    assert grow.read(2, 5) == pytest.approx(10)
    assert grow.read(3, 1030) == pytest.approx(10)  # it was nothing: on goes the old course
    assert grow.read(4, 7) == pytest.approx(10)
    assert grow.read(5, 27) == pytest.approx(20)  # it started anew
    assert grow.read(6, 40) == pytest.approx((40 - 7) / 2)


def test_a_counter_may_bring_what_was_drawn_in_three_seconds_at_once_and_no_more(grow: Growing) -> None:
    grow.read(0, 0)
    assert grow.read(1, 150 * 4) == pytest.approx(600)  # half as much again as the limit of 100 W, for four seconds
    assert grow.read(2, 600 + 150 * 4 + 1) == pytest.approx(600)


def test_of_a_power_the_newest_value_counts_once_there_are_two(grow: Growing) -> None:
    assert grow.read(0, 40, 1) is None
    assert grow.read(1, 50, 1) == 50
    assert grow.read(2, 150, 1) == 150  # half as much again as its limit
    assert grow.read(3, 151, 1) == 150
    assert grow.read(4, -151, 1) == 150
    assert grow.read(5, float("nan"), 1) == 150
    assert grow.read(6, 50, 1) == 50


def test_a_gauge_has_no_limit(grow: Growing) -> None:
    grow.read(0, 1e9, 2)
    assert grow.read(1, -1e12, 2) == -1e12


def test_failed_readings_and_channels_that_are_not_shown_are_passed_over(grow: Growing) -> None:
    grow.read(0, 40, 1)
    assert grow.read(1, 50, 1, status=1) is None
    assert grow.read(2, 50, 7) is None
    assert grow.read(3, 60, 1) == 60


def test_the_total_is_known_once_every_channel_is(tmp_path: Path) -> None:
    grow = Growing(tmp_path / "p", POWER, POWER | {"index": 5})
    assert grow.live.total() is None
    for t in range(2):
        grow.read(t, 30, 1)
    assert grow.live.total() is None
    for t in range(2):
        grow.read(t, 12, 5)
    assert grow.live.total() == 42
    assert LivePower(tmp_path / "p", []).total() is None


def test_half_a_reading_waits_for_its_other_half(grow: Growing) -> None:
    grow.read(0, 40, 1)
    whole = RECORD.pack(S, 50.0, 1, 0, 0)
    with grow.path.open("ab") as file:
        file.write(whole[:7])
    assert grow.live.watts() == {}
    with grow.path.open("ab") as file:
        file.write(whole[7:])
    assert grow.live.watts() == {1: 50}


def test_a_file_that_is_not_there_yet_shows_nothing(tmp_path: Path) -> None:
    assert LivePower(tmp_path / "none", [POWER]).watts() == {}
