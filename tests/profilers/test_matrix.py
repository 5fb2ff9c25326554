"""Every sensor and everything that can befall it during a run: the same verdict for all.

The channels are those that each sensor opens on its stand-in, and what their reads give goes through the sampler's own
lane into `power.bin`, on a clock of the test's. What a faulty read gives is what the sensor makes of its device's fault
where the stand-in can have that, and else what such a sensor would give.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from doubles.machines import MACHINES
from doubles.meter import SHAPES
from doubles.nvml import ENERGY, NO_PERMISSION, FakeNvml
from doubles.patience import wait_for
from doubles.reading import failure, opened, reading
from doubles.recorded import ns, summary_of, told_against

from ipw.profilers.apple.battery import MacBattery, discharge_w, power_of
from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.http_meter import ask
from ipw.profilers.linux.sysfs_power import volts_times_amperes
from ipw.profilers.meter_address import meter_address
from ipw.profilers.meter_answers import parse
from ipw.profilers.power_logs import read_log
from ipw.profilers.replay import Track
from ipw.profilers.sampler.lane import Lane, PowerFile
from ipw.runs.directory import RunDir
from ipw.runs.readings import READINGS

WINDOW_S, END_S = (30.0, 150.0), 170.0
IDLE_W, BUSY_W = 12.0, 16.0
JOULES = BUSY_W * (WINDOW_S[1] - WINDOW_S[0])
Outcome = float | SensorError
LOST, DENIED = SensorError("lost", "no answer"), SensorError("permission", "not any more")


class Case(NamedTuple):
    """A sensor: its channels that are measured, how often they have news, and what it gives for its device's faults."""

    channels: list[Channel]
    news_s: float
    """0: whenever it is asked."""
    code: Outcome
    """What a read gives where the device answers a code for no value."""
    failed: SensorError
    denied: SensorError = DENIED
    one_device: bool = False
    """Whether its channels are parts of one device, and fail together."""


# --- sensors ---------------------------------------------------------------------------------------------------------


def of(sensor: Sensor) -> list[Channel]:
    basis = choose_basis(sensor.channels)
    return [channel for channel in sensor.channels if channel.name in basis.channels]


def given(sensor: Sensor, name: str) -> Outcome:
    try:
        return reading(sensor, name).value
    except SensorError as error:
        return error


def failure_of(outcome: Outcome) -> SensorError:
    assert isinstance(outcome, SensorError), outcome
    return outcome


def nvml(sensor: Sensor, folder: Path) -> Case:
    fake, (channel,) = FakeNvml(folder / "nvml"), of(sensor)
    outcomes: list[SensorError] = []
    for error in (999, NO_PERMISSION):
        fake.fail(0, ENERGY, error)
        outcomes.append(failure_of(given(sensor, channel.name)))
        fake.mend(0)
    fake.gpu(0).counter_start_j = (2**53 - 1) / 1e3
    return Case([channel], 0.1, given(sensor, channel.name), outcomes[0], outcomes[1])


def rapl(sensor: Sensor, folder: Path) -> Case:
    channels = of(sensor)
    zone = folder / "powercap/intel-rapl:0/energy_uj"

    def shown(text: str) -> Outcome:
        """What is read of this; the counter is renewed meanwhile."""
        zone.write_text(text)
        return given(sensor, "rapl/package-0")

    code = wait_for(lambda: told if (told := shown("4294967295\n")) == 4294.967295 else None)
    failed = wait_for(lambda: told if isinstance(told := shown(""), SensorError) else None)
    return Case(channels, 0.0, code, failed)


def amd(sensor: Sensor, folder: Path) -> Case:
    smi: Any = sys.modules["amdsmi"]
    smi.amdsmi_get_energy_count = lambda _: {"energy_accumulator": 2**64 - 1, "counter_resolution": 15.3}
    code = given(sensor, "amd/gpu0")

    def raises(text: str) -> Callable[[Any], Any]:
        def call(_: Any) -> Any:
            raise smi.AmdSmiLibraryException(text)

        return call

    outcomes: list[SensorError] = []
    for text in ("AMDSMI_STATUS_UNKNOWN_ERROR", "AMDSMI_STATUS_NO_PERM"):
        smi.amdsmi_get_energy_count = raises(text)
        outcomes.append(failure_of(given(sensor, "amd/gpu0")))
    return Case(of(sensor), 0.0, code, outcomes[0], outcomes[1])


def hwmon(sensor: Sensor, folder: Path) -> Case:
    (channel,) = of(sensor)
    file = Path(channel.device) / "power1_average"
    file.write_text("4294967295\n")
    code = given(sensor, channel.name)
    file.write_text("\n")
    return Case([channel], 0.0, code, failure_of(given(sensor, channel.name)))


def battery(sensor: Sensor, folder: Path) -> Case:
    (channel,) = of(sensor)
    file = folder / "power_supply/BAT0/power_now"
    file.write_text("2147483647\n")
    code = given(sensor, channel.name)
    file.unlink()
    file.mkdir()
    return Case([channel], 30.0, code, failure_of(given(sensor, channel.name)))


def ioreport(sensor: Sensor, folder: Path) -> Case:
    chip: Any = sys.modules["zeus_apple_silicon"].CHIP
    told = chip.millijoules
    chip.millijoules = lambda: told() | {"gpu_mj": 2**63 - 1}
    code = given(sensor, "ioreport/soc")
    chip.millijoules, chip.error = told, "kIOReturnNotReady"
    time.sleep(0.03)  # a look is as good as a new one for a while
    return Case(of(sensor), 2.1, code, failure_of(given(sensor, "ioreport/soc")))


def powermetrics(sensor: Sensor, folder: Path) -> Case:
    behaviour = folder / "bin/behaviour.json"
    outcomes = []
    for new in ("<integer>4294967295</integer>", "<integer>x</integer>"):
        changed = behaviour.with_suffix(".part")
        changed.write_text(json.dumps({"interval_s": 0.03, "replaces": [["<integer>5000</integer>", new]]}))
        changed.replace(behaviour)
        outcomes.append(failure(sensor, "powermetrics/soc"))
        changed.write_text(json.dumps({"interval_s": 0.03, "replaces": []}))
        changed.replace(behaviour)
        wait_for(lambda: not isinstance(given(sensor, "powermetrics/soc"), SensorError))
    return Case(of(sensor), 0.2, outcomes[0], outcomes[1])


def plug(sensor: Sensor, folder: Path) -> Case:
    code = parse(SHAPES["shelly"](65535.0, 1.0)).power_w
    address = meter_address("http://127.0.0.1:9/rpc")
    assert code is not None
    assert address is not None
    with pytest.raises(SensorError) as refused:
        ask(address)
    return Case(of(sensor), 1.0, code, refused.value)


def recording(sensor: Sensor, folder: Path) -> Case:
    rows = [f"2026/01/02 03:04:05.{k:03d}, {cell}" for k, cell in enumerate(("4294967.30 W", "[Unknown Error]"))]
    _, tracks = read_log("\n".join(["timestamp, power.draw [W]", *rows]))
    code, hole = tracks["nvidia-smi/gpu0"]
    with pytest.raises(SensorError) as told:
        Track([hole], -hole.t_ns).read()
    return Case(of(sensor), 0.0, code.value, told.value)


STREAMS = {"powermetrics": 0.2, "meter": 1.0, "ioreport": 2.1}
CODES = {"perf": 2**64 * 2.0**-32}
SPOILED: dict[str, Callable[[Sensor, Path], Case]] = {
    "nvml": nvml, "rapl": rapl, "amd": amd, "hwmon": hwmon, "battery": battery, "ioreport": ioreport,
    "powermetrics": powermetrics, "meter": plug, "replay": recording,
}  # fmt: skip


def a_sensor(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Open a sensor on its stand-in, and let its device fail."""
    if name in ALONE:
        return ALONE[name](folder)
    with ExitStack() as running:
        for variable, value in MACHINES[name](folder, running).items():
            monkeypatch.setenv(variable, value)
            if variable == "PYTHONPATH":
                monkeypatch.syspath_prepend(value)
        if name == "nvml":
            FakeNvml(folder / "nvml").preload()
        (sensor,) = find(name)
        if name == "rapl":
            running.close()  # so that nobody writes its files any more
        with opened(sensor):
            if name == "perf" and sensor.channels[0].status == "permission":
                pytest.skip("this kernel lets nobody but root open perf events")
            if name in SPOILED:
                return SPOILED[name](sensor, folder)
            return Case(of(sensor), STREAMS.get(name, 0.0), CODES.get(name, 4294967.295), LOST)


def external(_: Path) -> Case:
    """A sensor of another package, which says nothing of itself."""
    channel = Channel(name="lab/one", kind="power", scope="wall", method="external_meter", unit="W")
    return Case([channel], 0.0, math.nan, SensorError("lost", "KeyError: 'odd'"))


def external_counter(_: Path) -> Case:
    """The same of a counter, which an exporter renews every ten seconds."""
    return Case([Channel(name="lab/two", kind="counter", scope="gpu", method="counter")], 10.0, -1.0, LOST)


def mac_battery(_: Path) -> Case:
    facts: Any = {"kind": "power", "scope": "system", "method": "integrated_power", "unit": "W", "poll_s": 1.0}
    sensor = MacBattery(Channel(name="battery/internal", max_power_w=300.0, **facts))
    sensor.close()
    code = power_of({"Voltage": 12_000, "InstantAmperage": 2**64 - (2**32 - 1)})
    with pytest.raises(SensorError) as failed:
        discharge_w()  # there is no ioreg here
    return Case(list(sensor.channels), 5.0, code, failed.value)


def rails(folder: Path) -> Case:
    for name, text in (("in1_input", "5000"), ("curr1_input", f"{2**31 - 1}")):
        (folder / name).write_text(text)
    with pytest.raises(SensorError) as code:
        volts_times_amperes(folder / "in1_input", folder / "curr1_input")
    (folder / "in1_input").unlink()
    with pytest.raises(SensorError) as gone:
        volts_times_amperes(folder / "in1_input", folder / "curr1_input")
    facts: Any = {"kind": "power", "scope": "soc", "method": "integrated_power", "unit": "W", "poll_s": 0.05}
    return Case(
        [Channel(name=f"hwmon/{name}", **facts) for name in ("gpu", "cpu", "soc")],
        0.0,
        code.value,
        gone.value,
        DENIED,
        one_device=True,
    )


ALONE: dict[str, Callable[[Path], Case]] = {
    "external": external, "external counter": external_counter, "Mac battery": mac_battery, "rails": rails,
}  # fmt: skip
SENSORS = [*MACHINES, *ALONE]


# --- a run of it -----------------------------------------------------------------------------------------------------

Fault = Callable[[float, int], str | None]
"""By the second and the number of the read: `code`, `failed`, `denied`, `still`, or nothing."""


class Device:
    """One channel on a clock of the test's: what the sampler is given at each moment."""

    def __init__(self, channel: Channel, case: Case, fault: Fault, share: float, seed: int) -> None:
        self.channel, self._case, self._fault, self._share = channel, case, fault, share
        self._noise = np.random.default_rng(seed).normal(0, 0.05, 100_000)
        self._reads, self._told_s, self.now_s = 0, -1.0, 0.0

    def read(self) -> Reading | None:
        """Give what there is at `now_s`."""
        now_s, number = self.now_s, self._reads
        news_s = self._case.news_s
        true_s = now_s if not news_s else math.floor(now_s / news_s) * news_s
        if self.streams and true_s == self._told_s:
            return None
        self._reads += 1
        self._told_s = true_s
        fault = self._fault(now_s, number)
        if fault in {"failed", "denied"}:
            raise self._case.failed if fault == "failed" else self._case.denied
        at_ns = ns(now_s)
        if fault == "code":
            if isinstance(self._case.code, SensorError):
                raise self._case.code
            return Reading(at_ns, self._case.code, 1000)
        if self.channel.kind == "power":
            watts = self._watts(true_s) + self._noise[round(true_s * 50) % self._noise.size]
            return Reading(at_ns, 0.0 if fault == "still" else round(watts * self._share, 6), 1000)
        joules = 1000.0 + self._share * self._joules(0.0 if fault == "still" else true_s)
        if self.channel.range_j:
            joules %= self.channel.range_j
        return Reading(at_ns, round(joules, 6), 1000)

    @property
    def streams(self) -> bool:
        """Whether it is silent as long as it has no news."""
        return self.channel.name.partition("/")[0] in STREAMS or self.channel.name == "battery/internal"

    def _watts(self, t_s: float) -> float:
        return BUSY_W if WINDOW_S[0] <= t_s < WINDOW_S[1] else IDLE_W

    def _joules(self, t_s: float) -> float:
        return IDLE_W * t_s + (BUSY_W - IDLE_W) * (min(max(t_s, WINDOW_S[0]), WINDOW_S[1]) - WINDOW_S[0])


def run_of(case: Case, folder: Path, fault: Fault) -> RunDir:
    """Sample it for two minutes and write the run."""
    run = RunDir(folder / "run")
    run.path.mkdir(parents=True)
    file, failures = PowerFile(run.path / READINGS), deque[dict[str, Any]]()
    for index, channel in enumerate(case.channels):
        mine = fault if index == 0 or case.one_device else nothing
        device = Device(channel, case, mine, 1 / len(case.channels), index)
        lane = Lane(index, channel, device.read, file, failures)
        every_s = min(channel.poll_s, 0.02 if channel.ticks else channel.poll_s)
        for number in range(int(END_S / every_s)):
            device.now_s = number * every_s
            lane.poll(ns(device.now_s))
    file.flush()
    file.close()
    rows = np.fromfile(run.path / READINGS, "V24")
    (run.path / READINGS).write_bytes(rows[np.argsort(rows.view("<i8")[::3], kind="stable")].tobytes())
    marked = {"kind": "span", "name": "window", "phase": "measure", "status": "ok", "thread": 1}
    (run.path / "journal.jsonl").write_text(
        json.dumps(marked | {"start_ns": ns(WINDOW_S[0]), "end_ns": ns(WINDOW_S[1])}) + "\n"
    )
    sensors = [c.as_dict() | {"index": index, "in_total": True} for index, c in enumerate(case.channels)]
    run.write_manifest(
        {
            "run_id": "run", "status": "complete", "workload": {"kind": "command", "parameters": {}},
            "basis": case.channels[0].scope, "method": case.channels[0].method, "sensors": sensors,
            "sampler": {"cpu_s": 0.1, "wall_s": END_S, "failures": list(failures)},
        }
    )  # fmt: skip
    return run


def nothing(_t_s: float, _number: int) -> str | None:
    return None


def at(start_s: float, end_s: float, what: str) -> Fault:
    return lambda t_s, _: what if start_s <= t_s < end_s else None


class Once:
    """The first read from a moment on."""

    def __init__(self, start_s: float, what: str) -> None:
        self._start_s, self._what, self._done = start_s, what, False

    def __call__(self, t_s: float, _number: int) -> str | None:
        if self._done or t_s < self._start_s:
            return None
        self._done = True
        return self._what


FAULTS: dict[str, tuple[Callable[[], Fault], bool]] = {
    "nothing": (lambda: nothing, True),
    "one impossible value": (lambda: Once(75.0, "code"), True),
    "every tenth value impossible": (lambda: lambda _, number: "code" if number % 10 == 5 else None, False),
    "still": (lambda: at(0.0, END_S, "still"), False),
    "still from the middle on": (lambda: at(75.0, END_S, "still"), False),
    "one failed read": (lambda: Once(75.0, "failed"), True),
    "an outage of a second": (lambda: at(75.0, 76.0, "failed"), True),
    "the device is lost": (lambda: at(75.0, END_S, "failed"), False),
    "the permission is gone": (lambda: at(75.0, END_S, "denied"), False),
}
"""What happens, and whether the run is valid after it."""


@pytest.fixture
def case(sensor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    yield a_sensor(sensor, tmp_path, monkeypatch)
    for library in ("amdsmi", "zeus_apple_silicon"):
        sys.modules.pop(library, None)


@pytest.mark.parametrize("sensor", SENSORS)
def test_whatever_befalls_a_sensor_the_verdict_is_the_same_for_all(sensor: str, case: Case, tmp_path: Path) -> None:
    for number, (name, (fault, valid)) in enumerate(FAULTS.items()):
        summary = summary_of(run_of(case, tmp_path / str(number), fault()))
        told, energy = told_against(summary), summary["metrics"]["energy_j"]
        assert summary["valid"] is valid, (name, told, energy)
        assert bool(told) is (name != "nothing"), (name, told)
        if valid:
            assert energy["low"] <= 1.005 * JOULES, (name, energy)
            assert energy["high"] >= 0.995 * JOULES, (name, energy)
            assert energy["value"] == pytest.approx(JOULES, rel=0.01), name
            if sensor != "estimate":
                assert energy["high"] - energy["low"] < 0.03 * JOULES, (name, energy)
        elif name != "every tenth value impossible" and not case.one_device:  # of which no part stands still by itself
            assert energy["value"] is None, (name, energy)
        power = summary["metrics"]["mean_power_w"]["value"]
        assert power is None or case.one_device or power == pytest.approx(BUSY_W, rel=0.04), (name, power)


def test_a_name_of_odd_letters_changes_nothing(tmp_path: Path) -> None:
    odd = replace(external(tmp_path).channels[0], device="meter \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}")
    summary = summary_of(run_of(Case([odd], 0.0, 0.0, LOST), tmp_path, nothing))
    assert summary["valid"]
