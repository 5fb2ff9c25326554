"""Questions with known answers, from rows of any source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile
from sys import intern
from typing import Any, NamedTuple, TypeVar

from ipw.errors import UsageError
from ipw.workloads.texts.answer_places import Case, Settled, settle
from ipw.workloads.texts.columns import OTHER_NAMES, Meant, like_choices, renamed
from ipw.workloads.texts.conversations import COLUMNS as TURNS
from ipw.workloads.texts.conversations import turns_of
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
    "messages": "messages are a list of role and content; those of the assistant are what is right in their place",
    "turns": "turns are a list of the user's texts",
    "choices": f'choices are a list of 2 to {len(LETTERS)} texts, like ["red", "green"]',
}


SHOWN = 400
"""Characters of a question that a run keeps."""


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
    """What is sent, where the prompt is a chat; of a conversation, what is said since the answer before."""
    conversation: int | None = None
    """Its number, from 1; `task` is its name."""
    task: str | None = None
    turn: int | None = None
    """Which turn of its conversation it is, from 1; before it stand the turns before, and the model's answers."""
    graded: bool = True
    """Whether anything is right: a turn of a conversation may have no answer in the data set."""

    @property
    def sent(self) -> str | tuple[Message, ...]:
        """What a server is sent."""
        return self.messages or self.prompt

    @property
    def shown(self) -> str:
        """What is asked, as long as people read it beside a wrong answer."""
        return self.prompt if len(self.prompt) <= SHOWN else f"{self.prompt[: SHOWN - 1]}…"

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
        as_turns = _turns_column(row)
        if as_turns:
            turns = list(_conversation(row, as_turns, number, place))
            questions.extend(turns[:-1])
            question = turns[-1]
        else:
            question = _question(row, number, place, as_json=not typed and answer_is != "text")
        name = question.task or question.id
        if name in ids:
            raise UsageError(f"{place}: the id {name!r} was there before", "ids tell questions apart")
        ids.add(name)
        choices = _choices(row, place)
        if choices:
            cases[len(questions)] = Case(where, question.answers, choices, number=_number_beside_texts(row))
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


def together(questions: Iterable[Question]) -> Iterator[list[Question]]:
    """Part questions into what is asked one after the other: the turns of a conversation, or one question."""
    for _, group in groupby(
        enumerate(questions), key=lambda each: (each[1].conversation, each[1].conversation or each[0])
    ):
        yield [question for _, question in group]


def _turns_column(row: Mapping[str, Any]) -> str | None:
    """Find the column that holds a conversation, a list or one as JSON, where the row has no prompt."""

    def is_list(value: object) -> bool:
        return bool(value) and (isinstance(value, list | tuple) or str(value).lstrip().startswith("["))

    asked = _given(row, "prompt") or _given(row, "question")
    return None if asked else next((column for column in TURNS if is_list(row.get(column))), None)


def _conversation(row: Mapping[str, Any], column: str, number: int, place: str) -> Iterator[Question]:
    """Make a question of each turn of the user."""
    turns = _read(row, column, lambda _: turns_of(row, column), place)
    if _given(row, "choices"):
        raise UsageError(f"{place}: choices beside a conversation are not asked", "put them into the user's messages")
    name = _read(row, "id", text_of, place) if _given(row, "id") else str(number)
    subject = intern(_read(row, "subject", text_of, place)) if _given(row, "subject") else None
    said: list[Message] = []
    for turn, (messages, answers) in enumerate(turns, 1):
        said.extend(messages)
        yield Question(
            id=f"{name}/{turn}",
            subject=subject,
            prompt=_as_text(said),
            answer=answers[0] if answers else "",
            aliases=answers[1:],
            messages=messages,
            conversation=number + 1,
            task=name,
            turn=turn,
            graded=bool(answers),
        )


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
