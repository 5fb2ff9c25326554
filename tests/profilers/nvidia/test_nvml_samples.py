"""GPUs whose energy counter takes milliseconds of a core to answer, as an H200's does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doubles.nvml import SAMPLES, FakeNvml
from doubles.patience import undisturbed
from doubles.reading import named, opened

from ipw.clock import now_ns
from ipw.energy.curve import energy_at
from ipw.profilers.base import Reading, Sensor
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.nvidia.samples import LAG_NS, wall_clock_ahead_ns
from ipw.profilers.sampler.handle import Sampler
from ipw.runs.curves import curves_of
from ipw.runs.readings import RECORD_FIELDS

Gpus = Callable[[int], FakeNvml]
SLOW_NS, GPU_IS_LOST = 3_000_000, 15


@pytest.fixture
def gpu(gpus: Gpus) -> FakeNvml:
    """One GPU that was on for ten seconds."""
    fake = gpus(1)
    fake._state.start_ns -= 10**10
    fake.set_power(0, 100.0, fake._state.start_ns)
    fake.gpu(0).energy_latency_ns = SLOW_NS
    return fake


def open_nvml() -> Sensor:
    (sensor,) = find("nvml")
    return sensor


def read_all(sensor: Sensor, name: str) -> list[Reading]:
    index = next(i for i, channel in enumerate(sensor.channels) if channel.name == name)
    found = []
    while reading := sensor.read(index):
        found.append(reading)
    return found


def test_a_slow_counter_is_shaped_by_the_drivers_own_samples_and_stays_the_basis(gpu: FakeNvml) -> None:
    with opened(open_nvml()) as sensor:
        counter, samples = named(sensor, "nvml/gpu0"), named(sensor, "nvml/gpu0/samples")
        assert counter.shape == samples.name
        assert "slow to answer" in (counter.note or "")
        assert (samples.kind, samples.included_in) == ("power", counter.name)
        assert samples.update_period_s == pytest.approx(0.02, abs=1e-4)
        assert choose_basis(sensor.channels) == ("gpu", frozenset({"nvml/gpu0"}), None)


@pytest.mark.parametrize(("latency_ns", "period_ns"), [(0, 20_000_000), (SLOW_NS, 0), (SLOW_NS, 1_000_000_000)])
def test_a_quick_counter_and_one_beside_no_fine_samples_are_read_at_every_tick(
    gpu: FakeNvml, latency_ns: int, period_ns: int
) -> None:
    gpu.gpu(0).energy_latency_ns, gpu.gpu(0).samples_period_ns = latency_ns, period_ns
    with opened(open_nvml()) as sensor:
        assert named(sensor, "nvml/gpu0").shape is None
        assert "nvml/gpu0/samples" not in {channel.name for channel in sensor.channels}


def test_each_sample_comes_once_at_its_time(gpu: FakeNvml) -> None:
    def timely() -> None:
        with opened(open_nvml()) as sensor:
            read_all(sensor, "nvml/gpu0/samples")
            rise_ns = gpu.set_power(0, 500.0)
            time.sleep(0.9)
            new = read_all(sensor, "nvml/gpu0/samples")
            assert new
            assert new[-1].t_ns > rise_ns + 0.8e9
            assert np.diff([reading.t_ns for reading in new]) == pytest.approx(20e6, abs=1e6)
            grid = [(r.t_ns + LAG_NS - gpu._state.start_ns) / 20e6 for r in new]
            assert np.median(np.abs(np.array(grid) - np.rint(grid))) < 0.06
            after = [r.value for r in new if r.t_ns > rise_ns + 30e6]
            assert len(after) > 30
            assert after == pytest.approx([500.0] * len(after), abs=0.01)  # whole milliwatts

    undisturbed(timely)


def test_the_driver_is_asked_for_samples_every_25_ms_at_most_and_only_when_all_were_given(
    gpu: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pynvml

    asked_ns: list[int] = []
    begun_ns: list[int] = []
    real = pynvml.nvmlDeviceGetSamples

    def counting(*arguments: object) -> object:
        asked_ns.append(now_ns())
        begun_ns.append(before_ns)
        return real(*arguments)

    with opened(open_nvml()) as sensor:
        index = next(i for i, channel in enumerate(sensor.channels) if channel.name == "nvml/gpu0/samples")
        monkeypatch.setattr(pynvml, "nvmlDeviceGetSamples", counting)
        before_ns = now_ns()
        assert len([sensor.read(index) for _ in range(20)]) == 20  # what opening found is given first
        assert asked_ns == []
        read_all(sensor, "nvml/gpu0/samples")
        end_ns = now_ns() + 10_000_000_000
        while len(asked_ns) < 4 and (before_ns := now_ns()) < end_ns:
            sensor.read(index)
    assert len(asked_ns) == 4
    # The 25 ms count from some moment between the begin of a read and its call of the driver.
    assert all(asked - begun >= 25_000_000 for begun, asked in zip(begun_ns, asked_ns[1:], strict=False))


def test_samples_around_a_step_of_the_wall_clock_are_left_out(gpu: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(open_nvml()) as sensor:
        read_all(sensor, "nvml/gpu0/samples")
        time.sleep(0.1)
        ahead_ns = wall_clock_ahead_ns() + 10**9
        monkeypatch.setattr("ipw.profilers.nvidia.samples.time.time_ns", lambda: time.monotonic_ns() + ahead_ns)
        assert read_all(sensor, "nvml/gpu0/samples") == []


def test_a_gpu_that_is_lost_says_so(gpu: FakeNvml) -> None:
    with opened(open_nvml()) as sensor:
        read_all(sensor, "nvml/gpu0/samples")
        gpu.fail(0, SAMPLES, GPU_IS_LOST)
        time.sleep(0.1)
        with pytest.raises(Exception, match="GPU is lost"):
            read_all(sensor, "nvml/gpu0/samples")


def test_short_bursts_are_seen_though_the_counter_is_asked_twice_a_second_at_most(
    gpu: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in gpu.environment().items():
        monkeypatch.setenv(variable, value)

    def seen() -> None:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        sampler = Sampler.start(folder, "nvml")
        time.sleep(4.0)  # until the counter is known
        before, start_ns, edges = gpu.gpu(0).energy_calls, time.monotonic_ns(), []
        for _ in range(8):
            begin_ns = gpu.set_power(0, 600.0)
            time.sleep(0.3)
            edges.append((begin_ns, gpu.set_power(0, 100.0)))
            time.sleep(0.2)
        seconds, calls = (time.monotonic_ns() - start_ns) / 1e9, gpu.gpu(0).energy_calls - before
        stats = sampler.stop()
        readings = np.fromfile(folder / "power.bin", np.dtype(RECORD_FIELDS))
        found = curves_of(readings, sampler.channels)["nvml/gpu0"]
        begin, end = np.array(edges).T
        told = energy_at(found, end) - energy_at(found, begin)
        truth = [gpu.energy_j(0, *each) for each in edges]
        assert told == pytest.approx(truth, rel=0.06)
        whole = [gpu.energy_j(0, int(found.t_ns[0]), int(found.t_ns[-1]))]
        assert found.energy_j[-1] == pytest.approx(whole[0], rel=0.005)
        assert calls / seconds < 8, stats  # a machine that is busy finds the tick anew, and asks more often meanwhile
        plain = curves_of(readings, [replaced | {"shape": None} for replaced in sampler.channels])["nvml/gpu0"]
        blurred = energy_at(plain, end) - energy_at(plain, begin)
        assert np.abs(blurred / truth - 1).max() > 0.1  # what the samples are for

    undisturbed(seen)
