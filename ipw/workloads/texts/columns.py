"""Names of the columns of data sets: those that are read, how to say that others are meant, and what others use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from ipw.errors import UsageError, near
from ipw.workloads.texts.files import Row

NAMES = ("prompt", "answer", "choices", "id", "subject", "messages", "turns", "answers")
OTHER_NAMES = {
    "prompt": {
        "prompt", "question", "input", "inputs", "query", "instruction", "problem", "messages", "conversations", "text",
        "ctx", "sentence", "goal",
    },
    "answer": {
        "answer", "answers", "target", "targets", "label", "solution", "output", "answerkey", "answer_key",
        "answer_idx", "gold", "ideal", "correct_answer", "correct answer", "reference", "completion",
    },
}  # fmt: skip
"""What others call these columns, in small letters: told, and not guessed at."""
CHOICES_LIKE = re.compile(
    r"(?:options?|choices?|endings?|candidates?|alternatives?|distractors?|opt?|sol)[_ ]?(?:[0-9a-e]|list|text)?",
    re.IGNORECASE,
)


class Meant(NamedTuple):
    """What a person says of a data set that it does not tell itself."""

    columns: Mapping[str, str] = {}
    """Names of its columns by ours."""
    answer_is: str | None = None
    """What its answers beside choices are (`answer_places.FORMS`); without it, the whole set tells."""


def columns_of(text: str) -> dict[str, str]:
    """Read `prompt=Question,answer=answerKey`: columns of a data set by our names. Raises UsageError."""
    found: dict[str, str] = {}
    for part in text.split(","):
        ours, equals, theirs = (piece.strip() for piece in part.partition("="))
        if not equals or not theirs or ours in found:
            raise UsageError(f"{text!r} does not name columns", "like --columns prompt=Question,answer=answerKey")
        if ours not in NAMES:
            raise UsageError(f"--columns: there is no column {ours!r} to fill", near(ours, NAMES))
        found[ours] = theirs
    return found


def renamed(rows: Iterable[Row], columns: Mapping[str, str], source: object) -> Iterator[Row]:
    """Give the columns that are meant our names; others of these names are left out. Raises UsageError."""
    left_out = {*columns, *(["question"] if "prompt" in columns else [])}
    left_out |= {"prompt", "question"} - {*columns} if {"messages", "turns"} & {*columns} else set()
    for where, row in rows:
        for theirs in columns.values():
            if theirs not in row:
                has = ", ".join(sorted(map(str, row)))
                raise UsageError(f"{source}, {where}: no column {theirs!r}; it has {has}", "see --columns")
        yield (
            where,
            {name: value for name, value in row.items() if name not in left_out}
            | {ours: row[theirs] for ours, theirs in columns.items()},
        )


@lru_cache
def like_choices(names: tuple[str, ...]) -> str | None:
    """Find a column, other than `choices`, that looks as if it held choices."""
    return next((str(name) for name in names if name != "choices" and CHOICES_LIKE.fullmatch(str(name))), None)
