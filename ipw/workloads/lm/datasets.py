"""Questions with known answers: the bundled ones, or those of a JSONL, CSV or Parquet file."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.workloads.lm.dataset_files import READERS, Row

BUNDLED = "bundled"
REQUIRED = ("prompt", "answer")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Question:
    """One question. With `choices`, the prompt lists them by letter and the answer is a letter."""

    id: str
    subject: str | None
    prompt: str
    answer: str
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Questions in the order in which they are asked."""

    name: str
    digest: str
    """SHA-256 of the file, so that two runs can tell whether they asked the same."""
    questions: Sequence[Question]
    scorer_default: str


def load(source: str, *, limit: int | None = None, seed: int = 0) -> Dataset:
    """Read `bundled` or a file, `limit` questions of it. Raises UsageError for what cannot be asked."""
    if limit is not None and limit < 1:
        raise UsageError("a run asks at least one question", "give --limit 1 or more, or leave it out")
    if source == BUNDLED:
        with as_file(files("ipw") / "data" / "questions.jsonl") as path:
            return _load_file(path, BUNDLED, limit, seed)
    return _load_file(Path(source), Path(source).name, limit, seed)


def subset(questions: Sequence[Question], limit: int | None, seed: int) -> Sequence[Question]:
    """Choose `limit` questions: the first of a file without subjects, else as many of each subject, drawn with `seed`.

    Subjects take turns, so every prefix of the result is balanced too. The choice for a smaller limit is part of the
    choice for a larger one.
    """
    if limit is None or limit >= len(questions):
        return questions
    groups: dict[str | None, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.subject, []).append(question)
    if len(groups) == 1:
        return questions[:limit]
    for subject, group in groups.items():
        random.Random(f"{seed} {subject}").shuffle(group)  # noqa: S311 (a reproducible draw)
    rounds = chain.from_iterable(zip_longest(*groups.values()))
    return [question for question in rounds if question is not None][:limit]


def _load_file(path: Path, name: str, limit: int | None, seed: int) -> Dataset:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"data set {name!r} is neither 'bundled' nor a {', '.join(READERS)} file",
            "give --dataset a file with the columns prompt and answer",
        )
    if not path.is_file():
        raise UsageError(f"data set {path} is not there", "give --dataset the path of a file, or 'bundled'")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        questions = list(_questions(reader(path), path))
    except OSError as error:
        raise UsageError(f"data set {path} cannot be read: {error.strerror}", "may this user read it?") from None
    if not questions:
        raise UsageError(f"data set {path} holds no question", "a line a question, with prompt and answer")
    _check_ids(questions, path)
    scorer = "choice" if all(question.choices for question in questions) else "exact"
    return Dataset(name, f"sha256:{digest}", subset(questions, limit, seed), scorer)


def _questions(rows: Iterable[Row], path: Path) -> Iterable[Question]:
    subjects: dict[str, str] = {}  # one string a subject, however many questions
    for number, (where, row) in enumerate(rows):
        for column in REQUIRED:
            if row.get(column) is None or row[column] == "":
                found = ", ".join(sorted(str(name) for name in row)) or "nothing"
                what = f"no value for {column!r}" if column in row else f"no column {column!r}; it has {found}"
                raise UsageError(f"{path}, {where}: {what}", "every question needs prompt and answer")
        subject = row.get("subject")
        identity = row.get("id")
        question = Question(
            id=str(number) if identity in (None, "") else str(identity),
            subject=None if subject in (None, "") else subjects.setdefault(str(subject), str(subject)),
            prompt=str(row["prompt"]),
            answer=_text(row["answer"]),
        )
        choices = row.get("choices")
        yield question if choices in (None, "") else _with_choices(question, choices, f"{path}, {where}")


def _with_choices(question: Question, choices: Any, where: str) -> Question:
    """List the choices below the prompt, and turn the answer (its text, its letter, its place from 0) to a letter."""
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not 2 <= len(choices) <= len(LETTERS):
        raise UsageError(f"{where}: choices is no list of 2 to {len(LETTERS)} texts", 'like ["red", "green"]')
    texts = tuple(_text(choice) for choice in choices)
    letters = LETTERS[: len(texts)]
    answer = question.answer.strip()
    if answer in texts:
        letter = letters[texts.index(answer)]
    elif len(answer) == 1 and answer.upper() in letters:
        letter = answer.upper()
    elif answer.isascii() and answer.isdigit() and int(answer) < len(texts):
        letter = letters[int(answer)]
    else:
        raise UsageError(
            f"{where}: the answer {answer[:40]!r} is none of the choices", "give its text, letter or place from 0"
        )
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip(letters, texts, strict=True))
    prompt = f"{question.prompt}\n\n{listed}\n\nAnswer with the letter alone."
    return replace(question, prompt=prompt, answer=letter, choices=texts)


def _text(value: Any) -> str:
    """Numbers of JSON and Parquet as people write them: 15.0 is 15."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_ids(questions: Sequence[Question], path: Path) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise UsageError(f"{path}: the id {question.id!r} is there twice", "ids tell questions apart: make them so")
        seen.add(question.id)
