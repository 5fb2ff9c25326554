"""The stages of a probe: who is watched for how long, what a load plays, and what is told where nothing is measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from doubles.clock import Clock
from profilers.probe.test_probe import AtOnce

from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.probe import loads
from ipw.profilers.probe import probe as probing
from ipw.profilers.probe.loads import Load, Pulses, gpu_load
from ipw.profilers.probe.probe import UNDER_LOAD, probe, watch
from ipw.profilers.sources import Sources, unreadable

MS, SECOND, TICK_NS = 1_000_000, 1_000_000_000, 10_000
POWER = Channel(name="made/a", kind="power", scope="gpu", method="integrated_power", unit="W", device="d", driver="v")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(TICK_NS)
    for module in (probing, loads):
        clock.drives(module, monkeypatch)
    monkeypatch.setattr(probing, "ThreadPoolExecutor", AtOnce)
    return clock


# --- watching ---------------------------------------------------------------------------------------------------------


def test_channels_are_read_in_turn_with_a_pause_and_one_that_fails_is_left_out(clock: Clock) -> None:
    began, asked = clock.t_ns, list[str]()

    def good() -> Reading | None:
        asked.append("good")
        return Reading(clock.t_ns, 5.0, 7) if len(asked) % 3 else None

    def fails() -> Reading:
        asked.append("fails")
        if clock.t_ns > began + 30 * MS:
            raise SensorError("lost", "gone")
        return Reading(clock.t_ns, 6.0, 8)

    one, two = watch([good, fails], 0.1, 0.005)
    assert asked[:4] == ["good", "fails", "good", "fails"]
    assert (one.failed, two.failed) == (None, "gone")
    assert asked.count("good") == pytest.approx(100 / 5.05, abs=1)
    assert asked.count("fails") == pytest.approx(30 / 5.05, abs=1.5)
    assert two.t_ns.size == asked.count("fails") - 1
    assert one.asked_every_ns == two.asked_every_ns == pytest.approx(5.05 * MS, rel=0.01)
    assert set(one.cost_ns) == set(two.cost_ns) == {TICK_NS}
    assert (set(one.value), set(one.half_ns), set(two.value), set(two.half_ns)) == ({5.0}, {7}, {6.0}, {8})
    assert one.t_ns[-1] - began == pytest.approx(100 * MS, abs=11 * MS)  # now and then it had nothing to tell


def test_where_all_have_failed_the_watch_is_over_and_empty_traces_have_no_readings(clock: Clock) -> None:
    def fails() -> Reading:
        raise SensorError("lost", "gone")

    began = clock.t_ns
    (trace,) = watch([fails], 100.0)
    assert (trace.t_ns.size, trace.value.size, trace.failed) == (0, 0, "gone")
    assert clock.t_ns - began < 2 * MS
    (trace,) = watch([lambda: Reading(1, 2.0, 3)], 0.0)
    assert (trace.t_ns.size, trace.failed) == (0, None)
    assert trace.asked_every_ns == pytest.approx(2 * TICK_NS, abs=TICK_NS)
    (trace,) = watch([lambda: Reading(1, 2.0, 3)], 0.01)
    assert trace.asked_every_ns == pytest.approx(1 * MS + 3 * TICK_NS, abs=TICK_NS)


# --- stages -----------------------------------------------------------------------------------------------------------


@dataclass
class Device:
    """Draws 100 W, and 300 W in pulses; its sensor is renewed every 20 ms and looks at all of them."""

    clock: Clock
    period_ns: int = 20 * MS
    pulses: list[tuple[int, int]] = field(default_factory=list)
    asked: list[Pulses] = field(default_factory=list)
    asked_ns: list[int] = field(default_factory=list)
    shown: tuple[int, float] = (0, 0.0)

    def play(self, pulses: Pulses) -> Pulses:
        self.asked.append(pulses)
        self.asked_ns.append(self.clock.t_ns)
        self.pulses += pulses
        return [(start + 1, end + 1) for start, end in pulses]

    def worked_s(self, t_ns: int) -> float:
        edges = np.array(self.pulses).reshape(-1, 2)
        return float((np.clip(t_ns, edges[:, 0], edges[:, 1]) - edges[:, 0]).sum()) / 1e9

    def read(self) -> Reading:
        end = self.clock.t_ns // self.period_ns * self.period_ns
        if self.shown[0] != end:
            work_s = self.worked_s(end) - self.worked_s(end - self.period_ns)
            noise = (end // self.period_ns * 7919 % 101) * 1e-3
            self.shown = end, 100.0 + 200.0 * work_s / (self.period_ns / 1e9) + noise
        return Reading(self.clock.now_ns(), self.shown[1], 0)


def test_under_load_come_irregular_pulses_a_step_and_pulses_of_all_phases(clock: Clock) -> None:
    device, told = Device(clock), list[str]()
    other = (replace(POWER, name="made/b"), lambda: Reading(clock.now_ns(), 5.0, 0))
    sensor = Sources([(POWER, device.read), other])
    found = probe([sensor], lambda c: device.play if c.name == "made/a" else "none for this", 1.0, told.append)
    assert told == ["2 channels at rest, 1 s", "made/a under load, 3 s"]
    first, second = found.profiles
    assert first.update_period_s == pytest.approx(0.02, rel=0.01)
    assert (first.reasons, first.part_time) == ({}, False)
    assert first.rise_s == pytest.approx(0.02, abs=1e-3)
    assert first.window_s == pytest.approx(0.02, rel=0.05)
    assert second.reasons["window_s"] == "none for this"
    assert [each.stage for each in found.recordings] == ["rest", "irregular", "step", "phases", "rest"]
    rest, irregular, step, phases, _ = found.recordings
    assert rest.pulses == ()
    assert (rest.trace.t_ns[-1] - rest.trace.t_ns[0]) / SECOND == pytest.approx(1.0, abs=0.01)
    for each, pulses, asked_ns in zip((irregular, step, phases), device.asked, device.asked_ns, strict=True):
        assert each.pulses == [(start + 1, end + 1) for start, end in pulses]  # when it truly worked
        assert each.trace.t_ns[0] - asked_ns < 2 * MS
        assert each.trace.t_ns[-1] - pulses[-1][1] == pytest.approx(100 * MS, abs=2 * MS)
    starts_ms = [(pulses[0][0] - asked_ns) / MS for pulses, asked_ns in zip(device.asked, device.asked_ns, strict=True)]
    assert starts_ms == pytest.approx([50, 300, 50], abs=1)
    ((begin, end),) = device.asked[1]
    assert end - begin == pytest.approx(250 * MS, abs=1)
    assert device.asked[0][-1][1] - device.asked[0][0][0] == pytest.approx(SECOND, abs=0.4 * SECOND)
    lead = int((first.window_s or 0) / (first.update_period_s or 1)) + 1
    assert len(device.asked[2]) == lead + 8 * 10  # as few as ten of each phase
    assert device.asked[2][0][1] - device.asked[2][0][0] == pytest.approx(5 * MS, rel=0.01)


def test_a_longer_probe_repeats_each_phase_more_often_and_a_slow_sensor_gets_a_longer_step(clock: Clock) -> None:
    device = Device(clock)
    probe([Sources([(POWER, device.read)])], lambda _: device.play, 2.0)
    assert (len(device.asked[2]) - 1) // 8 == 12
    slow = Device(clock, 100 * MS)
    probe([Sources([(POWER, slow.read)])], lambda _: slow.play, 1.2)
    ((begin, end),) = slow.asked[1]
    assert end - begin == pytest.approx(400 * MS, rel=0.02)


def test_what_does_not_change_has_no_period_and_its_load_tells_nothing_more(clock: Clock) -> None:
    device = Device(clock)
    (profile,) = probe(
        [Sources([(POWER, lambda: Reading(clock.now_ns(), 5.0, 0))])], lambda _: device.play, 0.5
    ).profiles
    assert len(device.asked) == 1
    assert {profile.reasons[name] for name in UNDER_LOAD} == {"its period is not known"}
    assert profile.reasons["update_period_s"] == "its value changed 0 times only"
    assert (profile.idle_power_w, profile.idle_drift_w, profile.idle_noise_w) == pytest.approx((5.0, 0.0, 0.0))
    assert profile.read_cost_s == pytest.approx(2 * TICK_NS / 1e9)
    assert (profile.device, profile.driver, profile.kind, profile.unit) == ("d", "v", "power", "W")


def test_what_is_renewed_so_fast_that_rest_cannot_tell_is_told_by_a_burst(clock: Clock) -> None:
    device = Device(clock, 2 * MS)
    (profile,) = probe([Sources([(POWER, device.read)])], lambda _: "none", 0.5).profiles
    assert profile.update_period_s == pytest.approx(0.002, rel=0.05)
    assert profile.resolution == pytest.approx(1e-3)


def test_gauges_estimates_and_what_is_read_elsewhere_or_not_at_all_are_not_probed(clock: Clock) -> None:
    changes: list[dict[str, Any]] = [
        {"kind": "gauge"},
        {"method": "model_estimate"},
        {"host": "h", "here": False},
        {},
    ]
    sources = [(replace(POWER, name=f"made/{k}", **each), Device(clock).read) for k, each in enumerate(changes)]
    shut = unreadable(replace(POWER, name="made/shut", status="lost"))
    told: list[str] = []
    found = probe([Sources([*sources, shut])], lambda _: "none", 0.1, told.append)
    assert [profile.channel for profile in found.profiles] == ["made/3"]
    assert told == ["1 channels at rest, 0.1 s"]


# --- the load of a GPU ------------------------------------------------------------------------------------------------


@dataclass
class Torch:
    """The little of torch that a load uses: a product takes 2 ms."""

    clock: Clock
    uuids: tuple[str, ...] = ("aaaa", "bbbb")
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    float16: str = "float16"
    float32: str = "float32"

    @property
    def cuda(self) -> Any:
        return SimpleNamespace(
            is_available=lambda: bool(self.uuids),
            device_count=lambda: len(self.uuids),
            get_device_properties=lambda index: SimpleNamespace(uuid=self.uuids[index]),
            synchronize=lambda device: self.calls.append(("synchronize", device)),
        )

    def randn(self, rows: int, columns: int, *, device: str, dtype: str) -> str:
        self.calls.append(("randn", rows, columns, device, dtype))
        return "matrix"

    def matmul(self, left: str, right: str) -> None:
        assert left == right == "matrix"
        self.calls.append(("matmul",))
        self.clock.sleep(0.002)


def test_a_load_multiplies_on_the_gpu_of_this_uuid_from_the_start_of_each_pulse_to_its_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = Torch(clock)
    monkeypatch.setitem(sys.modules, "torch", torch)
    made: Callable[[Pulses], Pulses] | str = gpu_load("H200 GPU-bbbb")
    assert not isinstance(made, str)
    assert torch.calls == [("randn", 4096, 4096, "cuda:1", "float16")] * 2 + [("matmul",), ("synchronize", "cuda:1")]
    torch.calls.clear()
    now = clock.t_ns
    asked = [(now + 10 * MS, now + 15 * MS), (now + 30 * MS, now + 31 * MS), (now + 20 * MS, now + 21 * MS)]
    load: Load = made
    worked = [((begun - now) / MS, (ended - now) / MS) for begun, ended in load(asked)]
    assert np.array(worked) == pytest.approx(np.array([(10, 16), (30, 32), (32, 32)]), abs=0.2)
    assert torch.calls.count(("matmul",)) == torch.calls.count(("synchronize", "cuda:1")) == 4


@pytest.mark.parametrize(
    ("uuids", "reason"),
    [((), "no load: this torch sees no CUDA device"), (("aaaa",), "no load: torch does not see GPU-bbbb")],
)
def test_without_that_gpu_there_is_no_load(
    uuids: tuple[str, ...], reason: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", Torch(clock, uuids))
    assert gpu_load("GPU-bbbb") == reason
    monkeypatch.setitem(sys.modules, "torch", None)
    assert str(gpu_load("GPU-bbbb")).startswith("no load: torch is not installed: pip install")
