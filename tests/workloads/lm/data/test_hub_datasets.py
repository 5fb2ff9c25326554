"""Data sets of the hub, tested on local files of the very same schema; every row here is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipw.errors import MissingExtraError, UsageError, install_hint
from ipw.workloads.texts.datasets import Dataset, load

pytest.importorskip("datasets", reason="the extra 'datasets' is not installed")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def folder(tmp_path: Path, name: str, split: str, *rows: dict[str, Any]) -> str:
    path = tmp_path / name
    path.mkdir()
    (path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"hf:{path}"


def test_mmlu_pro(tmp_path: Path) -> None:
    row = {
        "question_id": 7, "question": "Which is a metal?", "options": ["salt", "iron", "wood"], "answer": "B",
        "answer_index": 1, "cot_content": "", "category": "chemistry", "src": "ours",
    }  # fmt: skip
    dataset = load(folder(tmp_path, "MMLU-Pro", "test", row))
    (question,) = dataset.questions
    assert (question.id, question.subject, question.answer, dataset.scorer_default) == ("7", "chemistry", "B", "choice")
    assert question.prompt.startswith("Which is a metal?\n\nA. salt\nB. iron\nC. wood")


def test_supergpqa(tmp_path: Path) -> None:
    row = {
        "uuid": "u1", "question": "1+1?", "options": ["1", "2", "3"], "answer": "2", "answer_letter": "B",
        "discipline": "Science", "field": "Mathematics", "subfield": "Sums", "difficulty": "easy",
        "is_calculation": True,
    }  # fmt: skip
    (question,) = load(folder(tmp_path, "SuperGPQA", "train", row)).questions
    assert (question.id, question.subject, question.answer) == ("u1", "Science", "B")


def test_gpqa_shuffles_its_choices_and_always_alike(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "Record ID": f"rec{i}", "Question": "Which?", "Correct Answer": "right", "Incorrect Answer 1": "a",
            "Incorrect Answer 2": "b", "Incorrect Answer 3": "c\n", "High-level domain": "Physics", "Subdomain": "x",
        }
        for i in range(12)
    ]  # fmt: skip
    source = folder(tmp_path, "gpqa", "train", *rows)
    questions = load(source).questions
    assert questions == load(source).questions
    assert len({question.answer for question in questions}) > 1
    for question in questions:
        assert question.choices is not None
        assert question.choices["ABCD".index(question.answer)] == "right"


def test_natural_reasoning_leaves_out_what_has_no_reference(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "How far?", "reference_answer": "3 m", "responses": [{"response_model": "m", "response": "r"}]},
        {"question": "Why?", "reference_answer": "", "responses": []},
    ]
    dataset = load(folder(tmp_path, "natural_reasoning", "train", *rows))
    assert [(question.prompt, question.answer) for question in dataset.questions] == [("How far?", "3 m")]
    assert dataset.scorer_default == "judge"


def test_wildchat_takes_the_first_turn_in_english(tmp_path: Path) -> None:
    def chat(text: str, language: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "as I see it …"}]
        return {"conversation_hash": "h", "model": "some", "conversation": turns, "turn": 1, "language": language,
                "toxic": False, "redacted": False}  # fmt: skip

    rows = [chat("Write a poem", "English"), chat("Schreib was", "German"), chat("x" * 40_000, "English")]
    dataset = load(folder(tmp_path, "WildChat-1M", "train", *rows))
    assert [(question.prompt, question.answer) for question in dataset.questions] == [("Write a poem", "as I see it …")]
    assert dataset.scorer_default == "judge-pair"


def test_gsm8k_takes_the_number_behind_the_working(tmp_path: Path) -> None:
    dataset = load(folder(tmp_path, "gsm8k", "test", {"question": "2 and 2?", "answer": "2+2=<<2+2=4>>4\n#### 4"}))
    assert (dataset.questions[0].answer, dataset.scorer_default) == ("4", "number")


def test_math_500(tmp_path: Path) -> None:
    row = {"problem": "Half of 1?", "solution": "…", "answer": "\\frac{1}{2}", "subject": "Algebra", "level": 1,
           "unique_id": "test/algebra/1.json"}  # fmt: skip
    dataset = load(folder(tmp_path, "MATH-500", "test", row))
    assert dataset.questions[0].answer == "\\frac{1}{2}"
    assert "boxed" in dataset.questions[0].prompt
    assert dataset.scorer_default == "math"


def small(tmp_path: Path) -> Dataset:
    return load(folder(tmp_path, "mine", "validation", {"prompt": "2+2", "answer": 4}) + "::validation")


def test_any_other_data_set_with_prompt_and_answer_in_the_split_that_is_named(tmp_path: Path) -> None:
    dataset = small(tmp_path)
    assert (dataset.questions[0].prompt, dataset.questions[0].answer) == ("2+2", "4")
    assert dataset.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("mine", {"question": "2+2"}, "no column 'answer'; it has question"),
        ("gsm8k", {"question": "2+2"}, "row 1 is not as the data set of this name is: KeyError 'answer'"),
    ],
)
def test_rows_of_another_form_are_told_in_one_line(
    tmp_path: Path, name: str, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load(folder(tmp_path, name, "test", row))


def test_a_split_that_is_not_there_and_a_hub_out_of_reach_are_one_line(tmp_path: Path) -> None:
    for source in (folder(tmp_path, "mine", "test", {"prompt": "a", "answer": "b"}) + "::nix", "hf:nobody/nothing"):
        with pytest.raises(UsageError, match="cannot be loaded: ") as caught:
            load(source)
        assert "\n" not in caught.value.message


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtraError) as caught:
        load("hf:any/thing")
    assert caught.value.hint == install_hint("datasets")
