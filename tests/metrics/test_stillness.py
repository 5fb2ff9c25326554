"""What stands still while the workload runs makes the run invalid, and is named; what may stand still does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.recorded import Floats, Told, channel, counting, recorded, summary_of, told_against

T, FAST = np.arange(0, 30, 0.1), np.arange(0, 30, 0.02)
IDLE = [("idle", 1.0, 4.5), ("idle", 25.5, 29.0)]


def load(t: Floats) -> Floats:
    return np.where((t >= 5) & (t < 25), 90.0, 20.0)


def package(number: int, joules: Any) -> Told:
    facts = {"scope": "package", "device": str(number), "update_period_s": 1e-3, "resolution_j": 61e-6}
    return Told(channel(f"rapl/package-{number}", **facts), T, joules)


def gpu_power(watts: Any, name: str = "nvml/gpu0/power", **facts: Any) -> Told:
    return Told(channel(name, "power", method="integrated_power", **facts), FAST, watts)


def noisy(t: Floats) -> Floats:
    return np.round(load(t) + np.random.default_rng(0).normal(0, 0.5, t.size), 3)


def judged(folder: Path, *told: Told, kind: str = "command") -> tuple[bool, str | None]:
    run = recorded(folder, told, spans=IDLE, manifest={"workload": {"kind": kind, "parameters": {}}})
    summary = summary_of(run)
    return summary["valid"], told_against(summary).get("stillness")


def test_a_counter_that_moves_and_a_power_with_its_noise_are_fine(tmp_path: Path) -> None:
    found = judged(tmp_path, package(0, counting(load, T)), gpu_power(noisy(FAST)))
    assert found == (True, None)


def test_a_frozen_counter_is_named_and_its_run_is_not_valid(tmp_path: Path) -> None:
    valid, told = judged(tmp_path, package(0, 262143.0))
    assert not valid
    assert told == "the counter rapl/package-0 did not move for 20 s (100 % of the window)"


def test_one_frozen_socket_of_two_is_named_and_the_run_has_no_energy(tmp_path: Path) -> None:
    run = recorded(tmp_path, [package(0, counting(load, T)), package(1, 262143.0)])
    summary = summary_of(run)
    assert told_against(summary)["stillness"].startswith("the counter rapl/package-1 did not move")
    assert summary["metrics"]["energy_j"]["value"] is None
    assert summary["metrics"]["energy_j"]["low"] == pytest.approx(1800.0, rel=0.01)
    assert not summary["valid"]


def test_a_counter_that_freezes_during_the_run_is_not_believed(tmp_path: Path) -> None:
    valid, told = judged(tmp_path, package(0, counting(lambda t: load(t) * (t < 18), T)))
    assert not valid
    assert told is not None
    assert "for 7 s (35 % of the window)" in told


def test_a_gpu_that_answers_0_w_has_no_energy(tmp_path: Path) -> None:
    run = recorded(tmp_path, [gpu_power(0.0)])
    summary = summary_of(run)
    assert not summary["valid"]
    assert summary["metrics"]["energy_j"]["value"] is None
    assert "no reading of nvml/gpu0/power can be believed" in told_against(summary)["attribution"]


def test_a_gpu_that_answers_0_w_from_some_moment_on_is_not_believed_from_then_on(tmp_path: Path) -> None:
    run = recorded(tmp_path, [gpu_power(np.where(FAST < 15, noisy(FAST), 0.0))])
    summary = summary_of(run)
    assert not summary["valid"]
    assert "impossible values" in told_against(summary)
    assert summary["metrics"]["energy_j"]["value"] is None
    assert summary["metrics"]["mean_power_w"]["value"] == pytest.approx(90.0, rel=0.02)


@pytest.mark.parametrize("watts", [57.283, 57.283912, 8.1234])
def test_a_power_that_is_the_same_to_the_last_digit_while_another_device_works_is_not_believed(
    tmp_path: Path, watts: float
) -> None:
    valid, told = judged(tmp_path, gpu_power(watts), package(0, counting(load, T)))
    assert not valid
    assert told is not None
    assert told.startswith(
        f"nvml/gpu0/power told {watts:.10g} W for 30 s to the last digit, though rapl/package-0 went"
    )


def test_a_power_that_freezes_is_found_in_the_part_in_which_it_is_frozen(tmp_path: Path) -> None:
    watts = np.where(FAST < 8, noisy(FAST), 91.337)
    valid, told = judged(tmp_path, gpu_power(watts), package(0, counting(load, T)))
    assert not valid
    assert told is not None
    assert "told 91.337 W for 22 s" in told


@pytest.mark.parametrize(("kind", "valid"), [("lm", False), ("train", False), ("command", True)])
def test_a_workload_that_is_known_to_compute_shows_that_the_load_changed(
    tmp_path: Path, kind: str, *, valid: bool
) -> None:
    assert judged(tmp_path, gpu_power(57.283), kind=kind)[0] is valid


@pytest.mark.parametrize("watts", [50.0, 12.5, 300.0, 9.0])
def test_a_meter_of_whole_watts_may_tell_one_value_for_long(tmp_path: Path, watts: float) -> None:
    assert judged(tmp_path, gpu_power(watts), package(0, counting(load, T)), kind="lm") == (True, None)


def test_a_plug_of_whole_watts_under_a_steady_load_is_fine(tmp_path: Path) -> None:
    wall = channel("meter/power", "power", scope="wall", method="external_meter", update_period_s=1.0)
    told = Told(wall, np.arange(0, 30, 1.0), np.round(load(np.arange(0, 30, 1.0))))
    assert judged(tmp_path, told, kind="lm") == (True, None)


def test_a_battery_that_is_renewed_every_half_minute_is_fine(tmp_path: Path) -> None:
    t = np.arange(0, 330, 1.0)
    values = np.array([14.237, 23.119, 22.871, 23.456, 23.012, 22.777, 23.3, 22.9, 23.15, 14.31, 14.29])
    battery = channel("battery/BAT0", "power", scope="system", method="integrated_power", max_power_w=300.0)
    told = Told(battery, t, values[(t // 30).astype(int)])
    run = recorded(tmp_path, [told], window_s=(30, 300), spans=[("idle", 1, 29)], manifest={"workload": {"kind": "lm"}})
    assert "stillness" not in told_against(summary_of(run))


def test_two_rails_of_which_one_draws_nothing_are_fine_and_two_that_draw_nothing_are_not(tmp_path: Path) -> None:
    def rail(name: str, watts: Any) -> Told:
        return gpu_power(watts, f"hwmon/{name}", scope="soc", max_power_w=None)

    assert judged(tmp_path / "a", rail("gpu", noisy(FAST)), rail("cv", 0.0)) == (True, None)
    assert judged(tmp_path / "b", rail("gpu", 0.0), rail("cv", 0.0))[0] is False
    assert judged(tmp_path / "c", rail("vdd-in", 0.0))[0] is False


@pytest.mark.parametrize("name", ["load/host", "load/own"])
def test_the_load_of_the_cpus_shows_that_the_load_changed(tmp_path: Path, name: str) -> None:
    busy_s = np.interp(np.arange(0, 30, 1.0), [0, 5, 25, 30], [0, 0.5, 40.5, 41])
    looks = Told(channel(name, "gauge", scope="system"), np.arange(0, 30, 1.0), busy_s)
    valid, told = judged(tmp_path, gpu_power(57.283), looks)
    assert not valid
    assert told is not None
    assert "though the load of the CPUs changed" in told


def test_limits_hold_for_runs_of_before_there_were_any(tmp_path: Path) -> None:
    watts = noisy(FAST)
    watts[::10] = 65535.0
    run = recorded(tmp_path, [gpu_power(watts)])
    for told in (None, 0.0, -1.0, 1e12):
        run.update_manifest(sensors=[run.manifest()["sensors"][0] | {"max_power_w": told}])
        summary = summary_of(run)
        assert summary["metrics"]["energy_j"]["value"] == pytest.approx(1800.0, rel=0.01)
        assert not summary["valid"]


@pytest.mark.parametrize(("factor", "valid"), [(1.0, True), (0.9, True), (0.5, False), (2.0, False), (0.001, False)])
def test_a_counter_that_is_off_by_a_factor_against_the_power_beside_it_is_not_believed(
    tmp_path: Path, factor: float, *, valid: bool
) -> None:
    counter = Told(channel("nvml/gpu0"), T, counting(lambda t: factor * load(t), T))
    beside = gpu_power(noisy(FAST), included_in="nvml/gpu0")
    summary = summary_of(recorded(tmp_path, [counter, beside]))
    assert summary["valid"] is valid
    assert ("counter against power" in told_against(summary)) is (factor != 1.0)


@pytest.mark.parametrize("limit_w", [2.0, 5.0, 10.0])
@pytest.mark.parametrize("kind", ["power", "counter"])
def test_a_limit_that_a_device_exceeds_all_the_time_is_the_fact_that_is_not_believed(
    tmp_path: Path, kind: str, limit_w: float
) -> None:
    counter = Told(channel("nvml/gpu0", max_power_w=limit_w), T, np.cumsum(noisy(T)) * 0.1)
    told = counter if kind == "counter" else gpu_power(noisy(FAST), max_power_w=limit_w)
    summary = summary_of(recorded(tmp_path, [told]))
    assert summary["valid"]
    assert summary["metrics"]["energy_j"]["value"] == pytest.approx(1800.0, rel=0.01)
    assert "draws steadily more than" in told_against(summary)["power limit"]


def test_a_limit_that_spikes_exceed_stays_and_the_spikes_do_not(tmp_path: Path) -> None:
    watts = noisy(FAST)
    watts[::7] = 1500.0 + watts[::7]
    found = told_against(summary_of(recorded(tmp_path, [gpu_power(watts)])))
    assert "impossible values" in found
    assert "power limit" not in found


@pytest.mark.parametrize(("factor", "valid"), [(1.0, True), (0.5, False), (2.0, False)])
def test_a_load_that_beats_with_the_rhythm_of_the_power_does_not_discredit_the_counter(
    tmp_path: Path, factor: float, *, valid: bool
) -> None:
    """The power sees only the low half of each period of the load; at rest it and a true counter agree."""
    counter = Told(channel("nvml/gpu0"), T, counting(lambda t: factor * load(t), T))
    seen = np.where((FAST >= 5) & (FAST < 25), 30.0, 20.0)
    noise = np.random.default_rng(0).normal(0, 0.2, FAST.size)
    beside = gpu_power(np.round(seen + noise, 3), included_in="nvml/gpu0")
    summary = summary_of(recorded(tmp_path, [counter, beside], spans=IDLE))
    assert summary["valid"] is valid
    assert ("at rest they agree" in told_against(summary)["counter against power"]) is valid


def test_a_counter_that_froze_in_the_window_is_not_called_believed_because_it_agreed_at_rest(tmp_path: Path) -> None:
    counter = Told(channel("nvml/gpu0"), T, counting(lambda t: load(t) * ((t < 12) | (t > 25)), T))
    beside = gpu_power(noisy(FAST), included_in="nvml/gpu0")
    summary = summary_of(recorded(tmp_path, [counter, beside], spans=IDLE))
    told = told_against(summary)
    assert not summary["valid"]
    assert told["stillness"].startswith("the counter nvml/gpu0 did not move")
    assert "believed" not in told["counter against power"]
