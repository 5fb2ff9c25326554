"""`ipw run lm` says at its start what is asked and how it is scored, and keeps that in the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from doubles.machines import NOTHING
from doubles.openai_server import Behaviour, Request, serving

from ipw.cli import cli
from ipw.errors import UsageError
from ipw.runs.directory import RunDir
from ipw.studies.runfile import load
from ipw.verbs.common.lazy import WORKLOADS

PLACES = [{"prompt": "Which?", "choices": ["red", "green", "blue"], "answer": answer} for answer in (1, 2)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in NOTHING.items():
        monkeypatch.setenv(name, value)


def run_lm(*arguments: str) -> dict[str, Any]:
    """Run over `q.jsonl`, every answer being B; gives the manifest."""
    with serving(Behaviour(["B"])) as server:
        options = ["--base-url", server.url, "--dataset", "q.jsonl", "--idle", "0", "--warmup", "0", *arguments]
        assert cli.main(["run", "lm", *options], standalone_mode=False) == 0
    (path,) = Path("runs").iterdir()
    return RunDir.open(path).manifest()


def written(*rows: dict[str, Any]) -> None:
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_scorer_and_how_places_were_counted_are_told_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    written(*PLACES, PLACES[0] | {"answer": 0})
    manifest = run_lm()
    said = capsys.readouterr().err
    assert "3 questions of q.jsonl, scorer choice (every question has choices)\n" in said
    assert "answers are places counted from 0, as line 3 shows: '0' of 3 choices\n" in said
    kept = manifest["dataset"]
    assert (kept["scorer"], kept["scorer_reason"], kept["answer_is"]) == (
        "choice", "every question has choices", "index0",
    )  # fmt: skip
    (path,) = Path("runs").iterdir()
    assert [record["score"] for record in RunDir.open(path).journal("query")] == [1.0, 0.0, 0.0]


def test_the_option_settles_what_the_set_leaves_open(capsys: pytest.CaptureFixture[str]) -> None:
    written(*PLACES)
    with pytest.raises(UsageError, match="may be a place, counted from 0") as caught:
        cli.main(["run", "lm", "--base-url", "http://127.0.0.1:9", "--dataset", "q.jsonl"], standalone_mode=False)
    assert caught.value.hint == "say which with --answer-is index0|index1"
    assert not Path("runs").exists()
    manifest = run_lm("--answer-is", "index1", "--scorer", "choice")
    assert "2 questions of q.jsonl, scorer choice (as was asked)\n" in capsys.readouterr().err
    assert manifest["workload"]["parameters"]["answer_is"] == "index1"


def test_run_files_have_the_same_options() -> None:
    written(*PLACES)
    text = '[run]\nworkload = "lm"\ndataset = "q.jsonl"\nanswer-is = "{}"\ncolumns = "prompt=Q"\n'
    Path("run.toml").write_text(text.format("index1"))
    options = load(Path("run.toml"), WORKLOADS).options
    assert (options["answer_is"], options["columns"]) == ("index1", "prompt=Q")
    Path("run.toml").write_text(text.format("place"))
    with pytest.raises(UsageError, match="'place' is not one of 'text', 'letter', 'index0', 'index1'"):
        load(Path("run.toml"), WORKLOADS)


def test_prompts_of_fixed_lengths_are_told_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    def behave(request: Request) -> Behaviour:
        return Behaviour(prompt_tokens=9 + len(request.prompt.split()))

    with serving(behave) as server:
        options = ["--base-url", server.url, "--dataset", "fixed:32,4", "--limit", "3", "--idle", "0", "--warmup", "1"]
        assert cli.main(["run", "lm", *options], standalone_mode=False) == 0
    assert "prompts of 32 tokens, as the server counts them" in capsys.readouterr().err
    (path,) = Path("runs").iterdir()
    run = RunDir.open(path)
    assert run.manifest()["fixed_lengths"]["counted"] == [32, 32]
    assert [record["prompt_tokens"] for record in run.journal("query")] == [32, 32, 32]
