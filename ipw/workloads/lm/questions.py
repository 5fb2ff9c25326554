"""Questions with known answers, from rows of any source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ipw.errors import UsageError
from ipw.workloads.lm.dataset_files import Row

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


def questions_digest(questions: Iterable[Question]) -> str:
    """SHA-256 of what is asked, in its order, and of what is right."""
    whole = hashlib.sha256()
    for question in questions:
        whole.update(json.dumps([question.id, question.prompt, question.answer]).encode())
    return f"sha256:{whole.hexdigest()}"


def questions_of(rows: Iterable[Row], source: object) -> list[Question]:
    """Make questions of rows with `prompt` and `answer`, and perhaps `id`, `subject` and `choices`.

    Raises UsageError, naming `source` and the row, for what is no question, and where there is none.
    """
    questions = list(_questions(rows, source))
    if not questions:
        raise UsageError(f"data set {source} holds no question", "a row a question, with prompt and answer")
    _check_ids(questions, source)
    return questions


def _questions(rows: Iterable[Row], source: object) -> Iterable[Question]:
    subjects: dict[str, str] = {}  # one string a subject, however many questions
    for number, (where, row) in enumerate(rows):
        for column in REQUIRED:
            if row.get(column) is None or row[column] == "":
                found = ", ".join(sorted(str(name) for name in row)) or "nothing"
                what = f"no value for {column!r}" if column in row else f"no column {column!r}; it has {found}"
                raise UsageError(f"{source}, {where}: {what}", "every question needs prompt and answer")
        subject = row.get("subject")
        identity = row.get("id")
        question = Question(
            id=str(number) if identity in (None, "") else str(identity),
            subject=None if subject in (None, "") else subjects.setdefault(str(subject), str(subject)),
            prompt=str(row["prompt"]),
            answer=_text(row["answer"]),
        )
        choices = row.get("choices")
        yield question if choices in (None, "") else _with_choices(question, choices, f"{source}, {where}")


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


def _check_ids(questions: Sequence[Question], source: object) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise UsageError(
                f"{source}: the id {question.id!r} is there twice", "ids tell questions apart: make them so"
            )
        seen.add(question.id)
