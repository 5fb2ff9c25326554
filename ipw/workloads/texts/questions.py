"""Questions with known answers, from rows of any source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from sys import intern
from typing import Any, NamedTuple, TypeVar

from ipw.errors import UsageError
from ipw.workloads.texts.answer_places import Case, Settled, settle
from ipw.workloads.texts.columns import OTHER_NAMES, Meant, like_choices, renamed
from ipw.workloads.texts.files import LETTERED, Row
from ipw.workloads.texts.values import (
    LETTERS,
    Choices,
    Message,
    NotReadableError,
    cell_value,
    choices_of,
    is_number,
    prompt_of,
    text_of,
    texts_of,
)

T = TypeVar("T")
TAKES = {
    "prompt": "a prompt is a text, or chat messages: a list of role and content that ends with the user",
    "answer": "an answer is a text, a number, or a list of texts of which any is right",
    "choices": f'choices are a list of 2 to {len(LETTERS)} texts, like ["red", "green"]',
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question. With `choices`, the prompt lists them by letter and the answer is a letter."""

    id: str
    subject: str | None
    prompt: str
    """What is asked; of chat messages, their texts below one another."""
    answer: str
    choices: tuple[str, ...] | None = None
    aliases: tuple[str, ...] = ()
    """What is right too."""
    messages: tuple[Message, ...] | None = None
    """What is sent, where the prompt is a chat."""

    @property
    def sent(self) -> str | tuple[Message, ...]:
        """What a server is sent."""
        return self.messages or self.prompt

    @property
    def answers(self) -> tuple[str, ...]:
        """All that is right."""
        return (self.answer, *self.aliases)


class Read(NamedTuple):
    """Questions of a set, and how its columns were understood."""

    questions: list[Question]
    answers: Settled | None = None
    """How answers beside choices were read; `None` where no question has choices."""
    notes: tuple[str, ...] = ()
    """What a person should know of it."""


def questions_digest(questions: Iterable[Question]) -> str:
    """SHA-256 of what is asked, in its order, and of what is right."""
    whole = hashlib.sha256()
    for question in questions:
        parts: list[Any] = [question.id, question.prompt, question.answer]
        if question.aliases or question.messages:
            parts += [question.aliases, question.messages]
        whole.update(json.dumps(parts).encode())
    return f"sha256:{whole.hexdigest()}"


def questions_of(rows: Iterable[Row], source: object, meant: Meant | None = None, *, typed: bool = True) -> Read:
    """Make questions of rows with `prompt` (or `question`) and `answer`, and perhaps `id`, `subject` and `choices`.

    Where the source is not `typed`, every value is a text, and may be JSON. Raises UsageError, naming `source` and the
    row, for what is no question, and where there is none.
    """
    columns, answer_is = meant or Meant()
    rows = renamed(rows, columns, source) if columns else rows
    questions: list[Question] = []
    cases: dict[int, Case] = {}
    ids: set[str] = set()
    notes: dict[str, None] = {}
    for number, (where, row) in enumerate(rows):
        place = f"{source}, {where}"
        question = _question(row, number, place, as_json=not typed and answer_is != "text")
        if question.id in ids:
            raise UsageError(f"{place}: the id {question.id!r} was there before", "ids tell questions apart")
        ids.add(question.id)
        choices = _choices(row, place)
        if choices:
            cases[number] = Case(where, question.answers, choices, number=_number_beside_texts(row))
        notes |= dict.fromkeys(_notes(row, choices))
        questions.append(question)
    if not questions:
        raise UsageError(f"data set {source} holds no question", "a row a question, with prompt and answer")
    if not cases:
        if answer_is not in {None, "text"}:
            raise UsageError(f"{source} has no choices, so no answer can be a place", "leave --answer-is out")
        return Read(questions, None, tuple(notes))
    settled = settle(list(cases.values()), source, answer_is)
    for (number, case), places in zip(cases.items(), settled.places, strict=True):
        questions[number] = _with_choices(questions[number], case.choices.texts, sorted(places))
    return Read(questions, settled, tuple(notes))


def _question(row: Mapping[str, Any], number: int, place: str, *, as_json: bool) -> Question:
    """Make a question; its choices are not listed yet."""
    asked = "question" if "question" in row and "prompt" not in row else "prompt"
    for column in (asked, "answer"):
        if column not in row:
            raise _missing(row, column, place)
    prompt = _read(row, asked, prompt_of, place)
    messages = None if isinstance(prompt, str) else prompt
    answer, *aliases = _read(row, "answer", _cell_texts if as_json else texts_of, place)
    return Question(
        id=_read(row, "id", text_of, place) if _given(row, "id") else str(number),
        subject=intern(_read(row, "subject", text_of, place)) if _given(row, "subject") else None,
        prompt=_as_text(messages) if messages else str(prompt),
        answer=answer,
        aliases=tuple(aliases),
        messages=messages,
    )


def _choices(row: Mapping[str, Any], place: str) -> Choices | None:
    """Read the choices from a column of that name, or from columns that are called A, B and so on."""
    if _given(row, "choices"):
        return _read(row, "choices", choices_of, place)
    lettered = {name: row[name] for name in takewhile(lambda name: _given(row, name), LETTERED)}
    if len(lettered) > 1:
        return _read({"choices": lettered}, "choices", choices_of, place)
    if alike := like_choices(tuple(row)):
        hint = f"--columns choices={alike}, where it holds them all; else put them into one column"
        raise UsageError(f"{place}: the column {alike!r} looks like choices, and is not read", hint)
    return None


def _number_beside_texts(row: Mapping[str, Any]) -> bool:
    """Whether the answer is a number as the set has it, and the choices are none."""
    choices = row["choices"] if _given(row, "choices") else [row.get(name) for name in LETTERED]
    return is_number(row["answer"]) and not (isinstance(choices, list | tuple) and any(map(is_number, choices)))


def _notes(row: Mapping[str, Any], choices: Choices | None) -> Iterable[str]:
    if "prompt" in row and _given(row, "question") and row["question"] != row["prompt"]:
        yield "the column 'prompt' is asked, and 'question' is left out"
    if choices and not _given(row, "choices"):
        yield "the choices are those of the columns A, B and so on"


def _read(row: Mapping[str, Any], column: str, read: Callable[[Any], T], place: str) -> T:
    try:
        return read(row[column])
    except NotReadableError as error:
        hint = TAKES.get(column, TAKES["prompt"] if column == "question" else "a text or a number")
        are = "choices are" if column == "choices" else f"{column} is"
        raise UsageError(f"{place}: the {are} {error}", hint) from None


def _given(row: Mapping[str, Any], column: str) -> bool:
    value = row.get(column)
    return value is not None and not (isinstance(value, str) and not value.strip())


def _missing(row: Mapping[str, Any], column: str, place: str) -> UsageError:
    found = ", ".join(sorted(str(name) for name in row)) or "nothing"
    alike = next((str(name) for name in row if str(name).lower() in OTHER_NAMES[column]), None)
    hint = f"is {alike!r} meant? --columns {column}={alike}" if alike else f"say which it is: --columns {column}=NAME"
    return UsageError(f"{place}: no column {column!r}; it has {found}", hint)


def _cell_texts(text: Any) -> tuple[str, ...]:
    try:
        return texts_of(cell_value(text) if isinstance(text, str) else text)
    except NotReadableError as error:
        more = "; --answer-is text takes it as it stands" if isinstance(text, str) and text.strip() else ""
        raise NotReadableError(f"{error}{more}") from None


def _with_choices(question: Question, texts: Sequence[str], places: Sequence[int]) -> Question:
    """List the choices below the prompt, and turn the answer to a letter."""
    letter, *others = (LETTERS[place] for place in places)
    listed = "\n".join(f"{name}. {text}" for name, text in zip(LETTERS, texts, strict=False))
    below = f"\n\n{listed}\n\nAnswer with the letter alone."
    messages = question.messages
    if messages:
        content = messages[-1]["content"]
        content = content + below if isinstance(content, str) else [*content, {"type": "text", "text": below}]
        messages = (*messages[:-1], {**messages[-1], "content": content})
    return replace(
        question,
        prompt=question.prompt + below,
        answer=letter,
        aliases=tuple(others),
        choices=tuple(texts),
        messages=messages,
    )


def _as_text(messages: Sequence[Message]) -> str:
    """Messages as people read them, for judges and pages."""
    texts = [
        content if isinstance(content := message["content"], str) else "".join(part["text"] for part in content)
        for message in messages
    ]
    return "\n\n".join(f"{message['role']}: {text}" for message, text in zip(messages, texts, strict=True))
