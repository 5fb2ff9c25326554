from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra 'torch'")

import torch
from workloads.training.tiny import tiny_text

from ipw.clock import now_ns
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.workloads.training import child
from ipw.workloads.training.child import Session, attempt, train
from ipw.workloads.training.derive import derive_training
from ipw.workloads.training.edges import Edges
from ipw.workloads.training.methods import make_method
from ipw.workloads.training.parameters import Parameters, from_dict
from ipw.workloads.training.resonance import Jitter
from ipw.workloads.training.run import Ended, run_training

TESTS = Path(__file__).parents[2]


@dataclass
class Spans:
    """Marks spans as a meter does, without sensors."""

    run: RunDir
    journal: Journal

    @contextmanager
    def span(self, name: str, phase: str) -> Iterator[None]:
        start_ns = now_ns()
        try:
            yield
        finally:
            self.journal.append("span", {"name": name, "phase": phase, "start_ns": start_ns, "end_ns": now_ns()})

    def idle(self, name: str, seconds: float) -> None:
        with self.span(name, "idle"):
            pass

    def note(self, **facts: Any) -> None:
        self.run.update_manifest(**facts)


def new_run(folder: Path, parameters: Parameters) -> RunDir:
    run = RunDir.create(folder, "training")
    run.write_manifest({"workload": {"kind": "train", "parameters": parameters.as_dict()}, "sensors": []})
    return run


def in_this_process(folder: Path, method: str, **options: Any) -> tuple[RunDir, list[dict[str, Any]], str]:
    """Train as the child process does, here."""
    parameters = Parameters(methods=(method,), **options)
    run = new_run(folder, parameters)
    told: list[dict[str, Any]] = []
    with Journal(run) as journal:
        session = Session(journal, told.append, method, parameters, Jitter({}))
        status = train(session)
    return run, told, status


def in_children(folder: Path, model: str, methods: tuple[str, ...], **options: Any) -> tuple[RunDir, list[Ended]]:
    parameters = Parameters(model=f"workloads.training.broken:{model}", methods=methods, warmup=1, **options)
    run = new_run(folder, parameters)
    with Journal(run) as journal:
        ended = run_training(Spans(run, journal), journal, run, parameters, lambda _counters: None)
    return run, ended


@pytest.fixture(autouse=True)
def _where_users_modules_are(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(TESTS)


def test_parameters_survive_their_way_to_the_process_that_trains() -> None:
    parameters = Parameters(methods=("local", "lora"), target_loss=1.5, amp=True)
    assert from_dict(json.loads(json.dumps(parameters.as_dict()))) == parameters


# --- the loop -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["backprop", "local", "zeroth-order"])
def test_measuring_changes_no_loss(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "load_task", lambda _parameters, _rank=0: tiny_text())
    run, _, status = in_this_process(tmp_path, method, steps=8, warmup=2)
    assert status == "complete"
    task = tiny_text()
    plain = make_method(method, task, Parameters())
    edges = Edges(torch.device("cpu"))
    expected = []
    for _ in range(8):
        edges.begin()
        expected.append(float(plain.step(next(task.batches), edges)))
    assert [step["loss"] for step in run.journal("step")] == expected, "warm-up left no trace, nor did the clock"


def test_a_step_is_journalled_with_its_phases_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "load_task", lambda _parameters, _rank=0: tiny_text())
    run, told, _ = in_this_process(tmp_path, "local", steps=3, blocks=2)
    steps = list(run.journal("step"))
    assert [step["step"] for step in steps] == [0, 1, 2]
    for step in steps:
        assert step["phases"] == ["forward", "backward", "forward", "backward", "update"]
        assert step["edges_ns"] == sorted(step["edges_ns"])
        assert (step["start_ns"], step["end_ns"]) == (step["edges_ns"][0], step["edges_ns"][-1])
        assert (step["samples"], step["tokens"], step["status"]) == (4, 32, "ok")
        assert step["peak_device_memory_bytes"] is None
        assert step["peak_host_memory_bytes"] > 0
    assert sum(record["kind"] == "step" for record in told) == 3


def test_a_method_stops_when_its_smoothed_loss_is_at_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "load_task", lambda _parameters, _rank=0: tiny_text())
    run, _, status = in_this_process(tmp_path, "backprop", target_loss=2.7)
    losses = [step["loss"] for step in run.journal("step")]
    assert status == "complete"
    assert sum(losses[-10:]) / len(losses[-10:]) <= 2.7 < sum(losses[:3]) / 3


@pytest.mark.parametrize("model", ["text", "image"])
def test_the_same_seed_makes_the_same_weights_and_the_same_data(model: str) -> None:
    from ipw.workloads.training.subjects import load_task
    from ipw.workloads.training.task import tensors

    parameters = Parameters(model=model, batch_size=2, sequence_length=16)
    first, second, other = load_task(parameters), load_task(parameters), load_task(Parameters(model=model, seed=1))
    assert first.facts == second.facts
    assert first.facts["initial_weights"] != other.facts["initial_weights"]
    for _ in range(3):
        for a, b in zip(tensors(next(first.batches)), tensors(next(second.batches)), strict=True):
            assert torch.equal(a, b)


def test_a_hugging_face_model_trains_by_every_method(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="Hugging Face models need the extra 'torch'")
    from ipw.workloads.training.subjects import load_task

    for method in ("backprop", "checkpointing", "local", "momentum-local", "zeroth-order"):
        parameters = Parameters(model="moe", batch_size=2, sequence_length=16)
        task = load_task(parameters)
        trained = make_method(method, task, parameters)
        edges = Edges(task.model.device)
        edges.begin()
        loss = trained.step(next(task.batches), edges)
        assert bool(torch.isfinite(loss)), method


def attempted(folder: Path, model: str, method: str) -> tuple[RunDir, str, str]:
    """Train a model of `broken` here, and catch what the child process catches."""
    parameters = Parameters(model=f"workloads.training.broken:{model}", methods=(method,), warmup=1, steps=50)
    run = new_run(folder, parameters)
    with Journal(run) as journal:
        status, reason = attempt(Session(journal, lambda _record: None, method, parameters, Jitter({})))
        journal.append("method", {"method": method, "status": status, "reason": reason})
    return run, status, str(reason)


@pytest.mark.parametrize(
    ("model", "status", "said"),
    [
        ("diverging", "diverged", "no longer a finite number"),
        ("running_out_of_memory", "out_of_memory", "--batch-size"),
        ("raising", "failed", "KeyError"),
    ],
)
def test_what_ends_a_method_is_told_in_a_line_and_its_finished_steps_are_kept(
    model: str, status: str, said: str, tmp_path: Path
) -> None:
    run, found, reason = attempted(tmp_path, model, "backprop")
    assert found == status
    assert said in reason
    assert "\n" not in reason
    assert len([step for step in run.journal("step") if step["status"] == "ok"]) == 6
    entry = derive_training(run)["backprop"]
    assert entry["status"] == status
    assert entry["metrics"]["step_time_s"]["value"] > 0


def test_a_method_that_does_not_fit_the_model_says_what_to_do(tmp_path: Path) -> None:
    run, status, reason = attempted(tmp_path, "fine", "local")
    assert status == "unfit"
    assert "leave local out" in reason
    assert derive_training(run)["local"]["metrics"] == {}


def test_a_function_that_returns_no_model_is_told(tmp_path: Path) -> None:
    _, status, reason = attempted(tmp_path, "returning_nothing", "backprop")
    assert status == "unfit"
    assert "return (model, batches, loss_function)" in reason


# --- in processes ---------------------------------------------------------------------------------------------------


def test_methods_run_one_after_another_from_the_same_weights(tmp_path: Path) -> None:
    run, ended = in_children(tmp_path, "fine", ("backprop", "zeroth-order"), steps=12)
    assert [(each.method, each.status) for each in ended] == [("backprop", "complete"), ("zeroth-order", "complete")]
    by_method = derive_training(run)
    assert set(by_method) == {"backprop", "zeroth-order"}
    first = [next(s for s in run.journal("evaluation") if s["method"] == name)["loss"] for name in by_method]
    assert first[0] == first[1]
    for entry in by_method.values():
        for name, metric in entry["metrics"].items():
            assert metric["value"] is not None or metric["reason"], name
        assert entry["metrics"]["steps"]["value"] == 12
        assert entry["metrics"]["energy_per_step_j"]["value"] is None, "no sensor was read"
    table = run.read_table("steps")
    assert table is not None
    assert table.num_rows == 24
    assert derive_training(run) == by_method, "the same files give the same numbers"


def test_a_process_that_is_killed_is_told_and_its_finished_steps_are_kept(tmp_path: Path) -> None:
    run, (ended,) = in_children(tmp_path, "killed", ("backprop",), steps=50)
    assert ended.status == "killed"
    assert "killed (signal 9): out of memory?" in str(ended.reason)
    assert len([step for step in run.journal("step") if step["status"] == "ok"]) == 6
    entry = derive_training(run)["backprop"]
    assert entry["status"] == "killed"
    assert entry["metrics"]["step_time_s"]["value"] > 0


def test_a_run_that_is_interrupted_keeps_its_steps_and_leaves_no_process(tmp_path: Path) -> None:
    parameters = Parameters(model="workloads.training.broken:fine", methods=("zeroth-order",), warmup=0, steps=10**6)
    run = new_run(tmp_path, parameters)

    def interrupt() -> None:
        while not next(iter(run.journal("step")), None):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt, daemon=True).start()
    with Journal(run) as journal, pytest.raises(KeyboardInterrupt):
        run_training(Spans(run, journal), journal, run, parameters, lambda _counters: None)
    assert [record["status"] for record in run.journal("method")] == ["interrupted"]
    assert next(iter(run.journal("span")))["phase"] in {"load", "warmup"}
    count = sum(1 for _ in run.journal("step"))
    assert count
    time.sleep(0.2)
    assert sum(1 for _ in run.journal("step")) == count, "nobody writes any more"
