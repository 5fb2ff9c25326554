"""The sampler on a simulated clock, from the first read to the knots: what it costs, and where it puts each tick."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ipw.energy.knots import ticks_of, usable
from ipw.profilers.base import Channel, Reading
from ipw.profilers.sampler.lane import PowerFile
from ipw.profilers.sampler.process import SamplerLoop
from ipw.runs.readings import RECORD_FIELDS

MS, S = 1_000_000, 1_000_000_000
JOULES, READ_NS = 30.0, 8_000
SPREAD_MS = [3 + 12.5 * i for i in range(8)]
LEARNED_S, OPEN_S = 3.0, 2.0
"""What is looked at begins after the sampler has learned, and ends before the last of the ticks that it watched."""


class Machine:
    """Counters that count 30 J at each tick, and a clock that goes on when they are read."""

    def __init__(self, ticks: Sequence[Sequence[int]]) -> None:
        self.now_ns = 0
        self._ticks = ticks
        self.channels: Sequence[Channel] = [
            Channel(name=f"nvml/gpu{i}", kind="counter", scope="gpu", method="counter", ticks=True)
            for i in range(len(ticks))
        ]

    def read(self, index: int) -> Reading:
        self.now_ns += READ_NS
        count = bisect_right(self._ticks[index], self.now_ns - READ_NS // 2)
        return Reading(self.now_ns - READ_NS // 2, JOULES * count, READ_NS // 2)

    def close(self) -> None:
        pass


@dataclass
class Sampled:
    """What came of a run: of the knots of all counters."""

    error_ms: np.ndarray
    claimed_ms: np.ndarray
    seen: float
    """Knots per true tick."""
    wakeups_per_s: float
    learning_wakeups: int

    @property
    def covered(self) -> float:
        return float(np.mean(self.error_ms <= self.claimed_ms + 1e-3))

    def error_percentile(self, q: float) -> float:
        return float(np.percentile(self.error_ms, q))


def grid(
    period_ms: float, phase_ms: float, until_s: float, *, jitter_ms: float = 0.0, drift: float = 0.0,
    skipped: float = 0.0, jump_at_s: float = 1e9, jump_ms: float = 0.0,
) -> list[int]:  # fmt: skip
    """Ticks on a grid, some late or early, some left out, with a period that drifts and a phase that jumps once."""
    chance = random.Random(phase_ms)
    ticks, at_ms = [], phase_ms
    while at_ms < until_s * 1e3:
        if chance.random() >= skipped:
            ticks.append(int((at_ms + chance.uniform(-jitter_ms, jitter_ms)) * MS))
        period_ms *= 1 + drift
        at_ms += period_ms + (jump_ms if at_ms < jump_at_s * 1e3 <= at_ms + period_ms else 0)
    return sorted(ticks)


def sample(path: Path, ticks: Sequence[Sequence[int]], seconds: float, *, wake_us: float = 80) -> Sampled:
    """Run the sampler's loop; the process wakes some time after it wanted to."""
    machine, lateness = Machine(ticks), random.Random(1)
    file = PowerFile(path)
    sampling = SamplerLoop([machine], file, 0)
    due_ns, woken = 0, []
    while machine.now_ns < seconds * S:
        if due_ns > machine.now_ns:
            machine.now_ns = due_ns + 20_000 + int(lateness.expovariate(1e-3 / wake_us))
            woken.append(machine.now_ns)
        due_ns = sampling.read(machine.now_ns)
    file.flush()
    file.close()
    learning = bisect_right(woken, int(LEARNED_S * S))
    errors, claims, true = [], [], 0
    readings = np.fromfile(path, np.dtype(RECORD_FIELDS))
    for i, truth in enumerate(ticks):
        mine = readings[readings["channel"] == i]
        at, value, half, _ = usable(*(mine[name] for name in ("t_ns", "value", "status", "uncertainty_ns")))
        at, value, half = ticks_of(at, value, half)
        inside = (at > LEARNED_S * S) & (at < (seconds - OPEN_S) * S)
        errors.append(np.abs(at - np.array(truth)[np.rint(value / JOULES).astype(int) - 1])[inside] / MS)
        claims.append(half[inside] / MS)
        true += bisect_right(truth, int((seconds - OPEN_S) * S)) - bisect_right(truth, int(LEARNED_S * S))
    error_ms = np.concatenate(errors)
    wakeups_per_s = (len(woken) - learning) / (seconds - LEARNED_S)
    return Sampled(error_ms, np.concatenate(claims), error_ms.size / true, wakeups_per_s, learning)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "power.bin"


@pytest.mark.parametrize("phases_ms", [[3.0] * 8, SPREAD_MS], ids=["in phase", "each at its own phase"])
def test_eight_steady_counters_cost_20_wakeups_a_second_and_each_tick_is_placed_within_2_ms(
    path: Path, phases_ms: list[float]
) -> None:
    seen = sample(path, [grid(100, phase, 21) for phase in phases_ms], 20)
    assert seen.wakeups_per_s < 20
    assert seen.learning_wakeups < 400
    assert seen.error_percentile(50) < 0.5
    assert seen.error_percentile(99) < 1.5
    assert seen.covered > 0.995
    assert seen.seen > 0.99


def test_periods_of_their_own_cost_hardly_more(path: Path) -> None:
    seen = sample(path, [grid(100 + 0.3 * i, phase, 21) for i, phase in enumerate(SPREAD_MS)], 20)
    assert seen.wakeups_per_s < 24
    assert seen.error_percentile(95) < 2
    assert seen.covered > 0.99


@pytest.mark.parametrize("jitter_ms", [0.3, 1.0, 3.0])
def test_ticks_that_jitter_stay_within_the_uncertainty_that_is_claimed(path: Path, jitter_ms: float) -> None:
    seen = sample(path, [grid(100, phase, 31, jitter_ms=jitter_ms) for phase in SPREAD_MS], 30)
    assert seen.covered > 0.97
    assert seen.error_percentile(95) < 1 + 1.5 * jitter_ms
    assert np.median(seen.claimed_ms) < 2 + 3 * jitter_ms
    assert seen.seen > 0.98


@pytest.mark.parametrize("drift", [1e-5, -1e-5, 1e-4])
def test_a_period_that_drifts_is_followed(path: Path, drift: float) -> None:
    seen = sample(path, [grid(100, phase, 21, drift=drift) for phase in SPREAD_MS], 20)
    assert seen.error_percentile(95) < 2
    assert seen.covered > 0.99


@pytest.mark.parametrize("jump_ms", [30.0, -30.0, 6.0])
def test_a_phase_that_jumps_is_found_again_and_what_lay_between_is_told_as_uncertain(
    path: Path, jump_ms: float
) -> None:
    ticks = [grid(100, phase, 31, jump_at_s=12 + 0.3 * i, jump_ms=jump_ms) for i, phase in enumerate(SPREAD_MS)]
    seen = sample(path, ticks, 30)
    assert seen.covered > 0.99
    assert seen.error_percentile(84) < 2


def test_updates_that_are_left_out_misplace_nothing(path: Path) -> None:
    seen = sample(path, [grid(100, phase, 31, skipped=0.02) for phase in SPREAD_MS], 30)
    assert seen.covered > 0.99
    assert seen.error_percentile(95) < 2
    assert seen.seen > 0.97


@pytest.mark.parametrize(("before_ms", "after_ms"), [(20, 100), (100, 20)])
def test_a_period_that_changes_does_not_carry_the_old_grid_on(path: Path, before_ms: float, after_ms: float) -> None:
    seen = sample(path, [grid(before_ms, 5, 10) + grid(after_ms, 10_005, 21)], 20)
    assert seen.covered > 0.99
    assert seen.error_percentile(85) < 2


def test_a_process_that_wakes_late_misplaces_nothing(path: Path) -> None:
    seen = sample(path, [grid(100, phase, 21) for phase in SPREAD_MS], 20, wake_us=1_500)
    assert seen.covered > 0.99
