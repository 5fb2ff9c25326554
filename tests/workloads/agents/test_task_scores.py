"""Scores of tasks come from the files that harnesses leave."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from ipw.errors import UsageError
from ipw.workloads.agents.reading.sent import read_chat
from ipw.workloads.agents.scores import read_scores
from ipw.workloads.agents.tables import BEGINS, beginning_of

ASKED = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "1 + 1"}]
KEY = f"{BEGINS}{beginning_of(read_chat({'messages': ASKED}).messages)}"
SAMPLE = {
    "id": "s1", "epoch": 1, "input": "1 + 1", "scores": {"match": {"value": "C", "answer": "2"}},
    "messages": [*ASKED, {"role": "assistant", "content": "2", "source": "generate"}],
}  # fmt: skip
LM_EVAL = {"doc_id": 0, "arguments": {"gen_args_0": {"arg_0": [json.dumps(ASKED)], "arg_1": {}}},
           "metrics": ["bleu_like"], "bleu_like": 0.25}  # fmt: skip


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "text", "scores"),
    [
        ("a.jsonl", lines({"task": "t", "score": 0.5}, {"task": "u", "score": True}), {"t": 0.5, "u": 1.0}),
        ("a.jsonl", lines({"task": "t", "score": 1}, {"task": "t", "score": 0}), {"t": 0.5}),
        ("one.jsonl", lines({"task_id": 7, "reward": 1}), {"7": 1.0}),
        ("a.csv", "task,score\nt,1\nu,no\n", {"t": 1.0, "u": 0.0}),
        ("a.tsv", "instance_id\tresolved\nx__y-1\ttrue\n", {"x__y-1": 1.0}),
        ("a.json", json.dumps({"t": 0.25, "u": False}), {"t": 0.25, "u": 0.0}),
        ("a.json", json.dumps([{"id": "t", "correct": True}]), {"t": 1.0}),
        ("report.json", json.dumps({"resolved_ids": ["a"], "unresolved_ids": ["b"], "error_ids": ["c"], "total": 3}),
         {"a": 1.0, "b": 0.0, "c": 0.0}),
        ("results.json", json.dumps({"resolved": ["a"], "no_generation": ["b"], "no_logs": [], "date": "x"}),
         {"a": 1.0, "b": 0.0}),
        ("report.json", json.dumps({"a": {"resolved": True}, "b": {"resolved": False}}), {"a": 1.0, "b": 0.0}),
        ("log.json", json.dumps({"eval": {}, "samples": [SAMPLE]}), {"s1": 1.0, KEY: 1.0}),
        ("samples_x.jsonl", lines(LM_EVAL), {KEY: 0.25}),
        ("samples_x.jsonl", lines(LM_EVAL | {"filter": "strict-match"},
                                  LM_EVAL | {"filter": "flexible-extract", "bleu_like": 1.0}), {KEY: 0.25}),
    ],
)  # fmt: skip
def test_scores_are_read(tmp_path: Path, name: str, text: str, scores: dict[str, float]) -> None:
    (tmp_path / name).write_text(text)
    assert read_scores(tmp_path / name) == scores


def test_an_archive_of_samples_and_a_folder_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("samples/s1_epoch_1.json", json.dumps(SAMPLE))
    assert read_scores(tmp_path / "log.eval") == {"s1": 1.0, KEY: 1.0}
    (tmp_path / "results.json").write_text(json.dumps({"results": {"t": {"acc": 1}}, "total_time": "3.5"}))
    assert read_scores(tmp_path) == {"s1": 1.0, KEY: 1.0}


@pytest.mark.parametrize("text", ["", "nothing", "{}", "[]", '{"a": "b"}', '{"task": "t"}\n', "\x00"])
def test_a_file_without_scores_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(UsageError, match="no score" if text != "\x00" else "cannot be read"):
        read_scores(tmp_path / "a.jsonl")


def archive(path: Path, *, damage: bytes = b"", method: int = zipfile.ZIP_DEFLATED, flags: int = 0) -> None:
    with zipfile.ZipFile(path, "w", method) as found:
        found.writestr("samples/s1_epoch_1.json", json.dumps(SAMPLE))
    packed = bytearray(path.read_bytes())
    local, central = packed.find(b"PK\x03\x04"), packed.find(b"PK\x01\x02")
    packed[local + 6] |= flags
    packed[central + 8] |= flags
    if damage:
        at = local + 30 + len("samples/s1_epoch_1.json")
        packed[at : at + len(damage)] = damage
    path.write_bytes(packed)


def test_an_archive_of_zstandard_is_read_as_inspect_writes_it(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    path, text = tmp_path / "log.eval", json.dumps(SAMPLE).encode()
    packed = pa.Codec("zstd").compress(text, asbytes=True)
    with zipfile.ZipFile(path, "w") as found:
        found.writestr("samples/s1_epoch_1.json", packed)
    content = bytearray(path.read_bytes())
    for mark, method, size in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        at = content.find(mark)
        content[at + method : at + method + 2] = (93).to_bytes(2, "little")
        content[at + size : at + size + 4] = len(text).to_bytes(4, "little")
        content[at + size - 8 : at + size - 4] = zlib.crc32(text).to_bytes(4, "little")
    path.write_bytes(content)
    assert read_scores(path) == {"s1": 1.0, KEY: 1.0}
    content[at + 16] ^= 1  # of its check value in the directory
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"its samples/s1_epoch_1.json is damaged"):
        read_scores(path)


@pytest.mark.parametrize("how", ["encrypted", "damaged", "packed otherwise", "cut"])
def test_an_archive_that_cannot_be_read_is_told(tmp_path: Path, how: str) -> None:
    path = tmp_path / "log.eval"
    archive(path, flags=1 if how == "encrypted" else 0, damage=b"\xff" * 40 if how == "damaged" else b"")
    packed = bytearray(path.read_bytes())
    if how == "packed otherwise":
        for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            packed[packed.find(mark) + place] = 99
    if how == "cut":
        packed = packed[30:]
    path.write_bytes(packed)
    with pytest.raises(UsageError, match=r"log\.eval cannot be read"):
        read_scores(path)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", 'task,score\n"t,1\n', "not CSV"),
        ("a.csv", "task,score\nt,1,2\n", "more values"),
        ("a.csv", "task;score\nt;7.5\n", "7.5 of t is not from 0 to 1"),
        ("a.csv", "task;score\nt;0,5\nu;1\n", "'0,5' of t is not a number from 0 to 1"),
        ("a.jsonl", lines({"task": "t", "score": "87%"}, {"task": "u", "score": 1}), "'87%' of t is not a number"),
        ("a.jsonl", '{"task": "t", "score": NaN}\n{"task": "u", "score": 1}\n', "'nan' of t is not a number"),
        ("a.csv", "task,score,score\nt,1,0\n", "has the column 'score' twice"),
        ("a.jsonl", lines({"task": "t", "score": -1}), "-1 of t is not from 0 to 1"),
        ("a.json", json.dumps({"resolved_ids": [], "submitted_ids": 5}), "no score"),
        (
            "a.json",
            json.dumps([{"task": "t", "metrics": 5}, {"task": "u", "scores": 7, "arguments": [[]]}]),
            "no score",
        ),
        ("a.json", json.dumps({"samples": {"a": 1}}), "no score"),
        ("a.json", "[" * 100_000, "no score"),
        ("a.csv", "task,score\nt,\x00\n", "is not a number"),
    ],
)
def test_a_file_of_scores_that_makes_no_sense_is_told_in_one_line(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=told):
        read_scores(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_may_be_of_windows(tmp_path: Path, encoding: str) -> None:
    for name, text in (("a.jsonl", lines({"task": "t", "score": 1})), ("b.csv", "task,score\nu,0\n")):
        (tmp_path / name).write_text(text, encoding=encoding)
    assert read_scores(tmp_path) == {"t": 1.0, "u": 0.0}


def test_a_task_without_a_score_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines({"task": "t", "score": None}, {"task": "u", "score": 1}, {"task": "v"}))
    assert read_scores(tmp_path / "a.jsonl") == {"u": 1.0}


def test_a_cell_may_hold_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('task,note,score\nt,"one\ntwo",1\nu,,0\n')
    assert read_scores(tmp_path / "a.csv") == {"t": 1.0, "u": 0.0}


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_scores(tmp_path / "a.jsonl")
