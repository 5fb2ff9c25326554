"""The NVML stand-in itself: what it answers is its schedule, seen through what a test has set."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.nvml import FakeNvml

MS = 1_000_000


@pytest.fixture
def driver(gpus: Callable[[int], FakeNvml]) -> Iterator[tuple[FakeNvml, Any, Any]]:
    """One GPU, pynvml, and the GPU's handle."""
    import pynvml

    fake = gpus(1)
    pynvml.nvmlInit()
    yield fake, pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlShutdown()


def watch(read: Callable[[], float], seconds: float) -> list[tuple[int, float]]:
    """Read until the time is over, keeping each moment at which the value changed."""
    seen: list[tuple[int, float]] = []
    end = time.monotonic() + seconds
    last = read()
    while time.monotonic() < end:
        now, value = time.monotonic_ns(), read()
        if value != last:
            seen.append((now, value))
        last = value
    return seen


def test_the_counter_is_the_exact_integral_of_the_schedule_at_each_latch(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).counter_period_ns, fake.gpu(0).gain = 10 * MS, 1.1
    start = fake.set_power(0, 100.0)
    fake.set_power(0, 700.0, start + 35 * MS)
    ticks = watch(lambda: float(nv.nvmlDeviceGetTotalEnergyConsumption(handle)), 0.1)
    latches = [fake._state.start_ns + k * 10 * MS for k in range(100)]
    truths = {int(1000 * (1000.0 + 1.1 * fake.energy_j(0, 0, latch))) for latch in latches}
    assert len(ticks) >= 8
    assert all({int(millijoules) - 1, int(millijoules), int(millijoules) + 1} & truths for _, millijoules in ticks)


def test_jitter_moves_each_latch_by_less_than_its_bound(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).counter_period_ns, fake.gpu(0).counter_jitter_ns = 20 * MS, 5 * MS
    fake.set_power(0, 500.0)
    ticks = watch(lambda: float(nv.nvmlDeviceGetTotalEnergyConsumption(handle)), 0.3)
    offsets = [((t - fake._state.start_ns + 10 * MS) % (20 * MS)) - 10 * MS for t, _ in ticks]
    assert max(offsets) - min(offsets) > MS
    assert sorted(abs(offset) for offset in offsets)[len(offsets) // 2] < 5 * MS


def test_power_is_the_mean_over_the_window_before_its_latch(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).power_period_ns, fake.gpu(0).average_window_ns = 1 * MS, 100 * MS
    start = fake.set_power(0, 0.0)
    fake.set_power(0, 400.0, start + 50 * MS)
    time.sleep(0.11)
    milliwatts, now = nv.nvmlDeviceGetPowerUsage(handle), time.monotonic_ns()
    assert milliwatts / 1e3 == pytest.approx(fake.energy_j(0, now - 100 * MS, now) / 0.1, abs=20.0)


def test_a_part_time_counter_misses_what_happens_outside_its_window(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).counter_period_ns, fake.gpu(0).counter_window_ns = 20 * MS, 5 * MS
    start = fake._state.start_ns
    for k in range(1, 40):  # load only while the sensor does not look
        fake.set_power(0, 800.0, start + k * 20 * MS)
        fake.set_power(0, 0.0, start + k * 20 * MS + 10 * MS)
    time.sleep(0.2)
    assert nv.nvmlDeviceGetTotalEnergyConsumption(handle) == 1_000_000
    assert fake.energy_j(0, start, time.monotonic_ns()) > 20


def test_noise_is_the_same_whoever_looks(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).noise_rel = 0.1
    fake.gpu(0).power_period_ns = 500 * MS
    fake.set_power(0, 300.0, fake._state.start_ns - 10**10)
    here = {nv.nvmlDeviceGetPowerUsage(handle) for _ in range(5)}
    assert len(here) == 1
    assert here != {300_000}
    assert 270_000 <= here.pop() <= 330_000


def test_another_process_can_set_the_power(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, _, _ = driver
    code = (
        "import sys, pathlib; from doubles.nvml import FakeNvml; FakeNvml(pathlib.Path(sys.argv[1])).set_power(0, 123)"
    )
    before = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", code, str(fake.folder)], cwd=Path(__file__).parents[1], check=True)
    now = time.monotonic_ns()
    assert 0 < fake.energy_j(0, before, now) <= 123 * (now - before) / 1e9
