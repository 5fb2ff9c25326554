from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles import nvml as double
from doubles.nvml import FakeNvml
from doubles.reading import failure, in_child, named, opened, reading, value

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.losses import losses
from ipw.profilers.nvidia.gpus import foreign_processes

Gpus = Callable[[int], FakeNvml]


def open_nvml() -> Sensor:
    (sensor,) = find("nvml")
    return sensor


TELL = """
from ipw.profilers.discovery import find
for channel in find("nvml")[0].channels:
    print(channel.name, channel.status, channel.reason, channel.hint, sep="|")
"""


def test_the_counter_is_the_basis_and_power_is_read_beside_it(gpus: Gpus) -> None:
    fake = gpus(1)
    with opened(open_nvml()) as sensor:
        counter, power = named(sensor, "nvml/gpu0"), named(sensor, "nvml/gpu0/power")
        assert (counter.kind, counter.method, counter.unit, counter.ticks) == ("counter", "counter", "J", True)
        assert (power.kind, power.method, power.unit) == ("power", "integrated_power", "W")
        assert power.included_in == counter.name
        assert counter.max_power_w == 2 * 700.0
        assert fake.uuid(0) in counter.device
        assert choose_basis(sensor.channels) == ("gpu", frozenset({"nvml/gpu0"}), None)


def test_the_counter_follows_the_true_energy_to_within_one_update(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.gpu(0).counter_period_ns = 20_000_000
    start = fake.set_power(0, 500.0)
    with opened(open_nvml()) as sensor:
        first = reading(sensor, "nvml/gpu0")
        time.sleep(0.2)
        last = reading(sensor, "nvml/gpu0")
    truth = fake.energy_j(0, first.t_ns, last.t_ns)
    assert first.t_ns >= start
    unsure_s = (first.uncertainty_ns + last.uncertainty_ns) / 1e9
    assert last.value - first.value == pytest.approx(truth, abs=500.0 * (0.02 + unsure_s) + 0.002)


def test_power_is_this_instants_and_not_the_drivers_average_of_a_second(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.gpu(0).power_period_ns = 10_000_000
    fake.set_power(0, 100.0)
    time.sleep(0.1)
    with opened(open_nvml()) as sensor:
        assert value(sensor, "nvml/gpu0/power") == pytest.approx(100.0, rel=0.01)
        assert named(sensor, "nvml/gpu0/power").note is None


def test_a_gpu_without_an_energy_counter_is_measured_by_its_power(gpus: Gpus) -> None:
    gpus(1).fail(0, double.ENERGY, double.NOT_SUPPORTED)
    with opened(open_nvml()) as sensor:
        counter, power = named(sensor, "nvml/gpu0"), named(sensor, "nvml/gpu0/power")
        assert counter.status == "unsupported"
        assert counter.reason
        assert "Not Supported" in counter.reason
        assert (power.status, power.included_in) == ("ok", None)
        assert choose_basis(sensor.channels) == ("gpu", frozenset({"nvml/gpu0/power"}), None)


@pytest.mark.parametrize(
    ("broken", "note"),
    [
        ([double.POWER_INSTANT], "averaged over 1 s by the driver"),
        ([double.POWER_INSTANT, double.POWER_AVERAGE], "averaged over 1 s by some drivers"),
        ([double.FIELDS], "averaged over 1 s by some drivers"),
    ],
)
def test_where_the_instant_power_is_missing_the_average_is_read_and_noted(
    gpus: Gpus, broken: list[int], note: str
) -> None:
    fake = gpus(1)
    for call in broken:
        fake.fail(0, call, double.NOT_SUPPORTED)
    with opened(open_nvml()) as sensor:
        power = named(sensor, "nvml/gpu0/power")
        assert (power.status, power.note) == ("ok", note)
        value(sensor, "nvml/gpu0/power")


def test_a_gpu_that_tells_nothing_is_told_once_and_is_no_basis(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.fail(0, double.ANY, double.NOT_READY)
    with opened(open_nvml()) as sensor:
        assert {channel.status for channel in sensor.channels} == {"unsupported"}
        basis = choose_basis(sensor.channels)
    assert basis.name is None
    assert basis.reason
    assert "not in ready state" in basis.reason


def test_a_forbidden_gpu_says_what_to_do(gpus: Gpus) -> None:
    gpus(1).fail(0, double.ANY, double.NO_PERMISSION)
    with opened(open_nvml()) as sensor:
        power = named(sensor, "nvml/gpu0/power")
        assert power.status == "permission"
        assert power.hint


def test_module_and_memory_scopes_are_named_and_never_added_to_the_gpu(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.gpu(0).memory_share, fake.gpu(0).module_share = 0.2, 1.5
    fake.set_power(0, 400.0)
    time.sleep(0.15)
    with opened(open_nvml()) as sensor:
        assert named(sensor, "nvml/gpu0/memory").scope == "memory"
        assert named(sensor, "nvml/gpu0/memory").included_in == "nvml/gpu0"
        assert named(sensor, "nvml/gpu0/module").scope == "module"
        assert value(sensor, "nvml/gpu0/module") == pytest.approx(600.0, rel=0.01)
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0"}


def test_a_superchip_that_tells_only_its_module_is_measured_by_that(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.gpu(0).gpu_share, fake.gpu(0).module_share = 0.0, 1.5
    fake.set_power(0, 400.0)
    time.sleep(0.15)
    fake.fail(0, double.ENERGY, double.NOT_SUPPORTED)
    fake.fail(0, double.POWER_USAGE, double.NOT_SUPPORTED)
    with opened(open_nvml()) as sensor:
        assert choose_basis(sensor.channels) == ("module", frozenset({"nvml/gpu0/module"}), None)


def test_a_scope_that_answers_0_is_not_a_measurement(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.gpu(0).memory_share = 1e-9
    with opened(open_nvml()) as sensor:
        assert "nvml/gpu0/memory" not in {channel.name for channel in sensor.channels}


def test_gauges_tell_heat_clocks_and_limits(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.gpu(0).temperature_c, fake.gpu(0).event_reasons, fake.gpu(0).thermal_slowdown_ns = 71, 0x4, 5_000_000
    fake.gpu(0).power_capped_ns = 7_000_000
    with opened(open_nvml()) as sensor:
        told = {part: value(sensor, f"nvml/gpu0/{part}") for part in ("temperature", "sm_clock", "clock_events")}
        assert told == {"temperature": 71, "sm_clock": 1980, "clock_events": 4}
        assert value(sensor, "nvml/gpu0/power_limit") == 700
        assert value(sensor, "nvml/gpu0/thermal_slowdown") == 5_000_000
        assert value(sensor, "nvml/gpu0/power_capped") == 7_000_000
        assert value(sensor, "nvml/gpu0/memory_clock") == 2619
        assert all(named(sensor, f"nvml/gpu0/{part}").kind == "gauge" for part in told)


def test_a_gauge_may_be_0(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.gpu(0).temperature_c = fake.gpu(0).sm_mhz = fake.gpu(0).power_limit_mw = 0
    with opened(open_nvml()) as sensor:
        gauges = [channel.name for channel in sensor.channels if channel.kind == "gauge"]
        assert {channel.status for channel in sensor.channels} == {"ok"}
        zeros = {name.rpartition("/")[2] for name in gauges if value(sensor, name) == 0}
    assert zeros == {"temperature", "sm_clock", "power_limit", "clock_events", "power_capped", "thermal_slowdown"}


def test_of_eight_gpus_naming_one_by_uuid_measures_one_and_watches_the_others(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = gpus(8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", fake.uuid(5))
    fake.set_power(2, 250.0)
    time.sleep(0.12)
    with opened(open_nvml()) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu5"}
        bystanders = [channel for channel in sensor.channels if channel.note and "bystander" in channel.note]
        assert [(channel.name, channel.kind) for channel in bystanders] == [
            (f"nvml/gpu{i}", "gauge") for i in (0, 1, 2, 3, 4, 6, 7)
        ]
        assert value(sensor, "nvml/gpu2") == pytest.approx(250.0, rel=0.01)


def test_no_visible_gpu_is_absent_with_the_reason(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with opened(open_nvml()) as sensor:
        told = named(sensor, "nvml")
        assert told.status == "absent"
        assert told.reason
        assert "CUDA_VISIBLE_DEVICES is empty" in told.reason


def test_a_list_that_was_cut_short_is_noted_on_what_is_measured(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-ffff,1")
    with opened(open_nvml()) as sensor:
        note = named(sensor, "nvml/gpu0").note
        assert note
        assert "GPU-ffff" in note
        assert choose_basis(sensor.channels).channels == {"nvml/gpu0"}


@pytest.mark.parametrize(
    ("visible", "levels"),
    [("GPU-ffff", ["error"]), ("0,GPU-ffff,1", ["warning"]), ("5", ["error"]), ("-1", []), ("", []), ("1,0", [])],
)
def test_a_gpu_that_was_named_and_is_not_here_is_told(
    visible: str, levels: list[str], gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with opened(open_nvml()) as sensor:
        found = losses(sensor.channels)
    assert [each.level for each in found] == levels
    assert all(visible in each.reason for each in found)


def test_a_mig_instance_is_measured_as_its_parent_and_says_so(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = gpus(2)
    fake.gpu(1).mig_mode = 1
    fake.gpu(1).mig_uuid[0].value = b"MIG-12345678-aaaa-bbbb-cccc-ddddeeeeffff"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-12345678-aaaa-bbbb-cccc-ddddeeeeffff")
    with opened(open_nvml()) as sensor:
        assert choose_basis(sensor.channels).channels == {"nvml/gpu1"}
        note = named(sensor, "nvml/gpu1").note
        assert note
        assert "parent" in note


def test_a_gpu_lost_in_the_middle_is_told_as_lost_and_the_others_go_on(gpus: Gpus) -> None:
    fake = gpus(2)
    fake.set_power(1, 100.0)
    with opened(open_nvml()) as sensor:
        value(sensor, "nvml/gpu0")
        fake.fail(0, double.ANY, double.GPU_IS_LOST)
        told = failure(sensor, "nvml/gpu0")
        assert (told.status, told.reason) == ("lost", "NVML: GPU is lost")
        value(sensor, "nvml/gpu1")


def test_a_counter_that_is_reset_is_given_as_it_is(gpus: Gpus) -> None:
    fake = gpus(1)
    fake.set_power(0, 100.0)
    with opened(open_nvml()) as sensor:
        before = value(sensor, "nvml/gpu0")
        fake.gpu(0).reset_ns = time.monotonic_ns()
        assert value(sensor, "nvml/gpu0") < before


def test_a_slow_call_is_seen_in_the_readings_uncertainty(gpus: Gpus) -> None:
    fake = gpus(1)
    with opened(open_nvml()) as sensor:
        fake.gpu(0).latency_ns = 2_000_000
        assert reading(sensor, "nvml/gpu0").uncertainty_ns >= 1_000_000


def test_foreign_processes_on_visible_gpus_are_named(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = gpus(2)
    fake.gpu(0).pids[0], fake.gpu(0).pids[1], fake.gpu(1).pids[0] = 4321, 77, 99
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert foreign_processes({77}) == [(fake.uuid(0), 4321)]
    assert foreign_processes({77, 4321}) == []


def test_a_machine_without_the_driver_library_is_told_so(tmp_path: Path) -> None:
    out = in_child(TELL, {"LD_LIBRARY_PATH": str(tmp_path)})
    if "ok" in out:
        pytest.skip("this machine has a driver")
    assert "nvml|absent|no NVIDIA driver here" in out


@pytest.mark.parametrize(
    ("error", "as_what", "reason", "hint"),
    [
        (double.DRIVER_NOT_LOADED, "absent", "Driver Not Loaded", "nvidia-smi"),
        (double.VERSION_MISMATCH, "lost", "mismatch", "reboot"),
        (999, "lost", "Unknown Error", "nvidia-smi"),
    ],
)
def test_a_driver_that_does_not_start_is_told_with_what_to_do(
    tmp_path: Path, error: int, as_what: str, reason: str, hint: str
) -> None:
    fake = FakeNvml.create(tmp_path / "nvml")
    fake.fail_init(error)
    name, status, why, what = in_child(TELL, fake.environment()).strip().split("|")
    assert (name, status) == ("nvml", as_what)
    assert reason in why
    assert hint in what


def test_a_driver_that_is_too_old_for_the_counter_still_gives_power(tmp_path: Path) -> None:
    fake = FakeNvml.create(tmp_path / "nvml", driver="OLD_DRIVER")
    lines = in_child(TELL, fake.environment()).splitlines()
    told = {name: (status, reason) for name, status, reason, _ in (line.split("|") for line in lines)}
    assert told["nvml/gpu0"] == ("unsupported", "NVML: Function Not Found")
    assert told["nvml/gpu0/power"][0] == "ok"


def test_the_third_party_package_of_the_same_name_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text("class NVMLError(Exception): pass\ndef nvmlInit(): pass\n")
    name, status, reason, hint = in_child(TELL, {"PYTHONPATH": str(tmp_path)}).strip().split("|")
    assert (name, status) == ("nvml", "unsupported")
    assert "third-party" in reason
    assert "pip uninstall -y pynvml" in hint
