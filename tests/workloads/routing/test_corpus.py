from __future__ import annotations

from pathlib import Path

import pytest

from ipw.errors import UsageError
from ipw.workloads.texts.corpus import Text, cut, read_corpus


def byte_ids(text: Text) -> list[int]:
    return list(text.content.encode())


def test_the_bundled_questions_are_prompts_with_their_subject_as_domain() -> None:
    texts = list(read_corpus("bundled", limit=12))
    assert len(texts) == 12
    assert all(text.is_prompt for text in texts)
    assert len({text.domain for text in texts}) > 1


def test_rows_have_text_or_a_prompt_and_perhaps_a_domain(tmp_path: Path) -> None:
    path = tmp_path / "mix.jsonl"
    path.write_text('{"text": "a story", "domain": "books"}\n{"prompt": "2+2", "id": "q"}\n')
    assert list(read_corpus(str(path))) == [
        Text("line 1", "books", "a story", is_prompt=False),
        Text("q", "mix", "2+2", is_prompt=True),
    ]


def test_files_of_a_folder_take_turns_and_folders_are_domains(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.txt").write_text("x = 1")
    (tmp_path / "news.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    found = [(text.domain, text.content) for text in read_corpus(str(tmp_path))]
    assert found == [("code", "x = 1"), ("news", "one"), ("news", "two")]


def test_documents_are_cut_into_pieces_and_prompts_are_cut_off() -> None:
    texts = [Text("doc", "d", "abcdefgh", is_prompt=False), Text("ask", "p", "abcdefgh", is_prompt=True)]
    pieces = list(cut(texts, byte_ids, 3, None))
    assert [(piece.id, bytes(piece.token_ids).decode()) for piece in pieces] == [
        ("doc/0", "abc"),
        ("doc/1", "def"),
        ("doc/2", "gh"),
        ("ask", "abc"),
    ]
    assert len(list(cut(texts, byte_ids, 3, 2))) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.pdf", "", "neither 'bundled' nor"),
        ("x.jsonl", '{"answer": "4"}', "has no text"),
        ("x.jsonl", "", "holds no text"),
        ("x.txt", "", "holds no text"),
        ("x.txt", b"\xff\xfe\xfa", "cannot be read"),
    ],
)
def test_a_corpus_without_text_is_told(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=said):
        list(cut(read_corpus(str(path)), byte_ids, 8, None))


def test_a_corpus_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not there"):
        list(read_corpus(str(tmp_path / "none.txt")))
    with pytest.raises(UsageError, match="holds no text"):
        list(read_corpus(str(tmp_path)))
