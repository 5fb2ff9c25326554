"""Checks: what is wrong with a run is found in its own readings, and what is right is not called wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports.made_runs import SECOND, make_run, write_readings

from ipw.metrics.summary import summarize
from ipw.metrics.validity.run import check_run
from ipw.runs.directory import RunDir
from ipw.runs.readings import READINGS, RECORD_FIELDS
from ipw.runs.recorded import Recorded


def failed(run: RunDir) -> dict[str, str]:
    return {c["check"]: c["detail"] for c in check_run(Recorded.of(run)) if not c["ok"]}


def window(run: RunDir) -> tuple[int, int]:
    start, end = run.manifest()["attribution"]["window_ns"]
    return start, end


def add_channel(run: RunDir, values: Any, **facts: Any) -> None:
    """Read one more channel evenly over the measured window."""
    index = max(c.get("index", 0) for c in run.manifest()["sensors"]) + 1
    start, end = window(run)
    rows = np.zeros(len(values), RECORD_FIELDS)
    rows["t_ns"] = np.linspace(start, end, len(values)).astype(np.int64)
    rows["value"], rows["channel"] = values, index
    with (run.path / READINGS).open("ab") as file:
        file.write(rows.tobytes())
    gauge = {"kind": "gauge", "scope": "gpu", "method": "counter", "status": "ok", "index": index, "in_total": False}
    run.update_manifest(sensors=[*run.manifest()["sensors"], gauge | facts])


def test_a_sound_run_passes_every_check(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert failed(run) == {}
    assert summarize(run)["valid"]


def test_a_sampler_that_died_makes_the_run_invalid(tmp_path: Path) -> None:
    run = make_run(tmp_path, manifest={"sampler": {"died": "it was killed by SIGKILL"}})
    assert failed(run) == {"sampler": "it was killed by SIGKILL"}
    assert not summarize(run)["valid"]


def test_readings_that_end_before_the_window_does_make_the_run_invalid(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_readings(run, window(run), 20.0, skip_s=(30, 1000))
    assert failed(run)["coverage"].startswith("49.8")
    assert not summarize(run)["valid"]


def test_a_gap_in_a_counter_is_told_but_loses_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_readings(run, window(run), 20.0, skip_s=(20, 30))
    assert set(failed(run)) == {"largest gap"}
    assert summarize(run)["valid"]


def test_a_counter_that_starts_again_is_a_loss_with_its_moment(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    readings = run.readings().copy()
    late = readings["t_ns"] > window(run)[0] + 40 * SECOND
    readings["value"][late] -= readings["value"][late][0]
    (run.path / READINGS).write_bytes(readings.tobytes())
    assert failed(run)["losses"].startswith("nvml/gpu0: reset at 40.")


def test_many_failed_reads_are_told(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    readings = run.readings().copy()
    readings["status"][::20] = 4
    (run.path / READINGS).write_bytes(readings.tobytes())
    assert failed(run)["failed reads"] in {"30 of 601", "31 of 601"}


@pytest.mark.parametrize(("every", "valid"), [(10, False), (200, True)])
def test_values_that_cannot_be_true_are_told_and_many_of_them_make_the_run_invalid(
    tmp_path: Path, every: int, *, valid: bool
) -> None:
    run = make_run(tmp_path)
    readings = run.readings().copy()
    readings["value"][60::every] = 4294967.295
    (run.path / READINGS).write_bytes(readings.tobytes())
    wrong = {10: 58, 200: 3}[every]
    assert failed(run)["impossible values"].startswith(f"{wrong} of 601 of nvml/gpu0 (more than 1,500 W")
    assert summarize(run)["valid"] == valid


def test_one_failed_read_is_never_too_many(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    readings = run.readings()[::20].copy()
    readings["status"][15] = 4
    (run.path / READINGS).write_bytes(readings.tobytes())
    assert "failed reads" not in failed(run)


def test_a_gpu_that_was_slowed_by_heat_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    add_channel(run, [0x1] * 30 + [0x20] * 10, name="nvml/gpu0/clock_events", unit="bits")
    assert failed(run) == {"throttling": "nvml/gpu0/clock_events: 25 % of the readings"}


def test_a_power_cap_alone_is_no_throttling(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    add_channel(run, [0x4] * 40, name="nvml/gpu0/clock_events", unit="bits")
    assert failed(run) == {}


def test_a_device_that_warms_during_the_run_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    add_channel(run, np.linspace(40, 70, 40), name="nvml/gpu0/temperature", unit="C")
    assert failed(run) == {"temperature": "nvml/gpu0/temperature: +23.1 °C"}


@pytest.mark.parametrize(("watts", "agrees"), [(20.5, True), (17.0, False)])
def test_a_counter_is_held_against_the_power_beside_it(tmp_path: Path, watts: float, *, agrees: bool) -> None:
    run = make_run(tmp_path)
    add_channel(run, [watts] * 600, name="nvml/gpu0/power", kind="power", unit="W", included_in="nvml/gpu0")
    assert failed(run) == ({} if agrees else {"counter against power": "nvml/gpu0/power: -15.0 %"})


def test_running_on_battery_is_told(tmp_path: Path) -> None:
    assert failed(make_run(tmp_path, manifest={"host": {"power_source": "battery"}})) == {"power source": "battery"}


def test_a_wall_clock_that_was_set_during_the_run_is_told(tmp_path: Path) -> None:
    anchors = [[0, 0], [60 * SECOND, 3660 * SECOND]]
    assert "+3600" in failed(make_run(tmp_path, manifest={"anchors": anchors}))["wall clock"]


def test_energy_that_was_never_attributed_makes_the_run_invalid(tmp_path: Path) -> None:
    reason = "the measured window never ended"
    run = make_run(tmp_path, manifest={"attribution": None, "attribution_reason": reason})
    assert failed(run) == {"attribution": reason}
    assert not summarize(run)["valid"]


def test_what_attribution_minds_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.update_manifest(attribution=run.manifest()["attribution"] | {"flags": ["few ticks"]})
    assert failed(run) == {"attribution": "few ticks"}
    assert summarize(run)["valid"]


def test_why_a_channel_of_the_total_failed_is_told_and_others_do_not_matter(tmp_path: Path) -> None:
    failures = [
        {"channel": "nvml/gpu0", "status": "lost", "reason": "NVML: GPU is lost", "t_ns": 1},
        {"channel": "nvml/gpu0/temperature", "status": "unsupported", "reason": "NVML: Not Supported", "t_ns": 1},
    ]
    run = make_run(tmp_path, manifest={"sampler": {"cpu_s": 0.1, "wall_s": 66.0, "failures": failures}})
    assert failed(run) == {"sensor failures": "nvml/gpu0: NVML: GPU is lost"}


@pytest.mark.parametrize(("bits", "valid"), [([0x20] * 10, False), ([0x80] * 10, False), ([0x4] * 10, True)])
def test_a_gpu_held_back_by_heat_or_by_its_supply_is_not_fit_to_compare(
    tmp_path: Path, bits: list[int], *, valid: bool
) -> None:
    run = make_run(tmp_path)
    add_channel(run, [0x1] * 30 + bits, name="nvml/gpu0/clock_events", unit="bits")
    assert summarize(run)["valid"] == valid


def test_time_lost_to_heat_is_seen_though_no_reading_fell_into_it(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    add_channel(run, [7e9, 7e9, 7.3e9], name="nvml/gpu0/thermal_slowdown", unit="ns")
    assert failed(run) == {"throttling": "nvml/gpu0/thermal_slowdown: 0.3 s"}
    assert summarize(run)["valid"]  # 0.3 s of a minute


def test_time_lost_to_heat_before_or_after_the_window_is_not_counted_to_it(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    start, end = window(run)
    add_channel(run, [7e9, 7e9, 7e9], name="nvml/gpu0/thermal_slowdown", unit="ns")
    index = max(c.get("index", 0) for c in run.manifest()["sensors"])
    outside = np.zeros(4, RECORD_FIELDS)
    outside["t_ns"] = [start - 2 * SECOND, start - SECOND, end + SECOND, end + 2 * SECOND]
    outside["value"], outside["channel"] = [1e9, 7e9, 7e9, 60e9], index
    (run.path / READINGS).write_bytes(np.sort(np.concatenate([run.readings(), outside]), order="t_ns").tobytes())
    assert failed(run) == {}


def test_a_plain_run_is_not_said_to_be_measured_in_parts_and_a_resumed_one_is(tmp_path: Path) -> None:
    run = make_run(tmp_path)

    def parts() -> list[str]:
        return [c["detail"] for c in check_run(Recorded.of(run)) if c["check"] == "resumed"]

    assert parts() == []
    run.update_manifest(resumed=[{"status": "interrupted"}])
    assert [told.split(";")[0] for told in parts()] == ["measured in 2 parts"]


def test_of_two_windows_the_longest_gap_and_the_losses_of_either_are_told_and_the_pause_between_is_neither(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path)
    start, end = window(run)
    third = (end - start) // 3
    halves = [[start, start + third], [end - third, end]]
    run.update_manifest(attribution=run.manifest()["attribution"] | {"windows_ns": halves})
    seconds = third / SECOND
    write_readings(run, window(run), 20.0, skip_s=(seconds + 1, 2 * seconds - 1))
    assert failed(run) == {}
    write_readings(run, window(run), 20.0, skip_s=(2 * seconds + 1, 2 * seconds + 9))
    assert set(failed(run)) == {"largest gap"}
    assert failed(run)["largest gap"].startswith("8")
    write_readings(run, window(run), 20.0, skip_s=(seconds - 4, 1000))
    assert failed(run)["coverage"].startswith("39.75 %")  # 15.9 of 40 s


def test_the_counter_is_held_against_power_in_the_longer_of_two_windows(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    start, end = window(run)
    cut = start + (end - start) // 4
    run.update_manifest(attribution=run.manifest()["attribution"] | {"windows_ns": [[start, cut], [cut, end]]})
    watts = np.where(np.arange(400) < 100, 40.0, 20.0)  # only the shorter one disagrees
    add_channel(run, watts, name="nvml/gpu0/power", kind="power", unit="W", included_in="nvml/gpu0")
    assert failed(run) == {}


def test_a_counter_that_stands_still_beside_a_power_reading_makes_the_run_invalid(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    readings = run.readings().copy()
    readings["value"] = readings["value"][0]
    (run.path / READINGS).write_bytes(readings.tobytes())
    add_channel(run, [20.0] * 600, name="nvml/gpu0/power", kind="power", unit="W", included_in="nvml/gpu0")
    assert "the counter stands still" in failed(run)["counter against power"]
    assert not summarize(run)["valid"]


def test_other_processes_on_the_gpu_are_a_note(tmp_path: Path) -> None:
    other = {"gpu": "GPU-1", "pid": 4711, "name": "python"}
    run = make_run(tmp_path, manifest={"neighbours": {"start": [other], "end": [other]}})
    assert failed(run)["other processes"].startswith("pid 4711 (python) used the same GPUs")
    assert summarize(run)["valid"]
    assert failed(make_run(tmp_path, "run-b", manifest={"neighbours": {"start": [], "end": []}})) == {}


def test_readings_of_a_part_of_the_window_are_no_energy_of_the_whole(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    whole = summarize(run)["metrics"]
    seen = run.manifest()["attribution"] | {"coverage": 0.158, "mean_power_w": 21.0}
    run.update_manifest(attribution=seen)
    metrics = summarize(run)["metrics"]
    energy = metrics["energy_j"]
    assert (energy["value"], energy["high"]) == (None, None)
    assert energy["low"] == pytest.approx(whole["energy_j"]["low"])
    for name in ("energy_j", "net_energy_j"):
        assert metrics[name]["value"] is None
        assert metrics[name]["reason"] == "readings cover only 15 % of the window"
    assert metrics["mean_power_w"]["value"] == pytest.approx(21.0)
    assert metrics["idle_power_w"] == whole["idle_power_w"]


def test_power_that_was_read_too_seldom_for_how_it_jumps_is_nothing_to_hold_a_counter_against(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    pulses = np.where(np.random.default_rng(0).random(40) < 0.2, 100.0, 0.0)
    add_channel(run, pulses, name="nvml/gpu0/power", kind="power", unit="W", included_in="nvml/gpu0")
    assert failed(run) == {}


def test_a_run_of_a_series_that_measures_something_else_than_the_first_is_not_valid(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    workload = run.manifest()["workload"]
    mine = [c["name"] for c in run.manifest()["sensors"] if c["in_total"]]
    run.update_manifest(workload=workload | {"series": {"id": "a", "channels": mine}})
    assert "series" not in failed(run)
    run.update_manifest(workload=workload | {"series": {"id": "a", "channels": [*mine, "nvml/gpu7"]}})
    assert "the series began with" in failed(run)["series"]
    assert not summarize(run)["valid"]


def test_what_the_total_is_without_is_told_by_how_grave_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    lost = [{"channel": f"nvml/gpu{i}", "reason": "GPU is lost", "level": "warning"} for i in range(5)]
    run.update_manifest(left_out=lost)
    assert failed(run)["left out"].endswith("nvml/gpu2: GPU is lost; 2 more")
    assert summarize(run)["valid"]
    run.update_manifest(left_out=[{"channel": "nvml/gpu0", "reason": "unsupported", "level": "info"}])
    assert "left out" not in failed(run)
    run.update_manifest(left_out=[lost[0] | {"level": "error"}])
    assert not summarize(run)["valid"]
    run.update_manifest(left_out="what an old version wrote")
    assert "left out" not in failed(run)
