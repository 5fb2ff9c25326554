"""Is the response right? Pure functions from 0 to 1, offline; a response that is missing is wrong.

Where a question has several right answers, any of them is right, to every scorer.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from importlib.util import find_spec
from typing import NamedTuple

from ipw.errors import MissingExtraError, UsageError
from ipw.workloads.texts.questions import Question
from ipw.workloads.texts.values import LETTERS

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,4}(?!\w))?")
MINUS = str.maketrans({"\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2013": "-"})


class Scored(NamedTuple):
    """What a response is worth."""

    score: float | None
    """From 0 to 1; `None` where it is scored after the run, or never."""
    parsed: bool | None = None
    """Whether the letter or number that the scorer looks for was there; `None` for scorers that look for none."""


def scored(scorer: str, response: str | None, question: Question) -> Scored:
    """Score a response while the run goes on; `None`, a query that failed, is 0."""
    if scorer not in SCORERS or not question.graded:
        return Scored(None)
    if response is None:
        return Scored(0.0)
    parsed = None
    if scorer == "choice":
        parsed = chosen_letter(response, question.choices) is not None
    elif scorer == "number":
        parsed = last_number(response) is not None
    return Scored(SCORERS[scorer](response, question), parsed)


def check_scorer(scorer: str, questions: Sequence[Question]) -> None:
    """Raise UsageError where this scorer cannot judge these questions."""
    names = (*SCORERS, *DEFERRED, NONE)
    if scorer not in names:
        raise UsageError(f"there is no scorer {scorer!r}", f"choose one of {', '.join(names)}")
    if scorer == "math":
        require_math()
    for question in filter(lambda each: each.graded, questions):
        if scorer == "number" and all(last_number(answer) is None for answer in question.answers):
            raise UsageError(f"question {question.id}: the answer holds no number", "choose another --scorer")
        if scorer == "choice" and not all(len(each) == 1 and each.upper() in LETTERS for each in question.answers):
            raise UsageError(f"question {question.id}: the answer is not a letter", "choose another --scorer")
        if scorer == "regex":
            for answer in question.answers:
                _check_pattern(question.id, answer)


def _check_pattern(question_id: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"question {question_id}: the answer is not a regular expression: {error}") from None


def require_math() -> None:
    """Raise MissingExtraError without the extra that the scorer `math` needs."""
    if find_spec("math_verify") is None:
        raise MissingExtraError("the scorer 'math'", "math")


def exact(response: str, question: Question) -> float:
    """The whole response is the answer, white space around it left out."""
    return float(response.strip() in {answer.strip() for answer in question.answers})


def contains(response: str, question: Question) -> float:
    """The answer stands in the response as whole words, in any case."""
    said = " ".join(response.split()).casefold()
    words = "|".join(re.escape(" ".join(answer.split()).casefold()) for answer in question.answers)
    return float(re.search(rf"(?<!\w)(?:{words})(?!\w)", said) is not None)


def number(response: str, question: Question) -> float:
    """The last number of the response equals that of the answer, however written."""
    given = last_number(response)
    return float(given is not None and given in [last_number(answer) for answer in question.answers])


def choice(response: str, question: Question) -> float:
    """The letter that the response settles on is the answer's; no letter is wrong."""
    return float(chosen_letter(response, question.choices) in [answer.upper() for answer in question.answers])


def regex(response: str, question: Question) -> float:
    """The answer, a regular expression, is found in the response."""
    return float(any(re.search(answer, response) for answer in question.answers))


def last_number(text: str) -> Decimal | None:
    """The last number in a text, with or without thousands' commas, a sign, decimals and a power of ten (1e-7)."""
    last = deque(NUMBER.finditer(text.translate(MINUS)), maxlen=1)
    return Decimal(last[0][0].replace(",", "")) if last else None


def chosen_letter(response: str, choices: Sequence[str] | None = None) -> str | None:
    """The letter that a response settles on, or `None`.

    What is plainest counts first: a letter and no more; the last `boxed` letter; the last "answer is …"; a letter with
    a bracket or stop that begins the response; the last letter in brackets or in bold; the text of a choice and no
    more; and at last the only letter that stands alone.
    """
    text = response.strip()
    letters = LETTERS[: len(choices)] if choices else LETTERS[:10]
    for pattern in PATTERNS:
        found = re.findall(pattern.format(capital=f"[{letters}]", small=f"[{letters.lower()}]"), text)
        if found:
            return str(found[-1]).upper()
    for letter, choice_text in zip(letters, choices or (), strict=False):
        if text.rstrip(".").casefold() == choice_text.strip().rstrip(".").casefold():
            return letter
    alone = set(re.findall(rf"(?<![\w'\u2019])[{letters}](?![\w'\u2019]|\.\w)(?!{ARTICLE})", text))
    return alone.pop() if len(alone) == 1 else None


ANSWER_IS = (
    r"(?i:\b(?:answer|choice|option)\b\W{{0,4}}(?:(?:is|are|be)\b)?\W{{0,8}}(?:(?:option|choice)\s)?)"
    r"[*_(\[\"'`]{{0,4}}({capital}(?![\w'\u2019])(?!(?<=I) [a-z])|{small}(?=[)\]*.,;:]|\s*\Z))"
)
ARTICLE = r"(?<=[AI]) (?!(?:or|and|is)\b)[a-z]"
"""What follows an A or I that is a word."""
PATTERNS = (
    r"\A[\s*_(\[\"'`]*({capital}|{small})[\s*_)\]\"'`.:,;]*\Z",
    r"\\boxed\{{\s*(?:\\text(?:bf)?\{{)?\(?({capital}|{small})\)?\s*\}}",
    ANSWER_IS,
    r"\A[*_(\[]{{0,3}}({capital})[*_]{{0,2}}[).:\]](?=\s|\Z)",
    r"(?:\(|\*\*)({capital})(?:\)|\*\*|\.\*\*)",
)
"""Ways of naming a letter, the plainest first; of equal ones the last in the response counts."""

SCORERS: dict[str, Callable[[str, Question], float]] = {
    "exact": exact,
    "contains": contains,
    "number": number,
    "choice": choice,
    "regex": regex,
}
"""Scorers that are quick and pure, so that they score while the run goes on, by the name that `--scorer` takes."""
DEFERRED = {
    "math": "The response means the same number, set or formula as the answer, however written.",
    "judge": "A model finds that the response agrees with the answer.",
    "judge-pair": "A model finds the response at least as good as the answer, in both orders.",
    "lm-eval": "As the task of lm-evaluation-harness scores.",
}
"""Scorers that work for long, or ask a model: they score when the measured window has closed (scores.py)."""
NONE = "none"
"""Nothing can be right."""
