"""`--max-failed`: how many questions may have no answer before a run is not valid."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from doubles.openai_server import Behaviour, serving

from ipw.cli import cli
from ipw.metrics.summary import summarize
from ipw.runs.directory import RunDir


def test_the_limit_is_stored_with_the_run_and_decides_what_strict_exits_with(tmp_path: Path) -> None:
    questions = tmp_path / "q.jsonl"
    questions.write_text("".join(json.dumps({"prompt": f"say {i}", "answer": "4"}) + "\n" for i in range(10)))
    with serving(lambda request: Behaviour(status=400 if request.number % 2 else 200)) as server:
        told = subprocess.run(
            [sys.executable, "-m", "ipw.cli", "run", "lm", "--base-url", server.url, "--dataset", questions, "--json",
             "--idle", "0", "--warmup", "0", "--sensors", "estimate", "--max-failed", "60", "--strict"],
            capture_output=True, cwd=tmp_path, check=False,
        )  # fmt: skip
    answer: dict[str, Any] = json.loads(told.stdout)
    assert (told.returncode, answer["valid"]) == (0, True)
    assert (answer["questions"]["failed"], answer["questions"]["max_failed_percent"]) == (5, 60.0)
    run = RunDir(tmp_path / answer["run"])
    workload = run.manifest()["workload"]
    assert workload["parameters"]["max_failed_percent"] == 60.0
    workload["parameters"]["max_failed_percent"] = 5.0
    run.update_manifest(workload=workload)
    run.write_summary(summarize(run))
    shown = CliRunner().invoke(cli, ["report", str(run.path), "--strict"], standalone_mode=False)
    assert shown.return_value == 4
    assert shown.stdout.startswith("not valid: 5 of 10 questions failed: HTTP 400: told to say 400")


@pytest.mark.parametrize("percent", ["-1", "101", "many"])
def test_a_share_is_between_0_and_100_percent(percent: str) -> None:
    arguments = ["run", "lm", "--model", "dense", "--max-failed", percent]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert isinstance(result.exception, click.BadParameter)
