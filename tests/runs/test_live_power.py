from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipw.runs.live.power import LivePower
from ipw.runs.readings import RECORD


def shown(*kinds: str) -> list[dict[str, Any]]:
    return [{"index": k, "kind": kind, "scope": "gpu", "max_power_w": 700.0} for k, kind in enumerate(kinds)]


def append(path: Path, *records: tuple[int, float, int, int]) -> None:
    with path.open("ab") as file:
        for t_ns, value, index, status in records:
            file.write(RECORD.pack(t_ns, value, index, status, 0))


def test_a_counter_gives_the_slope_and_a_power_channel_its_last_value(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, shown("counter", "power"))
    append(path, (0, 100.0, 0, 0), (10**9, 130.0, 0, 0), (0, 5.0, 1, 0), (10**9, 7.0, 1, 0))
    assert live.watts() == {0: pytest.approx(30.0), 1: 7.0}
    assert live.total() == pytest.approx(37.0)


def test_without_readings_there_is_no_total_rather_than_zero(tmp_path: Path) -> None:
    assert LivePower(tmp_path / "power.bin", shown("counter")).total() is None


def test_a_total_is_not_given_while_a_channel_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, shown("power", "power"))
    append(path, (0, 5.0, 0, 0), (1, 5.0, 0, 0), (0, 4.0, 1, 4), (1, 4.0, 1, 4))
    assert live.total() is None


def test_a_torn_record_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, shown("power"))
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
    live = LivePower(path, shown("counter"))
    append(path, (0, 100.0, 0, 0), (10**9, 1.0, 0, 0))
    assert live.total() is None


def test_a_counter_that_is_seldom_read_keeps_its_power(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, shown("counter"))
    for tick in range(0, 100, 24):  # read shortly before and after one tick in 2.4 s, of 10 J each
        for t_ns, joules in ((tick * 10**8 - 2 * 10**6, 10.0 * (tick - 1)), (tick * 10**8 + 2 * 10**6, 10.0 * tick)):
            append(path, (t_ns, joules, 0, 0))
        if tick:
            assert live.total() == pytest.approx(100.0, rel=0.05)


@pytest.mark.parametrize("garbage", [4294967.295, 65535.0, -5.0, 1e18])
def test_what_cannot_be_true_is_not_shown(tmp_path: Path, garbage: float) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, shown("power", "counter"))
    for k in range(20):
        wrong = k % 5 == 4
        append(path, (k * 10**8, 100.0 if not wrong or garbage < 0 else garbage, 0, 0))
        append(path, (k * 10**8, garbage if wrong else 10.0 * k, 1, 0))
    assert live.watts() == {0: 100.0, 1: pytest.approx(100.0)}


def test_a_counter_that_starts_anew_is_shown_again(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, shown("counter"))
    append(path, *((k * 10**8, 1e6 + 10.0 * k, 0, 0) for k in range(20)))
    append(path, *((k * 10**8, 10.0 * (k - 20), 0, 0) for k in range(20, 25)))
    assert live.total() == pytest.approx(100.0)


def test_two_seconds_of_joules_at_once_are_shown_as_power(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, shown("counter"))
    append(path, *((k * 10**8, 1200.0 * (k // 20), 0, 0) for k in range(61)))
    assert live.total() == pytest.approx(600.0, rel=0.1)


def test_a_counter_that_stands_still_shows_no_power(tmp_path: Path) -> None:
    path = tmp_path / "power.bin"
    live = LivePower(path, shown("counter"))
    append(path, *((k * 10**8, 10.0 * min(k, 20), 0, 0) for k in range(100)))
    assert live.total() is None
