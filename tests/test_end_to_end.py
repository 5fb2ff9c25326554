"""`ipw run lm` against a server whose GPU's true power is known to the microsecond."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.machines import NOTHING
from doubles.nvml import FakeNvml
from doubles.openai_server import Behaviour, Request, Server, serving
from doubles.patience import undisturbed, wait_for

from ipw.errors import INTERRUPTED
from ipw.runs.directory import RunDir

IDLE_W, PREFILL_W, DECODE_W = 70.0, 420.0, 260.0


def behave(request: Request) -> Behaviour:
    draw = random.Random(request.number)
    return Behaviour(
        tokens=["4"] * draw.randint(5, 30), prefill_s=draw.uniform(0.03, 0.2), token_s=0.012, prompt_tokens=64
    )


@contextmanager
def gpu_server(folder: Path, answers: Callable[[Request], Behaviour] = behave) -> Iterator[tuple[Server, FakeNvml]]:
    gpu = FakeNvml.create(folder / "nvml")
    gpu.set_power(0, IDLE_W)

    def draw(t_ns: int, prefilling: int, decoding: int) -> None:
        gpu.set_power(0, PREFILL_W if prefilling else DECODE_W if decoding else IDLE_W)

    with serving(answers, models=["tiny"], on_state=draw) as server:
        yield server, gpu


def arguments(server: Server, questions: Path, *more: str) -> list[str]:
    base = ["--base-url", server.url, "--model", "tiny", "--dataset", str(questions), "--idle", "1"]
    return [sys.executable, "-m", "ipw.cli", "run", "lm", *base, *more]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    lines = [{"prompt": f"{i} plus nothing", "answer": "4", "subject": "sum"} for i in range(24)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def run_lm(server: Server, gpu: FakeNvml, questions: Path, cwd: Path, *more: str) -> tuple[RunDir, dict[str, Any]]:
    environment = dict(os.environ) | NOTHING | gpu.environment()
    command = arguments(server, questions, "--json", *more)
    result = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    return RunDir.open(cwd / summary["run"]), summary


@pytest.mark.parametrize("latency_ns", [0, 3_000_000], ids=["a quick counter", "one that takes 3 ms to answer"])
def test_the_sum_over_the_run_is_within_one_percent_of_the_truth(
    questions: Path, tmp_path: Path, latency_ns: int
) -> None:
    attempts = count()

    def told() -> None:
        folder = tmp_path / str(next(attempts))
        folder.mkdir()
        with gpu_server(folder) as (server, gpu):
            gpu.gpu(0).energy_latency_ns = latency_ns
            is_the_truth(gpu, *run_lm(server, gpu, questions, folder))

    undisturbed(told)


def is_the_truth(gpu: FakeNvml, run: RunDir, summary: dict[str, Any]) -> None:
    queries = run.read_table("queries")
    assert queries is not None
    starts, ends = queries["start_ns"].to_pylist(), queries["end_ns"].to_pylist()
    truth = np.array([gpu.energy_j(0, start, end) for start, end in zip(starts, ends, strict=True)])
    energy = queries["energy_j"].to_numpy()
    assert energy.sum() == pytest.approx(truth.sum(), rel=0.01)
    assert np.abs(energy / truth - 1).mean() < 0.007
    half_width = (queries["energy_high_j"].to_numpy() - queries["energy_low_j"].to_numpy()) / 2
    assert np.median(half_width / energy) < 0.04  # what the warm-up drew must not pass for restless idle power
    attribution = run.manifest()["attribution"]
    assert attribution["measured_j"] == pytest.approx(gpu.energy_j(0, *attribution["window_ns"]), rel=0.01)
    metrics = summary["metrics"]
    assert (summary["basis"], summary["method"], summary["valid"]) == ("gpu", "counter", True)
    assert metrics["energy_per_query_j"]["value"] == pytest.approx(truth.mean(), rel=0.01)
    assert metrics["idle_power_w"]["value"] == pytest.approx(IDLE_W, rel=0.02)
    power = np.mean(truth / ((np.array(ends) - np.array(starts)) / 1e9))
    assert metrics["accuracy_per_watt"]["value"] == pytest.approx(metrics["accuracy"]["value"] / power, rel=0.02)


def test_recomputing_gives_the_same_numbers_to_the_last_digit(questions: Path, tmp_path: Path) -> None:
    with gpu_server(tmp_path) as (server, gpu):
        run, _ = run_lm(server, gpu, questions, tmp_path, "--limit", "6")
    before = (run.path / "summary.json").read_bytes()
    tables = [run.read_table(name) for name in ("queries", "spans")]
    subprocess.run([sys.executable, "-m", "ipw.cli", "report", "--recompute", str(run.path)], check=True)
    assert (run.path / "summary.json").read_bytes() == before
    assert [run.read_table(name) for name in ("queries", "spans")] == tables


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_keeps_every_finished_query(number: signal.Signals, questions: Path, tmp_path: Path) -> None:
    def some(request: Request) -> Behaviour:
        """Answer the warm-up and ten questions; whatever comes then takes longer than a test may."""
        return replace(behave(request), token_s=0.012 if request.number < 8 + 10 else 600.0)

    with gpu_server(tmp_path, some) as (server, gpu):
        environment = dict(os.environ) | NOTHING | gpu.environment()
        process = subprocess.Popen(
            arguments(server, questions), env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: sum(entry.end_ns is not None for entry in server.books) >= 8 + 5)  # the warm-up, and five
        finished = sum(entry.end_ns is not None for entry in list(server.books)) - 8
        time.sleep(0.1)  # for the client to hear of the last
        process.send_signal(number)
        _, told = process.communicate(timeout=120)
    (folder,) = (tmp_path / "runs").iterdir()
    run = RunDir.open(folder)
    assert len(list(run.journal("query"))) >= finished - 1
    assert "Traceback" not in told
    if number == signal.SIGKILL:
        shown = [sys.executable, "-m", "ipw.cli", "report", "--json", str(folder)]
        summary = json.loads(subprocess.check_output(shown, text=True))
        assert run.manifest()["status"] == "running"
    else:
        assert process.returncode == INTERRUPTED
        assert run.manifest()["status"] == "interrupted"
        summary = run.summary() or {}
    assert summary["metrics"]["queries"]["value"] >= finished - 1
    assert summary["metrics"]["energy_per_query_j"]["value"] > 0


def test_no_key_is_written_anywhere(questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-key")
    with gpu_server(tmp_path) as (server, gpu):
        run, _ = run_lm(server, gpu, questions, tmp_path, "--limit", "3")
        assert {entry.authorization for entry in server.books} == {"Bearer sk-very-secret-key"}
    for file in run.path.iterdir():
        assert b"sk-very-secret-key" not in file.read_bytes()
