"""A file says which task a request belongs to, by what its first message says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipw.errors import UsageError
from ipw.workloads.agents.gateway.names import named_by_words, tasks_by_words


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"task": "sum", "prompt": "1 + 1"}\n\n{"task": 7, "prompt": " two\\nlines "}\n'),
        ("a.json", '[{"task": "sum", "prompt": "1 + 1"}, {"task": 7, "prompt": "two\\nlines"}]'),
        ("a.csv", 'task,prompt\nsum,1 + 1\n7,"two\nlines"\n'),
        ("a.csv", '\ufefftask;prompt\nsum;1 + 1\n7;"two\nlines"\n'),
        ("a.tsv", 'task\tprompt\nsum\t1 + 1\n7\t"two\nlines"\n'),
        ("a.txt", '{"task": "sum", "prompt": "1 + 1", "answer": 2}\n{"task": 7, "prompt": "two\\nlines"}\n'),
    ],
)
def test_tasks_are_read_from_every_form_of_a_data_set(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert tasks_by_words(tmp_path / name) == {"1 + 1": "sum", "two\nlines": "7"}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.jsonl", '{"task": "sum"', "line 1 is not JSON"),
        ("a.jsonl", '{"task": "", "prompt": "x"}', "names no task"),
        ("a.csv", "name,prompt\nsum,1 + 1\n", "names no task"),
        ("a.csv", 'task,prompt\nsum,"1\n', "not CSV"),
        ("a.parquet", "PAR1", "not Parquet"),
    ],
)
def test_a_file_that_names_no_task_is_told(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=told):
        tasks_by_words(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be read"):
        tasks_by_words(tmp_path / "absent.csv")


def test_words_within_a_message_name_a_task_if_they_are_those_of_one_alone() -> None:
    known = {"1 + 1": "sum", "1 + 1 + 1": "longer", "2 * 2": "product"}
    assert named_by_words("please: 2 * 2", known) == "product"
    assert named_by_words("please: 1 + 1 + 1", known) is None
    assert named_by_words("1 + 1 + 1", known) == "longer"
