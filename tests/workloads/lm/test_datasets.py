from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ipw.errors import UsageError
from ipw.workloads.lm.datasets import load


def jsonl(folder: Path, *rows: Any, name: str = "q.jsonl") -> str:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_the_bundled_questions_cover_their_subjects_evenly() -> None:
    dataset = load("bundled")
    counts = Counter(question.subject for question in dataset.questions)
    assert len(dataset.questions) >= 600
    assert len(counts) >= 6
    assert len(set(counts.values())) == 1
    assert dataset.scorer_default == "exact"


def test_a_limit_draws_as_many_of_each_subject_and_always_the_same() -> None:
    limit = 5 * len({question.subject for question in load("bundled").questions})
    few = load("bundled", limit=limit, seed=1).questions
    assert set(Counter(question.subject for question in few).values()) == {5}
    assert few == load("bundled", limit=limit, seed=1).questions
    assert few != load("bundled", limit=limit, seed=2).questions


def test_a_smaller_limit_is_part_of_a_larger_one() -> None:
    assert load("bundled", limit=7).questions == load("bundled", limit=60).questions[:7]


def test_without_subjects_a_limit_takes_the_first(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *({"prompt": f"{i}+1", "answer": i + 1} for i in range(9)))
    assert [question.prompt for question in load(path, limit=2).questions] == ["0+1", "1+1"]


def test_json_lines(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path, {"id": "a", "subject": "s", "prompt": "2+2", "answer": 4.0}, "", {"prompt": "é", "answer": "x"}
    )
    first, second = load(path).questions
    assert (first.id, first.subject, first.prompt, first.answer) == ("a", "s", "2+2", "4")
    assert (second.id, second.subject) == ("1", None)


def test_csv_keeps_text_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text('\ufeffprompt,answer,subject\n"a, ""b""\nc",007,s\n')
    (question,) = load(str(path)).questions
    assert (question.prompt, question.answer, question.subject) == ('a, "b"\nc', "007", "s")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "q.parquet"
    table = {"prompt": ["2+2"], "answer": [4], "choices": [["3", "4"]], "embedding": [[0.0]]}
    pq.write_table(pa.table(table), path)
    (question,) = load(str(path)).questions
    assert (question.answer, question.choices) == ("B", ("3", "4"))


@pytest.mark.parametrize(("answer", "letter"), [("green", "B"), ("b", "B"), (1, "B"), ("A", "A")])
def test_choices_are_listed_and_the_answer_becomes_a_letter(tmp_path: Path, answer: Any, letter: str) -> None:
    dataset = load(jsonl(tmp_path, {"prompt": "Which?", "answer": answer, "choices": ["red", "green"]}))
    (question,) = dataset.questions
    assert question.answer == letter
    assert "A. red\nB. green" in question.prompt
    assert dataset.scorer_default == "choice"


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    row = {"prompt": "2+2", "answer": "4"}
    one, other = jsonl(tmp_path, row, name="a.jsonl"), jsonl(tmp_path, row, row | {"id": "b"}, name="b.jsonl")
    assert load(one).digest == load(jsonl(tmp_path, row, name="c.jsonl")).digest != load(other).digest


def csv_file(folder: Path, text: str) -> str:
    (folder / "q.csv").write_text(text)
    return str(folder / "q.csv")


def binary_file(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


GOOD = {"prompt": "2+2", "answer": "4"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: str(folder / "none.jsonl"), "is not there"),
        (lambda _: "mmlu", "neither 'bundled' nor"),
        (jsonl, "holds no question"),
        (lambda folder: jsonl(folder, GOOD, "{"), "line 2 is no JSON"),
        (lambda folder: jsonl(folder, "[" * 100_000), "line 1 is no JSON"),
        (lambda folder: jsonl(folder, "[1]"), "line 1 is no JSON object"),
        (
            lambda folder: jsonl(folder, {"question": "2+2", "answer": "4"}),
            "no column 'prompt'; it has answer, question",
        ),
        (lambda folder: jsonl(folder, GOOD, {"prompt": "2+2", "answer": None}), "line 2: no value for 'answer'"),
        (lambda folder: jsonl(folder, GOOD | {"id": 1}, GOOD | {"id": "1"}), "'1' is there twice"),
        (lambda folder: jsonl(folder, GOOD | {"choices": "red"}), "choices is no list"),
        (lambda folder: jsonl(folder, GOOD | {"choices": ["1", "2"]}), "none of the choices"),
        (lambda folder: csv_file(folder, "question,answer\n2+2,4\n"), "no column 'prompt'; it has answer, question"),
        (lambda folder: csv_file(folder, "prompt,answer\n2+2\n"), "no value for 'answer'"),
        (lambda folder: csv_file(folder, "prompt,answer\n2,2,4\n"), "more values than the header"),
        (lambda folder: csv_file(folder, "prompt,answer,choices\n2,2,red\n"), "choices is no JSON list"),
        (lambda folder: binary_file(folder, "q.csv", b"prompt,answer\n\xff\xfe,4\n"), "no UTF-8"),
        (lambda folder: binary_file(folder, "q.jsonl", b'{"prompt": "\xff"}\n'), "no UTF-8"),
        (lambda folder: binary_file(folder, "q.parquet", b"PAR1 and no more"), "no Parquet file"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load(make(tmp_path))
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_parquet_file_without_the_columns_names_those_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["2+2"]}), tmp_path / "q.parquet")
    with pytest.raises(UsageError, match="no column 'prompt'; it has question"):
        load(str(tmp_path / "q.parquet"))


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError):
        load("bundled", limit=0)
