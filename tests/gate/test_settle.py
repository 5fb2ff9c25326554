from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from doubles.clock import Clock

from ipw.gate import settle as waiting
from ipw.gate.settle import Settle
from ipw.profilers import replay


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Recordings and waits live by a clock that the test moves, on a machine that does nothing else."""
    clock = Clock().drives(waiting, monkeypatch).drives(replay, monkeypatch)

    def watched(seconds: float) -> float:
        clock.sleep(seconds)
        return 0.0

    monkeypatch.setattr(psutil, "cpu_percent", watched)
    return clock


def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch, *levels: tuple[float, float]) -> None:
    """A temperature that holds each level for so many seconds, as a recording."""
    rows, t_s = ["t_ns,channel,unit,scope,value"], 0.0
    for celsius, seconds in levels:
        for _ in range(int(seconds / 0.01)):
            rows.append(f"{int(t_s * 1e9)},nvml/gpu0/temperature,C,gpu,{celsius}")
            t_s += 0.01
    (folder / "recorded.csv").write_text("\n".join(rows))
    monkeypatch.setenv("IPW_REPLAY", str(folder / "recorded.csv"))


def test_it_waits_until_a_warm_device_has_cooled_to_where_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    recorded(tmp_path, monkeypatch, (40.0, 0.8), (60.0, 1.0), (42.0, 20.0))
    with Settle("replay", 15.0) as settle:
        assert settle.warms
        settle()
        clock.sleep(1.0)
        began_s = clock.t_s
        settle()
        assert 0.5 < clock.t_s - began_s < 1.5
    assert settle.missed == []


@pytest.mark.parametrize(("then", "told"), [(70.0, "30 °C warmer"), (10.0, "30 °C colder")])
def test_what_is_not_reached_in_time_is_told(
    then: float, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    recorded(tmp_path, monkeypatch, (40.0, 0.8), (then, 20.0))
    with Settle("replay", 0.5) as settle:
        settle()
        clock.sleep(1.0)
        settle()
    assert settle.missed == [f"nvml/gpu0/temperature: {told}"]


def test_without_time_to_wait_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPW_REPLAY", "nowhere")
    with Settle("replay", 0.0) as settle:
        settle()
        assert not settle.warms
    assert settle.missed == []
