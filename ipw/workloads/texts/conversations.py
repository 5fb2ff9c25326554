"""Conversations of several user turns, each of which is asked in its place, with the model's own answers before it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ipw.workloads.texts.values import Message, NotReadableError, messages_of, text_of, texts_of

COLUMNS = ("messages", "turns")
"""Of a data set: chat messages, or the texts of the user's turns (MT-Bench)."""


class Turn(NamedTuple):
    """What is said before an answer of the model, and what is right there."""

    messages: tuple[Message, ...]
    """Since the answer before; the last is the user's."""
    answers: tuple[str, ...]
    """Each is right; none where the data set says nothing."""


def turns_of(row: Mapping[str, Any], column: str) -> list[Turn]:
    """Read the turns of a row from `messages` or `turns`, and what is right in each.

    An assistant's message that follows a user's is what is right there: the model answers in its place. `answers`, or a
    list in `answer` that is as long as there are turns, has an answer a turn, null where there is none; any other
    `answer` is that of the last turn. Raises NotReadableError.
    """
    given = row[column]
    by_user = [{"role": "user", "content": text_of(each)} for each in _list(given)] if column == "turns" else []
    messages = messages_of(given) if column == "messages" else by_user
    found: list[Turn] = []
    since: list[Message] = []
    for message in messages:
        if message["role"] == "assistant" and found and not since:
            if not isinstance(message["content"], str) or found[-1].answers:
                raise NotReadableError("chat messages with two answers of the assistant in a row")
            found[-1] = found[-1]._replace(answers=(message["content"],))
            continue
        since.append(message)
        if message["role"] == "user":
            found.append(Turn(tuple(since), ()))
            since = []
    if not found:
        raise NotReadableError("chat messages without one of the user")
    if since:
        raise NotReadableError(f"chat messages of which the last is by the {since[-1]['role']}, and is never answered")
    return _with_answers(found, row)


def _with_answers(turns: list[Turn], row: Mapping[str, Any]) -> list[Turn]:
    given = row.get("answers") if row.get("answer") is None else row["answer"]
    if given is None:
        return turns
    if isinstance(given, list | tuple) and (len(turns) > 1 or row.get("answer") is None):
        if len(given) != len(turns):
            raise NotReadableError(f"{len(turns)} turns of the user with a list of {len(given)} answers")
        pairs = zip(turns, given, strict=True)
        return [turn if each is None else turn._replace(answers=texts_of(each)) for turn, each in pairs]
    return [*turns[:-1], turns[-1]._replace(answers=texts_of(given))]


def _list(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list | tuple) or not value:
        raise NotReadableError("not a list of texts")
    return value
