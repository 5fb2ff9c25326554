"""The answer goes to standard output, for people or for machines; what is said on the way goes to standard error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from reports.made_runs import make_run

from ipw.cli import cli
from ipw.metrics.summary import summarize

LONG = "a-model-with-a-name-that-is-far-longer-than-eighty-columns-and-must-be-found-by-grep-and-copied-whole"


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    made = [make_run(tmp_path / "runs", f"run-{name}") for name in ("base", "candidate")]
    made.append(make_run(tmp_path / "runs", f"run-{LONG}", scores=[1.0] * 10 + [None] * 10))
    for run in made:
        run.write_summary(summarize(run))
    return [run.path for run in made]


def ipw(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], standalone_mode=False)


def answers(runs: Sequence[Path]) -> dict[str, tuple[list[object], str]]:
    """Verbs that answer from what is stored, and something that their answers hold."""
    return {
        "report": (["report", runs[2]], LONG),
        "reports": (["report", *runs, "--page", runs[0] / "page.html"], LONG[:59]),
        "compare": (["compare", runs[0], runs[1]], "Energy per query"),
        "trend": (["trend", runs[0], runs[1]], "Energy per query"),
        "list runs": (["list", "runs", "--out", runs[0].parent], LONG),
        "list engines": (["list", "engines"], "llamacpp"),
        "doctor": (["doctor", "--sensors", "estimate"], "estimate/cpu"),
        "watch": (["watch", runs[0], "--once"], "complete"),
    }


VERBS = list(answers([Path()] * 3))


@pytest.mark.parametrize("verb", VERBS)
def test_what_people_read_is_on_standard_output_and_nothing_on_the_other(verb: str, runs: list[Path]) -> None:
    arguments, holds = answers(runs)[verb]
    result = ipw(*arguments)
    assert result.exception is None
    assert holds in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("verb", VERBS)
def test_with_json_the_machine_s_answer_stands_there_alone(verb: str, runs: list[Path]) -> None:
    arguments, _ = answers(runs)[verb]
    result = ipw(*arguments, "--json")
    assert result.exception is None
    json.loads(result.stdout)
    assert result.stderr == ""


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "latex"])
def test_a_table_for_others_stands_there_alone(form: str, runs: list[Path]) -> None:
    result = ipw("report", *runs, "--table", form, "--page", runs[0] / "page.html")
    assert result.stderr == ""
    assert "report: " not in result.stdout


def test_a_line_in_a_pipe_is_whole_however_long(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    listed = ipw("list", "runs", "--out", runs[0].parent).stdout
    assert str(runs[2]) in listed
    reported = ipw("report", runs[2]).stdout
    assert f"report: {runs[2] / 'report.html'}\n" in reported
    assert "10 of 20 questions failed: the server hung up" in reported


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_these_characters_ends_no_report(encoding: str, runs: list[Path]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ipw.cli", "report", str(runs[0])],
        capture_output=True, check=False, env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"Accuracy" in result.stdout


def test_a_reader_that_goes_away_is_no_failure(runs: list[Path]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        command = [sys.executable, "-m", "ipw.cli", "list", "runs", "--out", str(runs[0].parent)]
        result = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, check=False)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_run_that_stopped_or_failed_on_its_way_says_how_to_go_on(tmp_path: Path) -> None:
    failing: dict[str, list[Any]] = {"failure": [None] * 8 + ["transport", "answer"]}
    run = make_run(tmp_path, "run a", scores=[1.0] * 8 + [None] * 2, columns=failing)
    run.write_summary(summarize(run))
    shown = ipw("report", run.path).stdout.splitlines()
    assert shown[0].startswith("not valid: 2 of 10 questions failed: the server hung up")
    assert shown[1] == f"1 of these can be asked again: ipw resume '{run.path}'"
    run.update_manifest(status="interrupted", dataset={"questions": 40, "scorer": "exact"})
    run.write_summary(summarize(run))
    shown = ipw("report", run.path).stdout.splitlines()
    assert shown[1] == f"interrupted after 10 of 40: ipw resume '{run.path}'"


def test_facts_of_a_model_that_no_run_is_of_are_told_with_the_names_that_are(runs: list[Path], tmp_path: Path) -> None:
    facts = tmp_path / "facts.toml"
    facts.write_text('[models.base]\nparameters = 1e9\n[models."qwen3-8b"]\nparameters = 8e9\n')
    told = ipw("report", runs[0], "--facts", facts)
    assert "no run is of 'qwen3-8b'; a name must be the run's: 'base'" in told.stdout
    machine: Any = ipw("report", runs[0], "--facts", facts, "--json")
    json.loads(machine.stdout)
    assert "qwen3-8b" in machine.stderr
    facts.write_text("[models.base]\nparameters = 1e9\n")
    assert "no run is of" not in ipw("report", runs[0], "--facts", facts).stdout
