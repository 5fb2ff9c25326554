"""Lines of a journal by kind: kept or scanned, they are those that a plain reading gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JournalLines

LINES = st.lists(
    st.sampled_from(
        [
            '{"kind":"span","name":"a"}',
            '{"kind":"query","query_id":"q"}',
            '{"kind":"retry"}',
            '{"name":"late","kind":"span"}',
            '{"kind":"nobody\'s"}',
            "torn",
        ]
    ),
    max_size=12,
)


def plainly(folder: Path, kind: str) -> list[bytes]:
    names = ("journal.jsonl", "journal-rank1.jsonl")
    lines = [line for name in names for line in (folder / name).read_bytes().splitlines(keepends=True)]
    return [line for line in lines if f'"kind":"{kind}"'.encode() in line]


def of(lines: JournalLines, kind: str) -> list[bytes]:
    return [line for line in lines.of(kind) if f'"kind":"{kind}"'.encode() in line]


@given(first=LINES, rank=LINES, more=LINES, kept=st.integers(0, 4))
def test_what_is_kept_is_what_a_plain_reading_gives_also_when_the_journal_grew(
    tmp_path_factory: pytest.TempPathFactory, first: list[str], rank: list[str], more: list[str], kept: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "journal.jsonl").write_text("".join(line + "\n" for line in first))
    (folder / "journal-rank1.jsonl").write_text("".join(line + "\n" for line in rank))
    lines = JournalLines(folder)
    lines.KEPT = kept
    for _ in range(2):
        for kind in ("span", "query", "retry", "span"):
            assert of(lines, kind) == plainly(folder, kind)
    with (folder / "journal.jsonl").open("a") as journal:
        journal.writelines(line + "\n" for line in more)
    for kind in ("span", "query", "retry"):
        assert of(lines, kind) == plainly(folder, kind)


def test_a_long_journal_is_scanned_once_for_all_kinds_that_are_rare(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text('{"kind":"query"}\n' * 1500 + '{"kind":"span","name":"s"}\n')
    lines = JournalLines(tmp_path)
    assert len(list(lines.of("span"))) == 1
    stamp = journal.stat()
    journal.write_text("x" * stamp.st_size)  # what it says now is not looked at: it has the size and time that it had
    os.utime(journal, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert len(list(lines.of("span"))) == 1
    assert list(lines.of("retry")) == []


def test_a_run_without_a_journal_has_no_lines(tmp_path: Path) -> None:
    assert list(RunDir(tmp_path).journal("span")) == []
