from __future__ import annotations

from pathlib import Path

import pytest

from ipw.runs.live_power import LivePower
from ipw.runs.readings import RECORD


def append(path: Path, *records: tuple[int, float, int, int]) -> None:
    with path.open("ab") as file:
        for t_ns, value, index, status in records:
            file.write(RECORD.pack(t_ns, value, index, status, 0))


def test_a_counter_gives_the_slope_and_a_power_channel_its_last_value(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, {0: "counter", 1: "power"})
    append(path, (0, 100.0, 0, 0), (10**9, 130.0, 0, 0), (0, 5.0, 1, 0), (10**9, 7.0, 1, 0))
    assert live.watts() == {0: pytest.approx(30.0), 1: 7.0}
    assert live.total() == pytest.approx(37.0)


def test_without_readings_there_is_no_total_rather_than_zero(tmp_path: Path) -> None:
    assert LivePower(tmp_path / "power.bin", {0: "counter"}).total() is None


def test_a_total_is_not_given_while_a_channel_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, {0: "power", 1: "power"})
    append(path, (0, 5.0, 0, 0), (1, 5.0, 0, 0), (0, 4.0, 1, 4), (1, 4.0, 1, 4))
    assert live.total() is None


def test_a_torn_record_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, {0: "power"})
    append(path, (0, 5.0, 0, 0))
    whole = RECORD.pack(1, 6.0, 0, 0, 0)
    with path.open("ab") as file:
        file.write(whole[:10])
    live.watts()
    with path.open("ab") as file:
        file.write(whole[10:])
    assert live.total() == 6.0


def test_a_counter_that_goes_backwards_shows_no_power(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, {0: "counter"})
    append(path, (0, 100.0, 0, 0), (10**9, 1.0, 0, 0))
    assert live.total() is None


def test_a_counter_that_is_seldom_read_keeps_its_power(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, {0: "counter"})
    for tick in range(0, 100, 24):  # read shortly before and after one tick in 2.4 s, of 10 J each
        for t_ns, joules in ((tick * 10**8 - 2 * 10**6, 10.0 * (tick - 1)), (tick * 10**8 + 2 * 10**6, 10.0 * tick)):
            append(path, (t_ns, joules, 0, 0))
        if tick:
            assert live.total() == pytest.approx(100.0, rel=0.05)
