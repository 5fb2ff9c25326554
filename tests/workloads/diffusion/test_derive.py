"""Joules of two methods in turns, against a schedule of power that is known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipw.energy.timeline import Spans
from ipw.metrics.summary import summarize
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.readings import READINGS, RECORD
from ipw.workloads.diffusion.derive import between, derive_diffusion, pass_columns, steps_table

IDLE_W, MINE_W, THEIRS_W = 20.0, 120.0, 300.0
ANSWER_S, TURNS, EACH, TICK_S = 0.03, 6, 10, 0.01
CHANNEL = {
    "name": "nvml/gpu0", "index": 0, "kind": "counter", "scope": "gpu", "method": "counter", "in_total": True,
    "status": "ok", "ticks": False, "update_period_s": TICK_S, "resolution_j": 0.001, "gain_rel": 0.0,
}  # fmt: skip


def record(number: int, start_ns: int, end_ns: int, **changes: Any) -> dict[str, Any]:
    return {
        "query_id": f"q{number}", "subject": None, "start_ns": start_ns, "first_token_ns": None, "end_ns": end_ns,
        "status": "ok", "error": None, "prompt_tokens": 6, "completion_tokens": 3, "cached_tokens": 0,
        "tokens_source": "counted", "finish_reason": "stop", "response": "7", "answer": "7", "score": 1.0,
        "concurrency": 1, "forwards": 2, "committed": [3, 1], "computed": [10, 4], "positions": 10,
        "sure": [0.9, 0.8], "agrees": number % 2 == 0,
    } | changes  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Turns of this method at MINE_W and of another at THEIRS_W, one behind the other, with a breath between."""
    run = RunDir.create(tmp_path_factory.mktemp("known"), "known")
    now_ns, t_ns, energy_j, number = 10**9, [0, 10**9], [0.0, IDLE_W], 0
    with Journal(run) as journal:

        def draw(power_w: float, seconds: float) -> tuple[int, int]:
            nonlocal now_ns
            start = now_ns
            now_ns += round(seconds * 1e9)
            t_ns.append(now_ns)
            energy_j.append(energy_j[-1] + power_w * seconds)
            return start, now_ns

        def span(name: str, phase: str, edges: tuple[int, int]) -> None:
            journal.append("span", {"name": name, "phase": phase, "start_ns": edges[0], "end_ns": edges[1]})

        span("idle before", "idle", draw(IDLE_W, 2.0))
        for _ in range(TURNS):
            first = now_ns
            for _ in range(EACH):
                start, end = draw(MINE_W, ANSWER_S)
                journal.append("query", record(number, start, end))
                number += 1
            span("measure", "measure", (first, now_ns))
            draw(IDLE_W, 0.005)
            span("local-leap", "other", draw(THEIRS_W, EACH * ANSWER_S / 3))
        span("idle after", "idle", draw(IDLE_W, 2.0))
    whole = np.arange(0, now_ns, round(TICK_S * 1e9))
    joules = np.interp(whole, t_ns, energy_j).tolist()
    packed = [RECORD.pack(t, value, 0, 0, 100_000) for t, value in zip(whole.tolist(), joules, strict=True)]
    (run.path / READINGS).write_bytes(b"".join(packed))
    workload = {"kind": "diffusion", "parameters": {"method": "greedy", "dataset": "made"}, "held_against": "random"}
    run.write_manifest({
        "run_id": run.path.name, "status": "complete", "workload": workload, "sensors": [CHANNEL], "basis": "gpu",
        "method": "counter", "model": {"name": "m"}, "dataset": {"questions": TURNS * EACH, "scorer": "exact"},
    })  # fmt: skip
    derive_diffusion(run)
    return run


def test_the_measured_joules_are_those_of_the_methods_own_turns(run: RunDir) -> None:
    attribution = run.manifest()["attribution"]
    seconds = TURNS * EACH * ANSWER_S
    assert attribution["measured_j"] == pytest.approx(MINE_W * seconds, rel=0.02)
    assert attribution["channels"]["nvml/gpu0"] == pytest.approx(MINE_W * seconds, rel=0.02)
    assert attribution["mean_power_w"] == pytest.approx(MINE_W, rel=0.02)
    assert len(attribution["windows_ns"]) == TURNS
    assert sum(end - start for start, end in attribution["windows_ns"]) / 1e9 == pytest.approx(seconds)
    assert attribution["coverage"] == pytest.approx(1.0)


def test_answers_and_idle_add_up_to_what_was_measured(run: RunDir) -> None:
    attribution, table = run.manifest()["attribution"], run.read_table("queries")
    assert table is not None
    energy = np.array(table["energy_j"].to_pylist())
    assert energy.sum() + attribution["idle_j"] == pytest.approx(attribution["measured_j"], rel=1e-9)
    assert energy == pytest.approx(MINE_W * ANSWER_S, rel=0.25)


def test_metrics_of_passes_are_ratios_of_sums(run: RunDir) -> None:
    found = summarize(run)["metrics"]
    values = {name: found[name]["value"] for name in ("forwards_per_answer", "tokens_per_forward", "computed_share")}
    assert values == {"forwards_per_answer": 2.0, "tokens_per_forward": 2.0, "computed_share": pytest.approx(14 / 20)}
    assert found["steps_saved"]["value"] == pytest.approx(0.5)
    assert found["agreement"]["value"] == pytest.approx(0.5)
    joules = found["energy_per_query_j"]["value"]
    assert found["energy_per_forward_j"]["value"] == pytest.approx(joules / 2)
    assert found["energy_per_committed_token_j"]["value"] == pytest.approx(joules / 4)
    assert found["energy_per_output_token_j"]["value"] == pytest.approx(joules / 3)
    assert found["energy_per_committed_token_j"]["unit"] == "J"


def test_a_reference_that_did_not_run_leaves_agreement_absent_with_the_reason(run: RunDir, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(run.path, tmp_path / "copy"))
    journal = run.path / "journal.jsonl"
    text = journal.read_text()
    journal.write_text(text.replace('"agrees":true', '"agrees":null').replace('"agrees":false', '"agrees":null'))
    derive_diffusion(run)
    found = summarize(run)["metrics"]["agreement"]
    assert (found["value"], found["reason"]) == (None, "random did not run beside it")


def test_steps_are_means_over_the_answers_that_are_still_written() -> None:
    short = record(0, 0, 1, committed=[4], computed=[10], forwards=1, sure=[0.5])
    failed = record(1, 0, 1, status="error", committed=[], computed=[], forwards=0, sure=[])
    long = record(2, 0, 1, committed=[0, 4], computed=[10, 4], sure=[None, 0.7])
    table = steps_table([short, failed, long]).to_pydict()
    assert table["running"] == [2, 1]
    assert table["mean_committed"] == [2.0, 4.0]
    assert table["mean_computed"] == [10.0, 4.0]
    assert table["mean_masked"] == [4.0, 4.0]
    assert table["mean_masked_of_all"] == [4.0, 2.0]
    assert table["mean_confidence"] == [0.5, 0.7]
    assert steps_table([]).num_rows == 0


def test_a_failed_answer_has_no_passes() -> None:
    columns = pass_columns([record(0, 0, 1), record(1, 0, 1, status="error", forwards=0)])
    assert columns["forwards"][0] == 2
    assert all(np.isnan(column[1]) for column in columns.values())


def test_what_lies_between_answers_of_a_turn_is_found_also_where_they_overlap() -> None:
    starts, ends = np.array([10, 12, 30, 105]), np.array([20, 15, 40, 120])
    zeros = np.zeros(4, np.int64)
    spans = Spans(starts, ends, zeros, ("query",), np.arange(4), np.ones(4))
    assert between([(5, 50), (100, 120), (200, 210)], spans) == [(5, 10), (20, 30), (40, 50), (100, 105), (200, 210)]
