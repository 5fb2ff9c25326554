"""Joules of phases against a schedule of power that is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.readings import READINGS, RECORD
from ipw.workloads.training.derive import derive_training
from ipw.workloads.training.parameters import Parameters

IDLE_W = 20.0
POWER_W = {
    "backprop": {"forward": 100.0, "backward": 200.0, "update": 60.0},
    "zeroth-order": {"forward": 120.0, "update": 50.0},
}
LENGTH_S = {"forward": 0.037, "backward": 0.061, "update": 0.013}
STEPS, TICK_S = 60, 0.02
CHANNEL = {
    "name": "nvml/gpu0", "index": 0, "kind": "counter", "scope": "gpu", "method": "counter", "in_total": True,
    "status": "ok", "ticks": False, "update_period_s": TICK_S, "resolution_j": 0.001, "gain_rel": 0.0,
}  # fmt: skip


class Schedule:
    """Writes a journal, and the power that goes with it."""

    def __init__(self, journal: Journal) -> None:
        self.now_ns, self.journal = 10**9, journal
        self.t_ns, self.energy_j = [0, 10**9], [0.0, IDLE_W]

    def draw(self, power_w: float, seconds: float) -> tuple[int, int]:
        start = self.now_ns
        self.now_ns += round(seconds * 1e9)
        self.t_ns.append(self.now_ns)
        self.energy_j.append(self.energy_j[-1] + power_w * (self.now_ns - start) / 1e9)
        return start, self.now_ns

    def span(self, name: str, phase: str, edges: tuple[int, int]) -> None:
        self.journal.append("span", {"name": name, "phase": phase, "start_ns": edges[0], "end_ns": edges[1]})

    def step(self, method: str, number: int, loss: float) -> None:
        data = self.draw(IDLE_W, 0.004)
        start, phases = self.now_ns, list(POWER_W[method])
        edges = [start, *(self.draw(POWER_W[method][phase], LENGTH_S[phase])[1] for phase in phases)]
        self.journal.append("step", {
            "method": method, "step": number, "start_ns": edges[0], "end_ns": edges[-1], "loss": loss, "samples": 4,
            "tokens": None, "phases": phases, "edges_ns": edges, "data_ns": list(data), "status": "ok",
            "peak_device_memory_bytes": 1000 + number, "peak_host_memory_bytes": 5000,
        })  # fmt: skip


def known_run(folder: Path, *, channels: list[dict[str, Any]]) -> RunDir:
    run = RunDir.create(folder, "known")
    parameters = Parameters(methods=tuple(POWER_W)).as_dict()
    run.write_manifest(
        {"workload": {"kind": "train", "parameters": parameters}, "sensors": channels, "method": "counter"}
    )
    with Journal(run) as journal:
        schedule = Schedule(journal)
        schedule.span("idle before", "idle", schedule.draw(IDLE_W, 3.0))
        start = schedule.now_ns
        for method in POWER_W:
            schedule.span(f"{method} load", "load", schedule.draw(90.0, 1.0))
            for number in range(STEPS):
                schedule.step(method, number, 3.0 - 0.01 * number)
            schedule.span("idle between", "idle", schedule.draw(IDLE_W, 1.0))
        schedule.span("measure", "measure", (start, schedule.now_ns))
        schedule.span("idle after", "idle", schedule.draw(IDLE_W, 3.0))
    ticks = np.arange(0, schedule.now_ns, round(TICK_S * 1e9))
    energy = np.interp(ticks, schedule.t_ns, schedule.energy_j)
    with (run.path / READINGS).open("wb") as file:
        for t_ns, joules in zip(ticks.tolist(), energy.tolist(), strict=True):
            file.write(RECORD.pack(t_ns, joules, 0, 0, 100_000))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return known_run(tmp_path_factory.mktemp("run"), channels=[CHANNEL])


@pytest.fixture(scope="module")
def by_method(run: RunDir) -> dict[str, dict[str, Any]]:
    return derive_training(run)


@pytest.mark.parametrize("method", POWER_W)
def test_joules_of_a_step_and_of_its_phases_are_those_of_the_schedule(
    by_method: dict[str, dict[str, Any]], method: str
) -> None:
    metrics = by_method[method]["metrics"]
    truth = {phase: power * LENGTH_S[phase] for phase, power in POWER_W[method].items()}
    assert metrics["energy_per_step_j"]["value"] == pytest.approx(sum(truth.values()), rel=0.01)
    for phase, joules in truth.items():
        found = metrics[f"{phase}_energy_per_step_j"]
        assert found["value"] == pytest.approx(joules, rel=0.03), phase
        assert found["low"] <= joules <= found["high"], phase
    assert metrics["energy_per_sample_j"]["value"] == pytest.approx(sum(truth.values()) / 4, rel=0.01)


def test_what_a_method_does_not_do_has_no_joules_and_a_reason(by_method: dict[str, dict[str, Any]]) -> None:
    metrics = by_method["zeroth-order"]["metrics"]
    assert metrics["backward_energy_per_step_j"]["value"] is None
    assert "no backward phase" in metrics["backward_energy_per_step_j"]["reason"]
    assert metrics["energy_per_token_j"]["reason"] == "the data are no text"


def test_every_step_has_its_row_and_their_joules_sum_to_the_methods(
    run: RunDir, by_method: dict[str, dict[str, Any]]
) -> None:
    table = run.read_table("steps")
    assert table is not None
    rows = table.to_pylist()
    assert len(rows) == 2 * STEPS
    for method, entry in by_method.items():
        mine = [row for row in rows if row["method"] == method]
        assert [row["step"] for row in mine] == list(range(STEPS))
        total = sum(row["energy_j"] for row in mine)
        assert total == pytest.approx(STEPS * entry["metrics"]["energy_per_step_j"]["value"], rel=1e-6)
        parts = sum(row[f"{phase}_energy_j"] or 0.0 for row in mine for phase in LENGTH_S)
        assert parts == pytest.approx(total, rel=1e-9)
        assert all(row["energy_low_j"] <= row["energy_j"] <= row["energy_high_j"] for row in mine)
        assert {row["peak_memory_bytes"] for row in mine} == set(range(1000, 1000 + STEPS))
        assert all((row["backward_energy_j"] is None) == (method == "zeroth-order") for row in mine)


def test_both_methods_reach_the_common_loss_for_the_joules_of_their_steps(by_method: dict[str, dict[str, Any]]) -> None:
    for entry in by_method.values():
        metrics = entry["metrics"]
        assert metrics["steps_to_target_loss"]["value"] == STEPS
        spent = STEPS * metrics["energy_per_step_j"]["value"]
        assert metrics["energy_to_target_loss_j"]["value"] == pytest.approx(spent, rel=1e-6)
        assert entry["budget_j"] <= spent * (1 + 1e-9)
    assert (
        by_method["zeroth-order"]["metrics"]["loss_at_budget"]["value"]
        < (by_method["backprop"]["metrics"]["loss_at_budget"]["value"])
    ), "the thriftier method comes further on one budget"


def test_how_evenly_updates_fell_on_steps_is_in_the_manifest(run: RunDir, by_method: dict[str, dict[str, Any]]) -> None:
    found = {row["method"]: row for row in run.manifest()["resonance"]}
    assert by_method.keys() == found.keys()
    assert not any(row["in_time"] for row in found.values())


def test_phases_lie_below_their_step_in_the_table_of_spans(run: RunDir, by_method: dict[str, dict[str, Any]]) -> None:
    rows = {row["span_id"]: row for row in run.read_table("spans").to_pylist()}  # type: ignore[union-attr]
    phases = [row for row in rows.values() if row["phase"] in LENGTH_S]
    assert len(phases) == STEPS * sum(map(len, POWER_W.values()))
    for row in phases:
        step = rows[row["parent_id"]]
        assert step["phase"] == "step"
        assert step["start_ns"] <= row["start_ns"] <= row["end_ns"] <= step["end_ns"]
        assert rows[step["parent_id"]]["phase"] == "measure"


def test_without_a_sensor_times_and_losses_are_there_and_joules_have_a_reason(tmp_path: Path) -> None:
    found = derive_training(known_run(tmp_path, channels=[]))
    for entry in found.values():
        assert entry["metrics"]["energy_per_step_j"]["value"] is None
        assert entry["metrics"]["energy_per_step_j"]["reason"]
        assert entry["metrics"]["step_time_s"]["value"] > 0
        json.dumps(entry, allow_nan=False)


def test_steps_on_the_cpu_are_not_charged_with_what_a_gpu_drew_beside_them(tmp_path: Path) -> None:
    run = known_run(tmp_path, channels=[CHANNEL])
    run.update_manifest(model={"name": "tiny", "device": "cpu"})
    for entry in derive_training(run).values():
        metric = entry["metrics"]["energy_per_step_j"]
        assert metric["value"] is None
        assert metric["reason"] == "the model ran on the CPU: these sensors see GPUs only"
        assert entry["metrics"]["loss_at_budget"]["value"] is None
        assert entry["metrics"]["step_time_s"]["value"] > 0
    steps = run.read_table("steps")
    assert steps is not None
    assert steps["energy_j"].null_count == steps.num_rows


def test_records_that_a_crash_or_a_stranger_left_are_passed_over(tmp_path: Path) -> None:
    run = known_run(tmp_path, channels=[])
    with Journal(run) as journal:
        journal.append("step", {"method": "backprop", "phases": ["forward"], "edges_ns": [1]})
        journal.append("step", {"method": 3})
        journal.append("step", {"method": "x", "phases": ["magic"], "edges_ns": [1, 2], "data_ns": [0, 1]})
    assert set(derive_training(run)) == set(POWER_W)
