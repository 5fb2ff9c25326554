from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.openai_server import serving

import ipw
from ipw.runs.owner import Owner


def run_ipw(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ipw.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    questions = folder / "q.jsonl"
    questions.write_text("".join(json.dumps({"id": f"q{i}", "prompt": "a", "answer": "b"}) + "\n" for i in range(4)))
    with serving() as server:
        given = ("--base-url", server.url, "--dataset", questions, "--out", folder / "runs")
        assert run_ipw("run", "lm", *given, "--idle", "0", "--sensors", "estimate").returncode == 0
    (run,) = (folder / "runs").iterdir()
    return run


@pytest.mark.parametrize(
    "verb", [("report", "RUN", "--recompute"), ("score", "RUN", "--scorer", "exact"), ("resume", "RUN")]
)
def test_what_would_change_a_busy_run_is_refused(finished: Path, verb: tuple[str, ...]) -> None:
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with Owner(finished, "measured"):
        told = run_ipw(*[finished if word == "RUN" else word for word in verb])
    assert told.returncode == 5
    assert "is being measured by process" in told.stderr
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


@pytest.mark.parametrize(
    "verb",
    [
        ("report", "RUN"),
        ("list", "runs", "--out", "RUN/.."),
        ("watch", "RUN", "--once"),
        ("export", "RUN", "--format", "prometheus"),
    ],
)
def test_readers_of_a_busy_run_are_never_blocked(finished: Path, verb: tuple[str, ...]) -> None:
    with Owner(finished, "scored"):
        told = run_ipw(*[word.replace("RUN", str(finished)) for word in verb])
        assert ipw.load_run(finished).summary["run_id"] == finished.name
    assert told.returncode == 0, told.stderr


def test_a_run_that_is_still_measured_is_not_derived_under_its_sampler(tmp_path: Path) -> None:
    with ipw.Meter("mine", sensors="estimate", out=tmp_path) as meter:
        told = run_ipw("report", meter.path)
        assert told.returncode == 5
        assert "is being measured by process" in told.stderr
        assert (meter.path / "power.bin").is_file()
    assert meter.summary is not None
    assert run_ipw("report", meter.path).returncode == 0
