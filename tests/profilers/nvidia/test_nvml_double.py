"""The NVML stand-in itself: what it answers is its schedule, seen through what a test has set."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from doubles.nvml import NOT_READY, REST_W, RING, SAMPLES, FakeNvml
from doubles.patience import wait_for

MS = 1_000_000


@pytest.fixture
def driver(gpus: Callable[[int], FakeNvml]) -> Iterator[tuple[FakeNvml, Any, Any]]:
    """One GPU, pynvml, and the GPU's handle."""
    import pynvml

    fake = gpus(1)
    pynvml.nvmlInit()
    yield fake, pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlShutdown()


def watch(read: Callable[[], float], changes: int) -> list[tuple[int, int, float]]:
    """Read until so many changes of the value were seen within a millisecond; each with the times around it."""
    seen: list[tuple[int, int, float]] = []
    before, last = time.monotonic_ns(), read()
    while len(seen) < changes:
        asked, value = time.monotonic_ns(), read()
        if value != last and (after := time.monotonic_ns()) - before < MS:
            seen.append((before, after, value))
        before, last = asked, value
    return seen


def test_the_counter_is_the_exact_integral_of_the_schedule_at_each_latch(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).counter_period_ns, fake.gpu(0).gain = 10 * MS, 1.1
    start = fake.set_power(0, 100.0)
    fake.set_power(0, 700.0, start + 35 * MS)
    ticks = watch(lambda: float(nv.nvmlDeviceGetTotalEnergyConsumption(handle)), 5)
    for _, after, millijoules in ticks:
        latches = range(fake._state.start_ns, after + 1, 10 * MS)
        truths = {int(1000 * (1000.0 + 1.1 * fake.energy_j(0, 0, latch))) for latch in latches}
        assert {int(millijoules) - 1, int(millijoules), int(millijoules) + 1} & truths


def test_jitter_moves_each_latch_by_less_than_its_bound(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).counter_period_ns, fake.gpu(0).counter_jitter_ns = 20 * MS, 5 * MS
    fake.set_power(0, 500.0)
    ticks = watch(lambda: float(nv.nvmlDeviceGetTotalEnergyConsumption(handle)), 15)
    middles = [(before + after) // 2 for before, after, _ in ticks]
    offsets = [((t - fake._state.start_ns + 10 * MS) % (20 * MS)) - 10 * MS for t in middles]
    assert max(offsets) - min(offsets) > MS
    assert max(map(abs, offsets)) < 5.5 * MS


def test_power_is_the_mean_over_the_window_before_its_latch(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).power_period_ns, fake.gpu(0).average_window_ns = 1 * MS, 100 * MS
    start = fake.set_power(0, 0.0)
    fake.set_power(0, 400.0, start + 50 * MS)
    time.sleep(0.11)
    before, milliwatts, after = time.monotonic_ns(), nv.nvmlDeviceGetPowerUsage(handle), time.monotonic_ns()
    least, most = (fake.energy_j(0, t - 100 * MS, t) / 0.1 for t in (before - 1 * MS, after))  # it rises until 400 W
    assert least - 0.1 <= milliwatts / 1e3 <= most + 0.1


def test_a_part_time_counter_misses_what_happens_outside_its_window(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).counter_period_ns, fake.gpu(0).counter_window_ns = 20 * MS, 5 * MS
    start = fake._state.start_ns
    for k in range(1, 40):  # load only while the sensor does not look
        fake.set_power(0, 800.0, start + k * 20 * MS)
        fake.set_power(0, 0.0, start + k * 20 * MS + 10 * MS)
    time.sleep(0.2)
    at_rest_mj = int(REST_W * 20)  # until the first pulse
    assert nv.nvmlDeviceGetTotalEnergyConsumption(handle) == 1_000_000 + at_rest_mj
    assert fake.energy_j(0, start, time.monotonic_ns()) > 20


def test_noise_is_the_same_whoever_looks(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).noise_rel = 0.1
    fake.gpu(0).power_period_ns = 10**6 * MS
    fake.set_power(0, 300.0, fake._state.start_ns - 10**10)
    here = {nv.nvmlDeviceGetPowerUsage(handle) for _ in range(5)}
    assert len(here) == 1
    assert here != {300_000}
    assert 270_000 <= here.pop() <= 330_000


def samples_since(nv: Any, handle: Any, last_us: int = 0) -> list[tuple[int, int]]:
    """Ask for the ring's samples newer than this, as (microseconds since 1970, milliwatts)."""
    kind, samples = nv.nvmlDeviceGetSamples(handle, nv.NVML_TOTAL_POWER_SAMPLES, last_us)
    assert kind == nv.NVML_VALUE_TYPE_UNSIGNED_INT
    return [(sample.timeStamp, sample.sampleValue.uiVal) for sample in samples]


def test_the_ring_holds_means_over_the_windows_before_moments_20_ms_apart(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    now = time.monotonic_ns()
    fake._state.start_ns, fake.gpu(0).gain = now - 10_000 * MS, 1.1
    for k in range(130):
        fake.set_power(0, 100.0 + 37 * (k % 11), now - (2600 - 23 * k) * MS)
    samples = samples_since(nv, handle)
    ahead = time.time_ns() - time.monotonic_ns()
    moments = [t * 1000 - ahead for t, _ in samples]
    grid = [fake._state.start_ns + round((t - fake._state.start_ns) / (20 * MS)) * 20 * MS for t in moments]
    assert len(samples) == RING
    assert {late - early for early, late in pairwise(grid)} == {20 * MS}
    assert all(abs(t - exact) < MS for t, exact in zip(moments, grid, strict=True))
    truths = [1.1 * fake.energy_j(0, t - 25 * MS, t) / 0.025 for t in grid]
    assert [milliwatts / 1e3 for _, milliwatts in samples] == pytest.approx(truths, abs=0.002)
    assert fake.gpu(0).sample_calls == 1


def test_asking_again_with_the_last_time_gives_only_what_is_newer(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake._state.start_ns, fake.gpu(0).samples_period_ns = time.monotonic_ns() - 25_000 * MS, 10_000 * MS
    seen = samples_since(nv, handle)
    assert [t - seen[0][0] for t, _ in seen] == [0, 10_000_000, 20_000_000]  # and none from before the start
    assert samples_since(nv, handle, seen[0][0]) == seen[1:]
    with pytest.raises(nv.NVMLError_NotFound):
        samples_since(nv, handle, seen[-1][0])
    fake._state.start_ns -= 7_000 * MS  # as if these had gone by
    assert [t - seen[-1][0] for t, _ in samples_since(nv, handle, seen[-1][0])] == [3_000_000]


def test_a_gpu_without_the_ring_does_not_support_samples(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    with pytest.raises(nv.NVMLError_NotSupported):
        nv.nvmlDeviceGetSamples(handle, nv.NVML_GPU_UTILIZATION_SAMPLES, 0)
    fake.gpu(0).samples_period_ns = 0
    with pytest.raises(nv.NVMLError_NotSupported):
        samples_since(nv, handle)
    fake.fail(0, SAMPLES, NOT_READY)
    with pytest.raises(nv.NVMLError, match="not in ready state"):
        samples_since(nv, handle)
    assert fake.gpu(0).sample_calls == 0


def test_only_the_energy_call_is_slow_where_energy_is_slow(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, nv, handle = driver
    fake.gpu(0).energy_latency_ns = 30 * MS

    def took_ns(call: Callable[[], object]) -> int:
        before = time.monotonic_ns()
        call()
        return time.monotonic_ns() - before

    slow: list[Callable[[], object]] = [
        lambda: nv.nvmlDeviceGetTotalEnergyConsumption(handle),
        lambda: nv.nvmlDeviceGetFieldValues(handle, [83]),
    ]
    quick: list[Callable[[], object]] = [
        lambda: nv.nvmlDeviceGetPowerUsage(handle),
        lambda: nv.nvmlDeviceGetFieldValues(handle, [(186, 0)]),
        lambda: nv.nvmlDeviceGetTemperature(handle, 0),
        lambda: samples_since(nv, handle),
    ]
    assert all(took_ns(call) >= 30 * MS for call in slow)
    for call in quick:
        wait_for(lambda call=call: took_ns(call) < 30 * MS)  # type: ignore[misc]


def test_another_process_can_set_the_power(driver: tuple[FakeNvml, Any, Any]) -> None:
    fake, _, _ = driver
    code = (
        "import sys, pathlib; from doubles.nvml import FakeNvml; FakeNvml(pathlib.Path(sys.argv[1])).set_power(0, 123)"
    )
    before = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", code, str(fake.folder)], cwd=Path(__file__).parents[2], check=True)
    now = time.monotonic_ns()
    assert 0 < fake.energy_j(0, before, now) <= 123 * (now - before) / 1e9
