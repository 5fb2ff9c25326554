"""Which of the choices is right: answers that are texts of choices, their letters, or places from 0 or from 1.

An answer alone may be read in several ways: 3 may be the text of a choice, the third place or the fourth. So the whole
set is looked at. The form that fits every question is the one; where several fit and disagree, nobody guesses. Numbers
beside choices that are texts, as in MMLU, are places.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ipw.errors import UsageError
from ipw.workloads.texts.values import LETTERS, Choices

FORMS = {
    "text": "the text of a choice",
    "letter": "the letter of a choice",
    "index0": "a place, counted from 0",
    "index1": "a place, counted from 1",
}
"""What `--answer-is` takes."""
NAMED = ("text", "letter")
"""Forms that one set may mix."""
LETTER = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\].:]*")
WHOLE = re.compile(r"(0|[1-9]\d{0,3})(?:\.0+)?")
Places = Mapping[str, frozenset[int]]
"""Places of the right choices, from 0, by the forms in which the answer can be read."""


class Case(NamedTuple):
    """One question with choices; each of the answers is right."""

    where: str
    answers: tuple[str, ...]
    choices: Choices
    number: bool = False
    """Whether the set has the answer as a number, and the choices as texts."""


class Settled(NamedTuple):
    """What the answers of a set are."""

    form: str
    why: str
    places: list[frozenset[int]]
    """Of the right choices, from 0: one set a question."""


def settle(cases: Sequence[Case], source: object, asked: str | None = None) -> Settled:
    """Find the form of all answers, or take the one that is `asked` for. Raises UsageError, which names the row."""
    found = [readings(case) for case in cases]
    if asked is not None:
        for case, places in zip(cases, found, strict=True):
            if asked not in places:
                raise _refusal(source, case, f"is not {FORMS[asked]}")
        return Settled(asked, "as --answer-is says", [places[asked] for places in found])
    for case, places in zip(cases, found, strict=True):
        if not places:
            raise _refusal(source, case, "is none of the choices")
    fitting = [form for form in FORMS if all(form in places for places in found)]
    if {"index0", "index1"} & {*fitting} and all(case.number for case in cases):
        fitting = [form for form in fitting if form != "text"]  # a number beside texts is none of them
    if not fitting:
        return _mixed(cases, found, source)
    for case, places in zip(cases, found, strict=True):
        if len({places[form] for form in fitting}) > 1:
            raise _ambiguous(source, case, places, fitting)
    return Settled(fitting[0], _why(cases, found, fitting[0]), [places[fitting[0]] for places in found])


def readings(case: Case) -> Places:
    """Read an answer in every form that is possible.

    The labels that a data set gives its choices are their letters; an answer that is one of them is nothing else.
    """
    texts, labels = case.choices
    answers = [answer.strip() for answer in case.answers]
    found: dict[str, frozenset[int]] = {}
    same = frozenset(place for place, text in enumerate(texts) if text.strip() in answers)
    if same:
        found["text"] = same
    letters = [_letter(answer, labels or tuple(LETTERS[: len(texts)])) for answer in answers]
    if None not in letters:
        found["letter"] = frozenset(place for place in letters if place is not None)
        if labels:
            return {"letter": found["letter"]}
    numbers = [int(match[1]) for answer in answers if (match := WHOLE.fullmatch(answer))]
    if len(numbers) == len(answers):
        for form, first in (("index0", 0), ("index1", 1)):
            if all(first <= number < first + len(texts) for number in numbers):
                found[form] = frozenset(number - first for number in numbers)
    return found


def _letter(answer: str, labels: Sequence[str]) -> int | None:
    if answer in labels:
        return labels.index(answer)
    match = LETTER.fullmatch(answer)
    letter = match[1].upper() if match else None
    return labels.index(letter) if letter in labels else None


def _mixed(cases: Sequence[Case], found: Sequence[Places], source: object) -> Settled:
    """Take a set in which some answers are texts and others letters, as long as none can be both."""
    for case, places in zip(cases, found, strict=True):
        named = [form for form in NAMED if form in places]
        if not named:
            apart = (one for one, theirs in zip(cases, found, strict=True) if not set(theirs) & set(places))
            one, two = sorted((next(apart, cases[0]), case), key=cases.index)
            raise UsageError(
                f"{source}: answers are not of one kind: {_of(one)} in {one.where}, {_of(two)} in {two.where}",
                "make them all texts of choices, or letters, or places counted from 0, or from 1",
            )
        if len({places[form] for form in named}) > 1:
            raise _ambiguous(source, case, places, named)
    places_ = [places.get("text") or places["letter"] for places in found]
    return Settled("text or letter", "some are texts of choices, others letters", places_)


def _why(cases: Sequence[Case], found: Sequence[Places], form: str) -> str:
    """Name the first question that rules the nearest other form out."""
    other = {"index0": "index1", "index1": "index0", "text": "letter", "letter": "text"}[form]
    shows = next((case for case, places in zip(cases, found, strict=True) if other not in places), None)
    return f"as {shows.where} shows: {_of(shows)}" if shows else ""


def _ambiguous(source: object, case: Case, places: Places, fitting: Sequence[str]) -> UsageError:
    ways = [f"{FORMS[form]} ({' or '.join(LETTERS[i] for i in sorted(places[form]))})" for form in fitting]
    return UsageError(
        f"{source}, {case.where}: the answer {_shown(case)} may be {', '.join(ways[:-1])} or {ways[-1]}, and no row "
        "tells which",
        f"say which with --answer-is {'|'.join(fitting)}",
    )


def _refusal(source: object, case: Case, what: str) -> UsageError:
    texts = [repr(text[:20]) for text in case.choices.texts]
    among = ", ".join(texts[:4] + ["…"] * (len(texts) > 4))
    return UsageError(
        f"{source}, {case.where}: the answer {_shown(case)} {what}: {among}",
        "give the text of a choice, its letter, or its place from 0 or from 1",
    )


def _shown(case: Case) -> str:
    return " or ".join(repr(answer[:40]) for answer in case.answers[:3])


def _of(case: Case) -> str:
    return f"{_shown(case)} of {len(case.choices.texts)} choices"
