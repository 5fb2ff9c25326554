"""What a value in a column of a data set means: a text, a number, aliases, chat messages, choices; else what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ROLES = ("system", "developer", "user", "assistant")
REPR = re.compile(r"\s*(?:\[\s*\{?|\{)\s*'.*'?\s*[\]}]\s*", re.DOTALL)
"""What Python prints for a list or an object with texts in it, which is no JSON."""

T = TypeVar("T")
Message = Mapping[str, Any]
"""`role` and `content`: a text, or parts of text."""


class NotReadableError(ValueError):
    """The value is not what the column takes; the text says what it is."""


class Choices(NamedTuple):
    """Texts to choose from, and the names that the data set itself gives them, where it does."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None


def text_of(value: object) -> str:
    """Read a text, or a number or a date as people write it: 15.0 is 15, 1e-7 is 0.0000001, dates as ISO 8601.

    Raises NotReadableError.
    """
    match value:
        case str():
            return _text(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() | Decimal():
            return _plain(value)
        case datetime() | date() | time():
            if value != value:  # noqa: PLR0124 (pandas' NaT is a date that does not equal itself)
                raise NotReadableError("NaT, no time")
            return value.isoformat()
    raise NotReadableError(named(value))


def texts_of(value: Any) -> tuple[str, ...]:
    """Read an answer: each of the texts is right. A list holds aliases; TriviaQA's and SQuAD's objects are known.

    Raises NotReadableError.
    """
    if isinstance(value, bool):
        return ("true", "True") if value else ("false", "False")
    if isinstance(value, Mapping):
        return _texts_of_object(value)
    if not _is_list(value):
        return (text_of(value),)
    if not value:
        raise NotReadableError("an empty list")
    if any(_is_list(each) for each in value):
        raise NotReadableError("a list of lists")
    return tuple(dict.fromkeys(text for texts in _each(value, texts_of) for text in texts))


def prompt_of(value: Any) -> str | tuple[Message, ...]:
    """Read a prompt: a text, or chat messages (a list of `role` and `content`, also as JSON in a text).

    One message of a user is no more than a text. Raises NotReadableError.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _chat_in_text(value)
    if not _is_list(value):
        return text_of(value)
    messages = messages_of(value)
    if messages[-1]["role"] != "user":
        raise NotReadableError(f"chat messages of which the last is by the {messages[-1]['role']}, not by the user")
    only = messages[0]["content"]
    return only if len(messages) == 1 and isinstance(only, str) else messages


def messages_of(value: Any) -> tuple[Message, ...]:
    """Read chat messages: a list of `role` and `content`, also as JSON in a text. Raises NotReadableError."""
    if isinstance(value, str):
        value = _chat_in_text(value)
    if not _is_list(value) or not value or not all(isinstance(each, Mapping) for each in value):
        raise NotReadableError(named(value))
    return tuple(_message(each, number) for number, each in enumerate(value, 1))


def choices_of(value: object) -> Choices:
    """Read 2 to 26 choices: a list of texts, texts with labels, or texts by letter; also as JSON in a text.

    Labels come as an object of two lists, `text` and `label`, or as a list of objects. Raises NotReadableError.
    """
    given: Any = _parsed(value) if isinstance(value, str) else value
    texts: Sequence[Any]
    labels: Sequence[Any] | None
    if isinstance(given, Mapping):
        texts, labels = _labelled(given)
    elif not _is_list(given):
        raise NotReadableError(named(given))
    elif given and all(isinstance(each, Mapping) for each in given):
        if any({"text", "label"} - set(each) for each in given):
            raise NotReadableError(f"a list of objects with {_keys(given[0])}")
        texts, labels = [each["text"] for each in given], [each["label"] for each in given]
    else:
        texts, labels = given, None
    if not 2 <= len(texts) <= len(LETTERS):
        raise NotReadableError(f"{named(texts)}, not of 2 to {len(LETTERS)}")
    if labels is None:
        return Choices(_each(texts, text_of))
    names = tuple(label.strip() for label in _each(labels, text_of))
    if len(names) != len(texts) or len(set(names)) < len(names):
        raise NotReadableError(f"{len(texts)} texts with the labels {', '.join(names)[:60]}")
    return Choices(_each(texts, text_of), names)


def is_number(value: Any) -> bool:
    """Whether a value is a number, or a list of numbers."""
    if _is_list(value):
        return bool(value) and all(map(is_number, value))
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def cell_value(text: str) -> object:
    """Read an answer from a format that knows only texts, such as CSV.

    What is a JSON list of texts, or a JSON object, is meant as such, and anything else as the text that it is. Raises
    NotReadableError for a list that may be aliases or one text, and for what Python prints for a list.
    """
    bare = text.strip()
    if not (bare.startswith(("[", "{")) and bare.endswith(("]", "}"))):
        return text
    try:
        value = json.loads(bare)
    except (ValueError, RecursionError):
        if REPR.fullmatch(bare):
            raise NotReadableError("a list or an object as Python prints it, and not as JSON") from None
        return text
    if isinstance(value, dict) or (value and all(isinstance(each, str) for each in value)):
        return value
    raise NotReadableError("a list that may be aliases or one text")


def named(value: object) -> str:
    """Say what a value is that is no text."""
    match value:
        case None:
            return "null"
        case bytes() | bytearray() | memoryview():
            return "bytes"
        case Mapping():
            return f"an object with {_keys(value)}"
        case list() | tuple():
            return f"a list of {len(value)} value{'s'[: len(value) != 1]}"
    return f"a value of the kind {type(value).__name__}"


def _text(value: str) -> str:
    if not value.strip():
        raise NotReadableError("empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotReadableError("a text with half a character in it (a lone surrogate)") from None
    return value


def _plain(value: float | Decimal) -> str:
    number = Decimal(repr(value)) if isinstance(value, float) else value
    if not number.is_finite():
        raise NotReadableError("NaN, no number" if number.is_nan() else "infinite")
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) if number else "0"


def _texts_of_object(value: Mapping[Any, Any]) -> tuple[str, ...]:
    if {"value", "aliases"} <= set(value):  # TriviaQA
        found = [value["value"], *_list(value["aliases"])]
    elif {"text", "answer_start"} <= set(value):  # SQuAD
        found = list(_list(value["text"]))
    else:
        raise NotReadableError(named(value))
    if not found:
        raise NotReadableError("an object without an answer in it")
    return tuple(dict.fromkeys(_each(found, text_of)))


def _labelled(value: Mapping[Any, Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Read ARC's object of two lists, or an object of texts by letter, of which the last may be null."""
    if set(value) == {"text", "label"} and _is_list(value["text"]) and _is_list(value["label"]):
        return value["text"], value["label"]
    here = [key for key in value if value[key] is not None]
    if list(LETTERS[: len(here)]) != sorted(map(str, here)):
        raise NotReadableError(named(value))
    return [value[key] for key in sorted(here)], sorted(here)


def _message(value: Mapping[Any, Any], number: int) -> Message:
    given = {str(name): each for name, each in value.items() if each is not None}
    role, content = given.get("role"), given.get("content")
    if set(given) != {"role", "content"}:
        raise NotReadableError(f"message {number} is an object with {_keys(given)}, not with role and content")
    if role not in ROLES:
        raise NotReadableError(f"message {number} has the role {str(role)[:40]!r}, which is none of {', '.join(ROLES)}")
    parts = content if _is_list(content) and content else [{"type": "text", "text": content}]
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind != "text":
            raise NotReadableError(f"message {number} has a part that is not a text ({kind or named(part)})")
    try:
        texts = [text_of(part.get("text")) for part in parts]
    except NotReadableError as error:
        raise NotReadableError(f"the content of message {number} is {error}") from None
    whole = [{"type": "text", "text": text} for text in texts]
    return {"role": role, "content": whole if parts is content else texts[0]}


def _chat_in_text(text: str) -> Any:
    """Read chat messages that are written as JSON; what is none stays the text that it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        if re.match(r"\s*\[\s*\{\s*'(?:role|content)'\s*:", text) and REPR.fullmatch(text):
            raise NotReadableError("chat messages as Python prints them, and not as JSON") from None
        return text
    messages = isinstance(value, list) and all(isinstance(each, dict) and "role" in each for each in value)
    return value if value and messages else text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        printed = (
            "a list as Python prints it, and not as JSON" if REPR.fullmatch(text) else "a text that is not a JSON list"
        )
        raise NotReadableError(printed) from None


def _each(values: Sequence[Any], read: Callable[[Any], T]) -> tuple[T, ...]:
    found = []
    for number, value in enumerate(values, 1):
        try:
            found.append(read(value))
        except NotReadableError as error:
            raise NotReadableError(f"a list in which value {number} is {error}") from None
    return tuple(found)


def _list(value: Any) -> Sequence[Any]:
    return value if _is_list(value) else [value]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _keys(value: Mapping[Any, Any]) -> str:
    names = [str(key)[:40] for key in value]
    return f"the keys {', '.join(names[:6])}{', …' if len(names) > 6 else ''}" if names else "no keys"
