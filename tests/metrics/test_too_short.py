"""A window that is too short for its sensors says for which, and how long would do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from doubles.recorded import Told, channel, counting, recorded, summary_of, told_against


def plug(seconds: float, folder: Path) -> dict[str, str]:
    t = np.arange(0.3, 30, 1.0)
    facts = {"scope": "wall", "method": "external_meter", "update_period_s": 1.0, "max_power_w": None}
    told = Told(channel("meter/power", "power", **facts), t, 50 + np.sin(t))
    return told_against(summary_of(recorded(folder, [told], window_s=(5.0, 5.0 + seconds))))


def test_a_plug_is_too_slow_for_half_a_second_and_not_for_ten(tmp_path: Path) -> None:
    told = plug(0.5, tmp_path / "short")["resolution"]
    assert told == "meter/power has news every 1 s: 0.5 s are too short for it, and 10 s or more would do"
    assert "resolution" not in plug(10.0, tmp_path / "long")


def test_a_counter_of_large_steps_is_told_by_how_far_apart_they_come(tmp_path: Path) -> None:
    t = np.arange(0, 40, 0.1)
    steps = np.floor(counting(lambda t: 100.0 + 0 * t, t) / 360.0) * 360.0
    counter = Told(channel("meter/energy", resolution_j=360.0, update_period_s=1.0, max_power_w=None), t, steps)
    told = told_against(summary_of(recorded(tmp_path, [counter], window_s=(8.0, 9.5))))
    assert told["resolution"].startswith("meter/energy has news every 3.6 s: 1.5 s are too short for it, and 36 s")
