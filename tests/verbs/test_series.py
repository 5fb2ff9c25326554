from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from doubles.openai_server import Behaviour, Request, serving

from ipw.errors import UsageError
from ipw.runs.directory import RunDir
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.series import measure_series, members


def behave(request: Request) -> Behaviour:
    return Behaviour(["1", "2"], token_s=0.002, status=503 if request.prompt == "3+1" and request.number < 9 else 200)


@pytest.fixture
def questions(tmp_path: Path) -> str:
    path = tmp_path / "sums.jsonl"
    rows = [{"id": f"q{i}", "prompt": f"{i}+1", "answer": 12} for i in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_series_has_every_level_once_and_then_every_level_again() -> None:
    found = members(Parameters(seed=5), [1, 4], 2)
    assert [(m.parameters.concurrency, m.parameters.repetition) for m in found] == [(1, 0), (4, 0), (1, 1), (4, 1)]
    assert {m.parameters.seed for m in found} == {5}
    assert len({m.series["id"] for m in found}) == 1
    assert [m.parameters.concurrency for m in members(Parameters(rate=2.0), [], 3)] == [None] * 3


def test_an_open_loop_cannot_be_swept() -> None:
    with pytest.raises(UsageError, match="an open loop"):
        members(Parameters(rate=2.0), [1, 2], 1)


@pytest.mark.parametrize("restart", [False, True])
def test_a_server_lasts_for_the_series_or_is_restarted_for_every_run(
    restart: bool, questions: str, tmp_path: Path
) -> None:
    command = (
        f'{sys.executable} -c "import os, sys; sys.path[:0] = {sys.path!r}; sys.stdin = os.fdopen(os.pipe()[0]); '
        'from doubles.openai_server import main; main()" --port {port}'
    )
    parameters = Parameters(serve=command, dataset=questions, warmup=1)
    measured = measure_series(parameters, [], 2, "estimate", 0.0, tmp_path / "runs", restart=restart)
    assert measured.error() is None
    runs = measured.runs
    ports = [run.manifest()["server"]["url"] for run in runs]
    assert len(set(ports)) == (2 if restart else 1)
    assert [len(list(run.journal("query"))) for run in runs] == [8, 8]
    began = [run.manifest()["workload"]["series"].get("channels") for run in runs]
    assert began == [None, ["estimate/cpu"]], "each run knows what the first one measured"


def test_a_sweep_makes_a_run_a_level_and_a_page_and_asks_again_outside_the_measured_window(
    questions: str, tmp_path: Path
) -> None:
    with serving(behave) as server:
        told = subprocess.run(
            [sys.executable, "-m", "ipw.cli", "run", "lm", "--base-url", server.url, "--dataset", questions, "--json",
             "--sweep", "1,4", "--idle", "0", "--warmup", "1", "--sensors", "estimate", "--retries", "2",
             "--slo", "e2e=30s"],
            capture_output=True, cwd=tmp_path, check=True,
        )  # fmt: skip
    answer: dict[str, Any] = json.loads(told.stdout)
    runs = [RunDir(tmp_path / path) for path in answer["runs"]]
    assert [run.manifest()["workload"]["parameters"]["concurrency"] for run in runs] == [1, 4]
    assert "Sweep over the requests in flight" in (tmp_path / answer["page"]).read_text()
    assert (runs[0].path / "report.html").is_file()
    first = answer["summaries"][0]["metrics"]
    assert first["errors"]["value"] == 1
    assert first["accuracy"]["value"] == pytest.approx(7 / 8)
    assert first["accuracy_with_retries"]["value"] == 1.0
    assert first["goodput_per_s"]["value"] == pytest.approx(first["queries_per_s"]["value"] * 7 / 8)
    spans = {span["phase"]: span for span in runs[0].journal("span")}
    (retry,) = runs[0].journal("retry")
    assert spans["measure"]["end_ns"] <= retry["start_ns"] <= spans["retry"]["end_ns"]


def test_open_loop_runs_tell_when_each_question_was_due(questions: str, tmp_path: Path) -> None:
    with serving(Behaviour(["1", "2"], token_s=0.05)) as server:
        parameters = Parameters(base_url=server.url, dataset=questions, rate=100.0, arrival="constant", warmup=0)
        (run,) = measure_series(parameters, [], 1, "estimate", 0.0, tmp_path / "runs", restart=False).runs
    records = sorted(run.journal("query"), key=lambda record: record["scheduled_ns"])
    assert [record["query_id"] for record in records] == [f"q{i}" for i in range(8)]
    due = [record["scheduled_ns"] - records[0]["scheduled_ns"] for record in records]
    assert due == [i * 10_000_000 for i in range(8)]
    assert all(record["start_ns"] >= record["scheduled_ns"] for record in records)
    assert max(record["concurrency"] for record in records) > 3
