from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from workloads.diffusion import tiny

from ipw.errors import FAILURE, INTERRUPTED, OK, UsageError
from ipw.gate.policy import read_policy
from ipw.runs.directory import RunDir
from ipw.studies.cells import run_cell
from ipw.studies.runfile import parse
from ipw.verbs.common.lazy import WORKLOADS
from ipw.verbs.workloads.diffusion import command, run_diffusion
from ipw.workloads.diffusion import run as running
from ipw.workloads.diffusion.decoding import decode_batch
from ipw.workloads.diffusion.measure import diffusion_parameters, measure_diffusion

OPTIONS = {"sensors": "estimate", "idle_s": 0.0, "as_json": True, "strict": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a tokenizer whose words are numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = tiny.llada(tmp_path_factory.mktemp("model") / "tiny-llada")
    words = Tokenizer(models.WordLevel({str(k): k for k in range(tiny.VOCABULARY)}, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0").save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "q.jsonl"
    rows = [{"id": f"q{k}", "prompt": f"3 {4 + k % 9} 5", "answer": str(k)} for k in range(6)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def options(folder: Path, questions: Path, out: Path, **changes: Any) -> dict[str, Any]:
    given = ["--model", str(folder), "--dataset", str(questions), "--answer-length", "6", "--device", "cpu"]
    context = command.make_context("diffusion", given)
    return {**context.params, **OPTIONS, "out": out, **changes}


def test_a_run_for_each_method_over_the_same_questions_stands_on_one_page(
    folder: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_diffusion(**options(folder, questions, tmp_path, method="greedy,local-leap,dkv-decode", refresh=1))
    told = json.loads(capsys.readouterr().out)
    assert code == OK
    runs = [RunDir(Path(path)) for path in told["runs"]]
    assert [run.manifest()["workload"]["parameters"]["method"] for run in runs] == [
        "greedy",
        "local-leap",
        "dkv-decode",
    ]
    metrics = [summary["metrics"] for summary in told["summaries"]]
    assert [each["queries"]["value"] for each in metrics] == [6, 6, 6]
    assert metrics[0]["forwards_per_answer"]["value"] == 6
    assert metrics[0]["agreement"]["reason"] == "it is what the others are held against"
    assert metrics[2]["agreement"]["value"] == 1.0, "a cache that is renewed at every step changes nothing"
    text = Path(told["page"]).read_text()
    for said in ("Decoding methods", "Against greedy, question by question", "Masks left by step", "p (McNemar)"):
        assert said in text
    assert "Joules, ratio<em>estimated</em>" in text
    assert "tiny-llada dkv-decode" in text


def test_one_method_is_one_run_with_a_page_of_its_own(
    folder: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_diffusion(**options(folder, questions, tmp_path, method="threshold+dkv-prefill", limit=3)) == OK
    summary = json.loads(capsys.readouterr().out)
    assert (RunDir(Path(summary["run"])).path / "report.html").is_file()
    assert summary["questions"]["asked"] == 3
    assert all(check["ok"] for check in summary["validity"] if check["check"] == "record")


def test_repetitions_are_whole_rounds(folder: Path, questions: Path, tmp_path: Path) -> None:
    given = options(folder, questions, tmp_path, limit=2)
    parameters, methods = diffusion_parameters(
        **{name: value for name, value in given.items() if name not in {*OPTIONS, "out", "repeat", "label", "otlp"}}
    )
    runs, failed, interrupted = measure_diffusion(parameters, methods, "estimate", 0.0, tmp_path, repeat=2)
    assert (len(runs), failed, interrupted) == (4, [], False)
    series = [run.manifest()["workload"]["series"] for run in runs]
    assert [each["repetition"] for each in series] == [0, 0, 1, 1]
    assert series[0]["id"] == series[2]["id"] != series[1]["id"] == series[3]["id"]


def test_what_had_finished_is_kept_when_the_run_is_asked_to_end(
    folder: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = 0

    def ending(*given: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 12:
            signal.raise_signal(signal.SIGTERM)
        return decode_batch(*given)

    monkeypatch.setattr(running, "decode_batch", ending)
    code = run_diffusion(**options(folder, questions, tmp_path, method="greedy,threshold", warmup=1))
    told = json.loads(capsys.readouterr().out)
    assert code == INTERRUPTED
    asked_of = [summary["questions"]["asked"] for summary in told["summaries"]]
    assert sum(asked_of) == 12 - 1 - 2, "two were warm-up, and one was cut off"
    assert {summary["status"] for summary in told["summaries"]} == {"interrupted"}


def test_where_no_question_fits_the_exit_code_is_that_of_a_failure(
    folder: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_diffusion(**options(folder, questions, tmp_path, answer_length=64, method="greedy")) == FAILURE
    told = capsys.readouterr()
    assert "no question was answered: the prompt and its answer have 67 tokens, the model takes up to 64" in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer_length": 10, "block_length": 4}, "10 tokens cannot be cut into blocks of 4"),
        ({"method": "local-leap+dkv-greedy"}, "must know the order beforehand"),
        ({"method": "grredy"}, "no method 'grredy'"),
        ({"dataset": "fixed:8,8"}, "is for servers"),
        ({"scorer": "judge"}, "is not for this workload"),
        ({"batch_size": 0}, "--batch-size must be 1 or more"),
        ({"warmup": -1}, "--warmup must be 0 or more"),
        ({"model": "nowhere"}, "no folder nowhere"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_measured(
    folder: Path, questions: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as error:
        run_diffusion(**options(folder, questions, tmp_path, **changes))
    assert error.value.hint
    assert not list(tmp_path.iterdir()), "and leaves nothing behind"


def test_steps_that_bind_no_method_are_said_to_be_in_vain(
    folder: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_diffusion(**options(folder, questions, tmp_path, method="threshold", steps=3, limit=1))
    assert "--steps says nothing here" in capsys.readouterr().err


def test_a_cell_of_a_suite_is_one_method(folder: Path, questions: Path, tmp_path: Path) -> None:
    table = {
        "workload": "diffusion", "model": str(folder), "dataset": str(questions), "answer-length": 4, "limit": 2,
        "idle": 0, "sensors": "estimate", "method": "local-leap",
    }  # fmt: skip
    run = run_cell(parse(table, "one", "suite.toml", WORKLOADS), tmp_path)
    assert (run.summary() or {})["metrics"]["forwards_per_answer"]["value"] > 0
    with pytest.raises(UsageError, match="a cell is one run"):
        run_cell(parse(table | {"method": "greedy,random"}, "two", "suite.toml", WORKLOADS), tmp_path)


def test_a_gate_holds_passes_and_joules_of_a_token() -> None:
    names = ("forwards_per_answer", "energy_per_committed_token_j", "computed_share")
    document = {"metrics": {name: {"margin": 0.03} for name in names}}
    assert {rule.metric for rule in read_policy(document, "gate.toml", "diffusion").rules} == set(names)
    assert {rule.harm for rule in read_policy(document, "gate.toml", "diffusion").rules} == {"higher"}
