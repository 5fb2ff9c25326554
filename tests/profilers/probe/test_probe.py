"""The probe, against GPUs whose sensors are known: one counts everything, the other looks away for most of the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Self

import pytest
from doubles.clock import Clock
from doubles.machines import NOTHING
from doubles.nvml import ANY, GPU_IS_LOST, FakeNvml
from doubles.patience import undisturbed

from ipw.clock import now_ns
from ipw.profilers import base, opening
from ipw.profilers.base import Channel
from ipw.profilers.discovery import find
from ipw.profilers.nvidia import nvml, samples
from ipw.profilers.probe import probe as probing
from ipw.profilers.probe.loads import Load, Pulses
from ipw.profilers.probe.probe import UNDER_LOAD, Probed, probe
from ipw.profilers.probe.profile import Profile

PERIOD_NS = 20_000_000
PROBED = ("nvml/gpu0", "nvml/gpu0/power", "nvml/gpu1")
NO_LOAD = "no load on this one"


def load_on(fake: FakeNvml, gpu: int) -> Load:
    def play(pulses: Pulses) -> Pulses:
        for start, end in pulses:
            fake.set_power(gpu, 300.0, start)
            fake.set_power(gpu, 60.0, end)
        return pulses

    return play


class AtOnce:
    """In the place of a pool of threads: a load that only says what will be drawn is done before the watch begins."""

    def __init__(self, _threads: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, load: Load, pulses: Pulses) -> Future[Pulses]:
        done = Future[Pulses]()
        done.set_result(load(pulses))
        return done


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Probed:
    """What was found, by a clock that goes on by a fiftieth of a millisecond each time that somebody looks at it."""
    fake = FakeNvml.create(tmp_path_factory.mktemp("nvml"), 2)
    for i in (0, 1):
        gpu = fake.gpu(i)
        gpu.counter_period_ns = gpu.power_period_ns = PERIOD_NS
        gpu.instant_window_ns = PERIOD_NS // 4
        fake.set_power(i, 60.0)
    fake.gpu(1).counter_window_ns = PERIOD_NS // 4

    def load_for(channel: Channel) -> Load | str:
        return load_on(fake, int(channel.name.removeprefix("nvml/gpu")[0])) if channel.name in PROBED else NO_LOAD

    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(tick_ns=20_000)
        clock.t_ns = time.monotonic_ns()
        clock.tells.append(fake.set_clock)
        for module in (probing, opening, base, nvml, samples):
            clock.drives(module, patch)
        patch.setattr(probing, "ThreadPoolExecutor", AtOnce)
        for variable, value in (NOTHING | fake.environment()).items():
            patch.setenv(variable, value)
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        fake.preload()
        (sensor,) = find("nvml")
        found = probe([sensor], load_for, 1.0)
        sensor.close()
    return found


def of(probed: Probed, name: str) -> Profile:
    return next(profile for profile in probed.profiles if profile.channel == name)


def test_every_channel_in_joules_or_watts_has_a_profile_and_no_gauge_has(probed: Probed) -> None:
    assert [p.channel for p in probed.profiles] == ["nvml/gpu0", "nvml/gpu0/power", "nvml/gpu1", "nvml/gpu1/power"]
    assert all("GPU-0000000" in p.device and p.driver == "NVIDIA 580.95.05" for p in probed.profiles)


@pytest.mark.parametrize("name", PROBED)
def test_period_cost_and_idle_power_are_measured(probed: Probed, name: str) -> None:
    profile = of(probed, name)
    assert profile.update_period_s == pytest.approx(0.02, rel=0.05)
    assert 0 < (profile.read_cost_s or 0) < 0.01
    assert profile.idle_power_w == pytest.approx(60.0, rel=0.05)
    assert profile.idle_drift_w == pytest.approx(0.0, abs=3.0)


def test_a_counter_that_counts_everything_looks_at_its_whole_period_whatever_the_phase(probed: Probed) -> None:
    profile = of(probed, "nvml/gpu0")
    assert (profile.window_s or 0) > 0.015  # of 20 ms; how exactly a window is found is tested without a clock
    assert profile.part_time is False
    assert profile.resolution == 0.001


@pytest.mark.parametrize("name", ["nvml/gpu0/power", "nvml/gpu1"])
def test_a_sensor_that_looks_at_a_quarter_of_the_time_is_found_out(probed: Probed, name: str) -> None:
    profile = of(probed, name)
    assert 0 < (profile.window_s or 0) < 0.01
    assert profile.part_time is True
    assert (profile.phase_spread or 0) > 1


def test_without_a_load_the_part_time_check_is_absent_with_the_reason(probed: Probed) -> None:
    profile = of(probed, "nvml/gpu1/power")
    assert profile.part_time is profile.window_s is profile.rise_s is profile.phase_spread is None
    assert {profile.reasons[name] for name in UNDER_LOAD} == {NO_LOAD}


def test_what_is_absent_has_a_reason_and_what_is_there_has_none(probed: Probed) -> None:
    for profile in probed.profiles:
        measured = ("update_period_s", "resolution", "idle_power_w", "idle_drift_w", "idle_noise_w", *UNDER_LOAD)
        assert {name for name in measured if getattr(profile, name) is None} == profile.reasons.keys()


def test_the_raw_readings_of_every_stage_come_with_the_profiles(probed: Probed) -> None:
    stages = {(r.channel, r.stage) for r in probed.recordings}
    assert {stage for channel, stage in stages if channel == "nvml/gpu0"} == {"rest", "irregular", "step", "phases"}
    assert {stage for channel, stage in stages if channel == "nvml/gpu1/power"} == {"rest"}


def test_a_gpu_lost_during_the_probe_is_told_and_not_guessed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeNvml.create(tmp_path / "nvml")
    monkeypatch.setenv("IPW_FAKE_NVML", str(fake.folder))
    fake.preload()
    (sensor,) = find("nvml")
    fake.fail(0, ANY, GPU_IS_LOST, from_ns=now_ns() + 150_000_000)
    profile, *_ = probe([sensor], lambda _: NO_LOAD, 0.4).profiles
    sensor.close()
    assert profile.idle_power_w is profile.part_time is None
    assert profile.reasons["part_time"] == "NVML: GPU is lost"


def test_a_stream_is_renewed_as_often_as_it_has_something_new(machine: Callable[[str], None]) -> None:
    machine("powermetrics")

    def renewed() -> None:
        (sensor,) = find("powermetrics")
        profiles = {p.channel: p for p in probe([sensor], lambda _: NO_LOAD, 1.5).profiles}
        sensor.close()
        soc = profiles["powermetrics/soc"]
        assert 0.025 < (soc.update_period_s or 0) < 0.06
        assert soc.idle_power_w == pytest.approx(7.5, rel=0.2)

    undisturbed(renewed)
