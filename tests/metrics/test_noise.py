"""A noisy power that freezes under a steady load is told; what comes to rest, or is told in steps, is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.recorded import Floats, Told, channel, recorded, summary_of, told_against

FAST = np.arange(0, 30, 0.02)


def steady(noise_w: float = 0.5, watts: float = 90.0) -> Floats:
    return np.round(watts + np.random.default_rng(1).normal(0, noise_w, FAST.size), 3)


def told_of(folder: Path, watts: Any) -> str | None:
    told = Told(channel("nvml/gpu0/power", "power", method="integrated_power"), FAST, watts)
    summary = summary_of(recorded(folder, [told]))
    assert summary["valid"]
    return told_against(summary).get("noise")


@pytest.mark.parametrize(
    ("start_s", "end_s", "when"), [(14.0, 30.0, "before"), (14.0, 22.0, "before"), (0.0, 16.0, "after")]
)
def test_a_noisy_power_that_freezes_under_a_steady_load_is_told(
    tmp_path: Path, start_s: float, end_s: float, when: str
) -> None:
    told = told_of(tmp_path, np.where((start_s <= FAST) & (end_s > FAST), 90.337, steady()))
    assert told is not None
    assert told.startswith("nvml/gpu0/power told 90.337 W for ")
    assert f"though the 30 values {when} it were alike and all differed" in told


def test_noise_without_end_is_fine(tmp_path: Path) -> None:
    assert told_of(tmp_path, steady()) is None


@pytest.mark.parametrize("fall_s", [0.0, 0.1, 0.6, 1.0, 3.0])
def test_a_power_that_falls_to_rest_however_slowly_is_fine(tmp_path: Path, fall_s: float) -> None:
    """A driver that averages over a second falls for a second."""
    falling = np.interp(FAST, [14 - fall_s, 14], [1.0, 0.0])
    watts = np.round(31.112 + falling * (steady() - 31.112), 3)
    assert told_of(tmp_path, np.where(FAST >= 14, 31.112, watts)) is None
    decaying = 31.112 + (steady() - 31.112) * np.exp(-np.clip(FAST - 10, 0, None) / max(fall_s, 0.01))
    assert told_of(tmp_path / "again", np.where(FAST >= 14, 31.112, np.round(decaying, 3))) is None


def test_a_load_that_comes_and_goes_and_stays_away_is_fine(tmp_path: Path) -> None:
    working = np.round(30 + 270 * np.random.default_rng(3).random(FAST.size), 3)
    assert told_of(tmp_path, np.where(FAST >= 14, 31.112, working)) is None


@pytest.mark.parametrize("step_w", [0.25, 0.1])
def test_a_steady_power_told_in_steps_may_stay_on_one(tmp_path: Path, step_w: float) -> None:
    assert told_of(tmp_path, np.where(FAST >= 14, 90.0, np.round(steady() / step_w) * step_w)) is None


def test_a_power_that_is_renewed_seldom_is_not_frozen_between_its_updates(tmp_path: Path) -> None:
    assert told_of(tmp_path, steady()[(FAST // 1.5).astype(int)]) is None


def test_a_power_that_often_stays_for_a_while_may_stay_a_while_longer(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    lengths = chance.exponential(1.0, 60).cumsum()
    watts = np.round(90 + chance.normal(0, 0.5, 61), 3)[np.searchsorted(lengths, FAST)]
    watts[(FAST > 12) & (FAST < 18)] = 90.337
    assert told_of(tmp_path, watts) is None
