from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ipw.errors import UsageError
from ipw.workloads.texts.datasets import Question, load
from ipw.workloads.texts.questions import questions_digest


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


@pytest.mark.parametrize(("answer", "letter"), [("green", "B"), ("b", "B"), ("(B)", "B"), ("a.", "A"), (0, "A")])
def test_choices_are_listed_and_the_answer_becomes_a_letter(tmp_path: Path, answer: Any, letter: str) -> None:
    dataset = load(jsonl(tmp_path, {"prompt": "Which?", "answer": answer, "choices": ["red", "green"]}))
    (question,) = dataset.questions
    assert question.answer == letter
    assert "A. red\nB. green" in question.prompt
    assert dataset.scorer_default == "choice"


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "columns"])
def test_a_whole_number_beside_choices_is_a_place_though_every_choice_is_a_number_too(
    tmp_path: Path, kind: str
) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "a", "answer": 2, "choices": ["0", "1", "2", "3"]},
        {"question": "b", "answer": 0, "choices": ["1", "0", "2", "3"]},
    ]
    if kind == "columns":
        rows = [row | dict(zip("ABCD", row.pop("choices"), strict=True)) for row in rows]
    path = jsonl(tmp_path, *rows)
    if kind == "parquet":
        path = str(tmp_path / "q.parquet")
        pq.write_table(pa.Table.from_pylist(rows), path)
    dataset = load(path)
    assert [question.answer for question in dataset.questions] == ["C", "A"]
    assert dataset.answer_is == "index0"
    assert [question.answer for question in load(path, answer_is="text").questions] == ["C", "B"]


def test_numbers_among_numbers_may_be_the_choice_or_its_place(tmp_path: Path) -> None:
    assert load(jsonl(tmp_path, {"prompt": "2+2", "answer": 4, "choices": [3, 4, 5]})).questions[0].answer == "B"
    with pytest.raises(UsageError, match="may be the text of a choice"):
        load(jsonl(tmp_path, {"prompt": "1+1", "answer": 2, "choices": [1, 2, 3]}))


def test_question_is_another_name_for_prompt_and_prompt_goes_first(tmp_path: Path) -> None:
    only = load(jsonl(tmp_path, {"question": "2+2", "answer": "4"}))
    assert (only.questions[0].prompt, only.notes) == ("2+2", [])
    both = load(jsonl(tmp_path, {"prompt": "Calculate 2+2", "question": "2+2", "answer": "4"}))
    assert both.questions[0].prompt == "Calculate 2+2"
    assert both.notes == ["the column 'prompt' is asked, and 'question' is left out"]


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ({"input": "a", "answer": "b"}, "is 'input' meant? --columns prompt=input"),
        ({"Question": "a", "answer": "b"}, "is 'Question' meant? --columns prompt=Question"),
        ({"messages": [], "answer": "b"}, "is 'messages' meant? --columns prompt=messages"),
        ({"question": "a", "target": "b"}, "is 'target' meant? --columns answer=target"),
        ({"question": "a", "answerKey": "b"}, "is 'answerKey' meant? --columns answer=answerKey"),
        ({"prompt": "a", "gist": "b"}, "say which it is: --columns answer=NAME"),
        ({"prompt": "a", "answer": "b", "options": ["a", "b"]}, "--columns choices=options, where it holds them all"),
        ({"prompt": "a", "answer": "b", "sol1": "a", "sol2": "b"}, "--columns choices=sol1, where it holds them all"),
        ({"prompt": "a", "answer": "b", "Option_A": "a"}, "--columns choices=Option_A, where it holds them all"),
    ],
)
def test_names_that_others_use_are_a_hint_and_no_guess(tmp_path: Path, row: dict[str, Any], hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(jsonl(tmp_path, row))
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(hint)


ARC = {"question": "?", "choices": {"text": ["red", "green"], "label": ["1", "2"]}, "answerKey": "2", "answer": "-"}


def test_columns_of_other_names_are_read_where_they_are_named(tmp_path: Path) -> None:
    (question,) = load(jsonl(tmp_path, ARC), columns="answer=answerKey").questions
    assert (question.answer, question.choices) == ("B", ("red", "green"))
    other = {"Q": "2+2", "question": "not this", "opts": ["3", "4"], "gold": "B", "n": 7}
    columns = "prompt=Q, choices=opts, answer=gold, id=n"
    pq.write_table(pa.table({name: [value] for name, value in other.items()}), tmp_path / "q.parquet")
    for path in (jsonl(tmp_path, other), str(tmp_path / "q.parquet")):
        dataset = load(path, columns=columns)
        assert [(q.id, q.prompt[:4], q.answer) for q in dataset.questions] == [("7", "2+2\n", "B")]
        assert dataset.notes == []
    (question,) = load(csv_file(tmp_path, "Frage;Antwort\n2+2;4\n"), columns="prompt=Frage,answer=Antwort").questions
    assert (question.prompt, question.answer) == ("2+2", "4")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("prompt", "does not name columns"), ("prompt=", "does not name columns"), ("x=y", "no column 'x' to fill"),
        ("answer=a,answer=b", "does not name columns"), ("answer=key", "line 1: no column 'key'; it has"),
    ],
)  # fmt: skip
def test_columns_that_are_not_there_are_told(tmp_path: Path, columns: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(jsonl(tmp_path, ARC), columns=columns)


def test_chat_messages_stay_messages_and_their_last_one_lists_the_choices(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which?"}]
    plain, listed = load(
        jsonl(tmp_path, {"prompt": chat, "answer": "4"}, {"prompt": chat, "answer": "b", "choices": ["red", "green"]})
    ).questions
    assert plain.sent == tuple(chat)
    assert plain.prompt == "system: Be brief.\n\nuser: Which?"
    below = "Which?\n\nA. red\nB. green\n\nAnswer with the letter alone."
    assert listed.sent == (chat[0], {"role": "user", "content": below})
    assert listed.answer == "B"


def test_choices_may_have_a_column_each(tmp_path: Path) -> None:
    dataset = load(csv_file(tmp_path, "question,A,B,C,D,answer\nWhich?,red,green,blue,,C\nWhy?,a,b,c,d,d\n"))
    assert [(question.choices, question.answer) for question in dataset.questions] == [
        (("red", "green", "blue"), "C"), (("a", "b", "c", "d"), "D"),
    ]  # fmt: skip
    assert dataset.notes == ["the choices are those of the columns A, B and so on"]


def test_places_are_settled_over_the_whole_set_before_a_limit_is_drawn(tmp_path: Path) -> None:
    rows = [{"prompt": "?", "answer": answer, "choices": ["x", "y", "z"]} for answer in (1, 2, 0)]
    dataset = load(jsonl(tmp_path, *rows), limit=1)
    assert [question.answer for question in dataset.questions] == ["B"]
    assert (dataset.answer_is, dataset.scorer_default, dataset.scorer_reason) == (
        "index0", "choice", "every question has choices",
    )  # fmt: skip
    assert dataset.notes == ["answers are places counted from 0, as line 3 shows: '0' of 3 choices"]
    path = jsonl(tmp_path, *rows[:2])
    with pytest.raises(UsageError, match="may be a place, counted from 0"):
        load(path)
    assert [question.answer for question in load(path, answer_is="index1").questions] == ["A", "B"]


@pytest.mark.parametrize(
    ("source", "answer_is", "message"),
    [
        ("bundled", "index0", "has no choices"),
        ("bundled", "place", "cannot be"),
        ("fixed:9,9", "text", "has no columns"),
    ],
)
def test_what_an_answer_is_can_be_said_only_where_it_can_be_so(source: str, answer_is: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(source, answer_is=answer_is)


def test_the_scorer_comes_with_its_reason(tmp_path: Path) -> None:
    assert load("bundled").scorer_reason == "the questions have no choices"
    mixed = load(jsonl(tmp_path, GOOD, GOOD | {"choices": ["4", "5"]}))
    assert (mixed.scorer_default, mixed.scorer_reason) == ("exact", "1 of 2 questions have no choices")


def test_ids_are_texts_or_numbers_and_none_is_the_place_of_the_row(tmp_path: Path) -> None:
    rows = [GOOD | {"id": 7}, GOOD | {"id": "b"}, GOOD, GOOD | {"id": None}]
    assert [question.id for question in load(jsonl(tmp_path, *rows)).questions] == ["7", "b", "2", "3"]
    for other in (7.0, "7"):
        with pytest.raises(UsageError, match="line 2: the id '7' was there before"):
            load(jsonl(tmp_path, GOOD | {"id": 7}, GOOD | {"id": other}))
    with pytest.raises(UsageError, match="line 1: the id is a list of 1 value"):
        load(jsonl(tmp_path, GOOD | {"id": ["a"]}))
    with pytest.raises(UsageError, match="line 1: the subject is NaN"):
        load(jsonl(tmp_path, GOOD | {"subject": float("nan")}))


def test_aliases_and_messages_are_part_of_the_digest_and_plain_questions_keep_theirs(tmp_path: Path) -> None:
    plain = Question("0", None, "2+2", "4")
    assert questions_digest([plain]) == "sha256:" + hashlib.sha256(b'["0", "2+2", "4"]').hexdigest()
    others = [replace(plain, aliases=("four",)), replace(plain, messages=({"role": "user", "content": "2+2"},))]
    assert len({questions_digest([one]) for one in (plain, *others)}) == 3


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
        (lambda folder: jsonl(folder, GOOD, "{"), "line 2 is not JSON"),
        (lambda folder: jsonl(folder, "[" * 100_000), "line 1 is not JSON"),
        (lambda folder: jsonl(folder, "[1]"), "row 1 is not a JSON object"),
        (lambda folder: jsonl(folder, {"input": "2+2", "answer": "4"}), "no column 'prompt'; it has answer, input"),
        (lambda folder: jsonl(folder, GOOD, {"prompt": "2+2", "answer": None}), "line 2: the answer is null"),
        (lambda folder: jsonl(folder, GOOD | {"id": 1}, GOOD | {"id": "1"}), "line 2: the id '1' was there before"),
        (lambda folder: jsonl(folder, GOOD | {"choices": "red"}), "the choices are a text that is not a JSON list"),
        (lambda folder: jsonl(folder, GOOD | {"choices": ["1", "2"]}), "none of the choices"),
        (lambda folder: csv_file(folder, "input,answer\n2+2,4\n"), "no column 'prompt'; it has answer, input"),
        (lambda folder: csv_file(folder, "prompt,answer\n2+2\n"), "line 2: the answer is null"),
        (lambda folder: csv_file(folder, "prompt,answer\n2,2,4\n"), "more values than the header"),
        (
            lambda folder: csv_file(folder, "prompt,answer,choices\n2,2,red\n"),
            "the choices are a text that is not a JSON list",
        ),
        (lambda folder: binary_file(folder, "q.csv", b"prompt,answer\n\xff\xfe,4\n"), "line 2 is not UTF-8"),
        (lambda folder: binary_file(folder, "q.jsonl", b'\n{"prompt": "\xff"}\n'), "line 2 is not UTF-8"),
        (lambda folder: binary_file(folder, "q.parquet", b"PAR1 and no more"), "is not Parquet"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load(make(tmp_path))
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_parquet_file_without_the_columns_names_those_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"input": ["2+2"], "answer": ["4"], "vector": [[0.0]]}), tmp_path / "q.parquet")
    with pytest.raises(UsageError, match="no column 'prompt'; it has answer, input, vector"):
        load(str(tmp_path / "q.parquet"))


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError):
        load("bundled", limit=0)
