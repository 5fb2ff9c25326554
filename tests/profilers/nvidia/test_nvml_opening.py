"""What opening NVML comes to: drivers that do not start, GPUs that tell their power late or in one way only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from doubles import nvml as double
from doubles.clock import Clock
from doubles.nvml import FakeNvml
from doubles.reading import named, opened, value

from ipw.profilers.nvidia import nvml
from ipw.profilers.nvidia.gpus import foreign_processes

Gpus = Callable[[int], FakeNvml]
SMI, REBOOT = "`nvidia-smi` tells whether the driver works", "the driver was updated under the running kernel: reboot"


@pytest.mark.parametrize(
    ("error", "status", "reason", "hint"),
    [
        (pynvml.NVMLError(12), "absent", "no NVIDIA driver here (libnvidia-ml.so.1 is not found)", None),
        (pynvml.NVMLError(9), "absent", "NVML does not start: Driver Not Loaded", SMI),
        (pynvml.NVMLError(18), "lost", "NVML does not start: RM has detected an NVML/RM version mismatch.", REBOOT),
        (pynvml.NVMLError(4), "lost", "NVML does not start: Insufficient Permissions", SMI),
        (RuntimeError("odd"), "lost", "NVML does not start: RuntimeError: odd", SMI),
    ],
)
def test_a_driver_that_does_not_start_says_why_and_nobody_is_said_to_use_its_gpus(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, reason: str, hint: str | None
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=fails, _nvmlGetFunctionPointer=None))
    (channel,) = nvml.open_sensor().channels
    assert (channel.name, channel.status, channel.reason) == ("nvml", status, reason)
    assert (channel.hint or "").startswith(hint or "")
    assert (channel.hint is None) == (hint is None)
    assert foreign_processes(()) == []


@pytest.mark.parametrize("module", [None, SimpleNamespace(nvmlInit=lambda: None)], ids=["missing", "another package"])
def test_without_nvidias_own_binding_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    (channel,) = nvml.open_sensor().channels
    assert (channel.status, bool(channel.hint)) == ("absent" if module is None else "unsupported", True)
    assert foreign_processes(()) == []


def rising(fake: FakeNvml, at_s: float, patch: pytest.MonkeyPatch) -> Clock:
    """Let a GPU without a counter show no power until so long after the first look, by a clock that sleeping moves."""
    fake.fail(0, double.ENERGY, double.NOT_SUPPORTED)
    fake.gpu(0).gain = 0.0
    clock = Clock(0)
    begun_ns = clock.t_ns

    def tell(t_ns: int) -> None:
        fake.gpu(0).gain = 1.0 if t_ns - begun_ns >= at_s * 1e9 else 0.0

    clock.tells.append(tell)
    patch.setattr(nvml, "time", SimpleNamespace(sleep=clock.sleep))
    return clock


@pytest.mark.parametrize(("at_s", "status"), [(0.0, "ok"), (0.11, "ok"), (0.2, "unsupported")])
def test_a_gpu_that_answers_0_watts_is_asked_once_more_a_little_later_than_an_update(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch, at_s: float, status: str
) -> None:
    fake = gpus(1)
    clock = rising(fake, at_s, monkeypatch)
    begun_ns = clock.t_ns
    fake.gpu(0).gain = 0.0 if at_s else 1.0
    with opened(nvml.open_sensor()) as sensor:
        assert named(sensor, "nvml/gpu0/power").status == status
    waited_s = (clock.t_ns - begun_ns) / 1e9
    assert 0.1 < waited_s < 0.2 if at_s else waited_s == 0.0


@pytest.mark.parametrize(
    ("fails", "of_gpu", "reason"),
    [
        ({}, 0.0, "it answers 0 W"),
        ({double.POWER_INSTANT: 3, double.POWER_AVERAGE: 3}, 0.0, "it answers 0 W"),
        ({double.POWER_INSTANT: 3, double.POWER_AVERAGE: 3, double.POWER_USAGE: 4}, 1.0, "Insufficient Permissions"),
        ({double.POWER_AVERAGE: 3, double.POWER_USAGE: 4}, 0.0, "it answers 0 W"),
    ],
)
def test_of_several_ways_that_fail_the_one_that_answers_0_is_told_and_else_the_last(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch, fails: dict[int, int], of_gpu: float, reason: str
) -> None:
    fake = gpus(1)
    rising(fake, 1e9, monkeypatch)
    fake.gpu(0).gain = of_gpu
    for call, error in fails.items():
        fake.fail(0, call, error)
    with opened(nvml.open_sensor()) as sensor:
        power = named(sensor, "nvml/gpu0/power")
        assert power.reason
        assert power.reason.endswith(reason)
        assert power.included_in is None
        assert (power.hint or "").startswith(SMI)


@pytest.mark.parametrize("watts", [123.456, 0.4])
@pytest.mark.parametrize("fails", [(), (double.POWER_INSTANT,), (double.POWER_INSTANT, double.POWER_AVERAGE)])
def test_each_way_to_ask_for_power_is_asked_in_milliwatts(gpus: Gpus, fails: tuple[int, ...], watts: float) -> None:
    fake = gpus(1)
    fake._state.start_ns -= 10**10
    fake.set_power(0, watts, fake._state.start_ns)
    for call in fails:
        fake.fail(0, call, double.NOT_SUPPORTED)
    with opened(nvml.open_sensor()) as sensor:
        assert value(sensor, "nvml/gpu0/power") == pytest.approx(
            watts, abs=0.0015
        )  # whole milliwatts, and rounded down


def test_a_gpu_whose_counter_is_missing_is_read_fifty_times_a_second(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.gpu(0).memory_share = 0.2
    fake.fail(0, double.ENERGY, double.NOT_SUPPORTED)
    with opened(nvml.open_sensor()) as sensor:
        assert named(sensor, "nvml/gpu0/power").poll_s == 0.02
        assert named(sensor, "nvml/gpu0/memory").included_in == "nvml/gpu0/power"


def test_a_slow_counter_is_shaped_by_its_samples_which_are_fetched_by_the_dozen(gpus: Gpus) -> None:
    fake = gpus(1)
    fake._state.start_ns -= 10**10
    fake.set_power(0, 100.0, fake._state.start_ns)
    fake.gpu(0).energy_latency_ns = 3_000_000
    with opened(nvml.open_sensor()) as sensor:
        counter, samples = named(sensor, "nvml/gpu0"), named(sensor, "nvml/gpu0/samples")
        assert (counter.shape, samples.included_in, samples.kind) == (samples.name, counter.name, "power")
        assert samples.poll_s == 0.4


def test_a_bystander_is_read_once_a_second_and_nothing_else_of_it(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with opened(nvml.open_sensor()) as sensor:
        (bystander,) = [channel for channel in sensor.channels if channel.part == "nvml/gpu1"]
        assert (bystander.kind, bystander.poll_s, bystander.asked) == ("gauge", 1.0, False)
        assert bystander.note == "bystander: not visible to CUDA"
        assert bystander.driver == "NVIDIA 580.95.05"
        assert named(sensor, "nvml/gpu0").asked
