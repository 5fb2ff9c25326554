"""Files of questions as people have them: encodings, layouts, and where in them something is wrong."""

from __future__ import annotations

import codecs
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ipw.errors import UsageError
from ipw.workloads.texts.datasets import Dataset, load

ROWS = [{"prompt": "2+2", "answer": "4"}, {"prompt": "Größe?", "answer": "é"}]


def asked(path: Path) -> list[tuple[str, str]]:
    return [(question.prompt, question.answer) for question in load(str(path)).questions]


ENCODINGS = {
    "utf-8": b"", "utf-8-sig": b"", "utf-16": b"", "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32": b"",
}  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".csv", ".tsv"])
def test_text_in_any_encoding_that_says_what_it_is(tmp_path: Path, encoding: str, end: str, suffix: str) -> None:
    path, tab = tmp_path / f"q{suffix}", "\t" if suffix == ".tsv" else ","
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    if suffix in {".csv", ".tsv"}:
        lines = [f"prompt{tab}answer", *(f"{row['prompt']}{tab}{row['answer']}" for row in ROWS)]
    path.write_bytes(ENCODINGS[encoding] + end.join([*lines, "", ""]).encode(encoding))
    assert asked(path) == [("2+2", "4"), ("Größe?", "é")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_told_by_its_zeros(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes("\n".join(map(json.dumps, ROWS)).encode(encoding))
    assert asked(path) == [("2+2", "4"), ("Größe?", "é")]


ONE, TWO = (json.dumps(row) for row in ROWS)


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\n\n   \n{TWO}\n\n", f"\n\n{ONE}\n{TWO}", f"{ONE},\n{TWO},\n", f"[{ONE}, {TWO}]",
        f"[\n{ONE},\n{TWO}\n]\n",
        f"\ufeff{ONE}\n\ufeff{TWO}\n", json.dumps(ROWS, indent=2),
    ],
)  # fmt: skip
def test_json_however_it_is_laid_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text, encoding="utf-8")
    assert asked(path) == [("2+2", "4"), ("Größe?", "é")]


@pytest.mark.parametrize(
    "text",
    [
        "prompt;answer\n2+2;4\nGröße?;é\n", "prompt\tanswer\n2+2\t4\nGröße?\té\n",
        "\n\nprompt,answer\n2+2,4\n\nGröße?,é\n\n\n",
        'id,"prompt","answer"\na,"2+2","4"\nb,"Größe?","é"\n,,\n,,\n', " prompt , answer \n2+2,4\nGröße?,é",
        'subject;prompt;answer\n"a, b";2+2;4\n;Größe?;é\n;;\n',
    ],
)  # fmt: skip
def test_csv_however_it_is_laid_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "q.csv"
    path.write_text(text, encoding="utf-8")
    assert asked(path) == [("2+2", "4"), ("Größe?", "é")]


def test_quoted_csv_keeps_commas_quotes_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text('prompt,answer\n"a, ""b""\nc","1,000"\nd;e,f\n', encoding="utf-8")
    assert asked(path) == [('a, "b"\nc', "1,000"), ("d;e", "f")]


def refused(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as caught:
        load(str(path))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message.removeprefix(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{ONE}\n\nINFO done\n{TWO}\n", ", line 3 is not JSON: Expecting value, at 'INFO done'"),
        ("[INFO] begin\n" + ONE, ", line 1 is not JSON: Expecting value, at 'INFO] begin"),
        (f"{ONE}\n[]\n", ", line 2 is not a JSON object"),
        (f"[\n{ONE},\n{TWO}\n}}", ", line 4 is not JSON"),
        (f"[{ONE}, 5]", ", row 2 is not a JSON object"),
        (ONE[:-1], ", line 1 is not JSON"),
        ('{"prompt": "a", "answer": "A", "answer": "B"}', ", line 1 is not JSON: the name 'answer' is there twice"),
        ('{"prompt": "a", "answer": ' + "9" * 5000 + "}", ", line 1 is not JSON: Exceeds the limit"),
        ('{"prompt": "a", "answer": NaN}', ", line 1: the answer is NaN, no number"),
        (f"{ONE}\n".encode() * 3000 + b"\xe9\n", ", line 3001 is not UTF-8 text"),
        (f"{ONE}\n".encode("utf-16")[:-1], ", its end is not UTF-16 text"),
    ],
)  # fmt: skip
def test_json_that_is_none_is_told_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert refused(tmp_path / "q.jsonl", content).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('prompt,answer\n"a\nb",c\n\nd,"e\n', ", line 5 is not CSV: unexpected end of data"),
        ('prompt,answer\na,b\n"Paris" is,c\n', ", line 3 is not CSV"),
        ('prompt,answer\n"a\nb",c\n\n"d\ne",\n', ", line 5: the answer is empty"),
        ("prompt,answer\na;b\n", ", line 2: the answer is null"),
        ("prompt,answer,answer\na,b,c\n", " has the column 'answer' twice"),
        ("input,target\na,b\n", ", line 2: no column 'prompt'; it has input, target"),
        ('prompt,answer\na,"[1, 2]"\n', "a list that may be aliases or one text; --answer-is text takes it as"),
        ("prompt,answer\na,\"['b', 'c']\"\n", ", line 2: the answer is a list or an object as Python prints it"),
        ('prompt,answer\na,"{""b"": 1}"\n', ", line 2: the answer is an object with the keys b"),
        (b"prompt,answer\na,b\n" * 2 + b"\xe9\n", ", line 5 is not UTF-8 text"),
        ("", " holds no question"),
        ("prompt,answer\n", " holds no question"),
    ],
)  # fmt: skip
def test_csv_that_is_none_is_told_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in refused(tmp_path / "q.csv", content)


def test_lists_stand_in_a_csv_as_json(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text('prompt,answer,choices\na,"[""Paris"", ""paris""]",\nb,1,"[""x"", ""y""]"\nc,0,"[""x"", ""y""]"\n')
    one, two, _ = load(str(path)).questions
    assert (one.answers, two.answer, two.choices) == (("Paris", "paris"), "B", ("x", "y"))
    path.write_text('prompt,answer\na,"[1, 2]"\n')
    assert load(str(path), answer_is="text").questions[0].answers == ("[1, 2]",)


def parquet(folder: Path, **columns: Any) -> Dataset:
    pq.write_table(pa.table(columns), folder / "q.parquet")
    return load(str(folder / "q.parquet"))


@pytest.mark.parametrize(
    ("column", "answers"),
    [
        (pa.array(["a"], pa.large_string()), ("a",)),
        (pa.array(["a"], pa.string_view()), ("a",)),
        (pa.array(["a"]).dictionary_encode(), ("a",)),
        (pa.array([7], pa.uint64()), ("7",)),
        (pa.array([0.1], pa.float32()), ("0.1",)),
        (pa.array([4.0], pa.float64()), ("4",)),
        (pa.array([2**60], pa.int64()), (str(2**60),)),
        (pa.array([Decimal("12.50")], pa.decimal128(9, 2)), ("12.5",)),
        (pa.array([True]), ("true", "True")),
        (pa.array([dt.date(2024, 2, 29)]), ("2024-02-29",)),
        (pa.array([dt.datetime(2024, 2, 29, tzinfo=dt.UTC)], pa.timestamp("ns")), ("2024-02-29T00:00:00",)),
        (pa.array([["a", "b"]]), ("a", "b")),
        (pa.array([["a", "b"]], pa.large_list(pa.large_string())), ("a", "b")),
        (pa.array([[0.1, 2]], pa.list_(pa.float32())), ("0.1", "2")),
        (pa.array([{"value": "a", "aliases": ["b"], "type": None}]), ("a", "b")),
        (pa.array([{"text": ["a"], "answer_start": [4]}]), ("a",)),
    ],
)
def test_arrow_types(tmp_path: Path, column: pa.Array, answers: tuple[str, ...]) -> None:
    try:
        pq.write_table(pa.table({"answer": column}), tmp_path / "tried.parquet")
    except pa.ArrowNotImplementedError:
        pytest.skip("this version of Arrow writes no such column")
    assert parquet(tmp_path, prompt=["?"], answer=column).questions[0].answers == answers


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array(["a", None]), "row 2: the answer is null"),
        (pa.array([1.0, float("nan")]), "row 2: the answer is NaN"),
        (pa.array([1.0, float("nan")], pa.float32()), "row 2: the answer is NaN"),
        (pa.array([b"a", b"b"]), "row 1: the answer is bytes"),
        (pa.array([["a"], []]), "row 2: the answer is an empty list"),
        (pa.array([["a"], [None]]), "row 2: the answer is a list in which value 1 is null"),
        (pa.array([{"span": "a"}, {"span": "b"}]), "row 1: the answer is an object with the keys span"),
        (pa.array([dt.timedelta(1)] * 2), "row 1: the answer is a value of the kind timedelta"),
    ],
)
def test_arrow_values_that_are_no_answer(tmp_path: Path, column: pa.Array, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parquet(tmp_path, prompt=["?", "!"], answer=column)


def test_arrow_messages_choices_and_columns_beside_them(tmp_path: Path) -> None:
    messages = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]]
    (question,) = parquet(tmp_path, prompt=messages, answer=["4"], vector=[[0.0]]).questions
    assert question.messages == tuple(messages[0])
    choices = pa.array([{"text": ["a", "b"], "label": ["A", "B"]}])
    (question,) = parquet(tmp_path, question=["?"], answer=["B"], choices=choices).questions
    assert (question.answer, question.choices) == ("B", ("a", "b"))
