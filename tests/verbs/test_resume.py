from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.openai_server import Behaviour, Request, Server, serving

from ipw.errors import IpwError, UsageError
from ipw.runs.directory import RunDir
from ipw.verbs.resume import resume

QUESTIONS = 120
KEPT = ("query_id", "subject", "status", "response", "answer", "score", "prompt_tokens", "completion_tokens")


def behave(request: Request) -> Behaviour:
    """Answer as the question alone says: wrong for some, refused for others."""
    number = int(request.prompt.removesuffix("+1"))
    said = str(number + 1) if number % 3 else "no idea"
    return Behaviour([said], token_s=0.002, prefill_s=0.004, status=503 if number % 20 == 7 else 200)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    rows = [{"id": f"q{i}", "prompt": f"{i}+1", "answer": i + 1, "subject": "ab"[i % 2]} for i in range(QUESTIONS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(behave) as made:
        yield made


def command(server: Server, questions: Path, out: Path) -> list[str]:
    options = ["--base-url", server.url, "--dataset", str(questions), "--out", str(out), "--sensors", "estimate"]
    return [
        sys.executable,
        "-m",
        "ipw.cli",
        "run",
        "lm",
        *options,
        "--idle",
        "0.1",
        "--warmup",
        "2",
        "--concurrency",
        "2",
    ]


def cut_off(server: Server, questions: Path, out: Path, number: int = signal.SIGKILL) -> RunDir:
    """Start a run and end it with a signal when it has a third of its answers."""
    asked = len(server.books)
    child = subprocess.Popen(command(server, questions, out), stderr=subprocess.DEVNULL)
    while len(server.books) < asked + QUESTIONS // 3:
        time.sleep(0.005)
    child.send_signal(number)
    child.wait(120)
    (path,) = out.iterdir()
    return RunDir(path)


def table(run: RunDir) -> list[tuple[Any, ...]]:
    found = run.read_table("queries", KEPT)
    assert found is not None
    return sorted(tuple(row[name] for name in KEPT) for row in found.to_pylist())


def test_a_run_that_was_killed_and_resumed_has_the_table_of_one_that_was_left_alone(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    run = cut_off(server, questions, tmp_path / "cut")
    before = [record["query_id"] for record in run.journal("query") if record["status"] == "ok"]
    assert 10 <= len(before) < QUESTIONS
    assert run.manifest()["status"] == "running"
    asked = len(server.books)
    assert resume(run=run.path, as_json=True, strict=False) == 0
    assert len(server.books) - asked == QUESTIONS - len(before) + 2  # the warm-up again
    subprocess.run(command(server, questions, tmp_path / "whole"), check=True, stderr=subprocess.DEVNULL)
    (whole,) = (RunDir(path) for path in (tmp_path / "whole").iterdir())
    assert table(run) == table(whole)
    for each in (run, whole):
        kept = each.manifest()["arrivals"]
        assert (kept["missing"], kept.get("cut_bytes")) == (0, None)
        assert kept["chunks"] == sum(r["chunks"] or 0 for kind in ("query", "warmup") for r in each.journal(kind))
    summary, expected = run.summary(), whole.summary()
    assert summary is not None
    assert expected is not None
    for name in ("accuracy", "errors", "queries"):
        assert summary["metrics"][name] == expected["metrics"][name]

    assert not (run.path / "sampler.log").exists(), "the sampler ended without a word when its parent was killed"
    manifest = run.manifest()
    assert manifest["status"] == "complete"
    assert [part["status"] for part in manifest["resumed"]] == ["running"]
    (first, second) = manifest["attribution"]["windows_ns"]
    assert first[0] < first[1] < second[0] < second[1]
    seconds = sum(end - start for start, end in (first, second)) / 1e9
    assert summary["metrics"]["duration_s"]["value"] == pytest.approx(seconds)
    energies = run.read_table("queries", ["energy_j"])
    assert energies is not None
    assert sum(energies["energy_j"].to_pylist()) == pytest.approx(manifest["attribution"]["attributed_j"])
    told = [check["detail"] for check in summary["validity"] if check["check"] == "resumed"]
    assert told == ["measured in 2 parts; what was in flight when the run was cut off was asked again"]


def test_a_run_that_was_interrupted_and_derived_is_resumed_too(server: Server, questions: Path, tmp_path: Path) -> None:
    run = cut_off(server, questions, tmp_path / "cut", signal.SIGINT)
    assert run.manifest()["status"] == "interrupted"
    assert (run.path / "power.parquet").is_file()
    counted = run.readings().size
    assert resume(run=run.path, as_json=True, strict=False) == 0
    assert len(table(run)) == QUESTIONS
    assert run.readings().size > counted
    assert [part["status"] for part in run.manifest()["resumed"]] == ["interrupted"]
    with pytest.raises(UsageError, match="nothing is left to ask") as caught:
        resume(run=run.path, as_json=True, strict=False, retry_failed="none")
    assert caught.value.hint == f"ipw resume {run.path} --retry-failed all, since 6 questions failed"


def test_what_differs_from_the_beginning_is_refused_and_changes_nothing(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    run = cut_off(server, questions, tmp_path / "cut")
    journal, manifest = (run.path / "journal.jsonl").read_bytes(), run.manifest()
    text = questions.read_text()

    def refused(said: str, kind: type[IpwError] = UsageError) -> None:
        stored = run.manifest()
        with pytest.raises(kind, match=said) as caught:
            resume(run=run.path, as_json=True, strict=False)
        assert caught.value.hint
        assert (run.path / "journal.jsonl").read_bytes() == journal
        assert run.manifest() == stored

    questions.write_text(text.replace("q5", "other"))
    refused("the dataset is not the one")
    questions.write_text(text)
    run.write_manifest(manifest | {"model": {"name": "another"}})
    refused("the model is not the one")
    altered = manifest["workload"] | {"parameters": manifest["workload"]["parameters"] | {"max_tokens": 3}}
    run.write_manifest(manifest | {"workload": altered})
    refused("the parameters")
    run.write_manifest(manifest | {"process": manifest["process"] | {"boot_id": "another"}})
    refused("started anew", IpwError)
    alive = {"pid": os.getppid(), "created_s": __import__("psutil").Process(os.getppid()).create_time()}
    run.write_manifest(manifest | {"process": manifest["process"] | alive})
    refused("still goes on")
    run.write_manifest(manifest)
    sensors = [channel | {"name": "other/" + channel["name"]} for channel in manifest["sensors"]]
    run.write_manifest(manifest | {"sensors": sensors})
    readings = []
    for _ in range(2):
        with pytest.raises(IpwError, match="the sensors are not those"):
            resume(run=run.path, as_json=True, strict=False)
        readings.append(run.readings().tolist())
    assert str(readings[0]) == str(readings[1])


def test_only_runs_of_language_models_are_resumed(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "x")
    run.write_manifest({"workload": {"kind": "command", "parameters": {}}})
    with pytest.raises(UsageError, match="only language-model runs"):
        resume(run=run.path, as_json=True, strict=False)
