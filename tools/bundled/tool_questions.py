"""Conversations with a calculator: what the bundled model that calls a tool is trained on, and what it is asked.

Three tasks are too much for so small a model by itself: products of numbers of two to four digits (`times`), sums and
differences of up to five terms (`total`), and the greater of two products (`more`), for which it must call twice. The
eight short tasks stand beside them: it answers those at once, tool or no tool. Held out is by meaning, as everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from bundled.questions import Question, held_out
from bundled.questions import training_stream as short_stream

LONG_SHARE = 0.75
"""Of the conversations, those about the three tasks below."""
WITHOUT_TOOL = 0.25
"""Of the conversations, those in which the model is given no tool and must answer at once."""


class Conversation(NamedTuple):
    """A question, the expressions that are to be computed one after the other, and their results."""

    question: Question
    calls: tuple[tuple[str, str], ...]
    """Expression and result of each call; none where the model answers at once."""
    tool: bool
    """Whether the calculator is offered."""


def _number(rng: random.Random, longest: int) -> int:
    digits = rng.randint(2, longest)
    return rng.randrange(10 ** (digits - 1), 10**digits)


def times(rng: random.Random) -> Conversation:
    """`347*582`."""
    a, b = _number(rng, 4), _number(rng, 4)
    return _asked("times", f"{a}*{b}", str(a * b), f"{min(a, b)} {max(a, b)}")


def total(rng: random.Random) -> Conversation:
    """`415-38+7021-664`."""
    terms = [_number(rng, 4) for _ in range(rng.randint(3, 5))]
    signs = [1, *(rng.choice((1, 1, -1)) for _ in terms[1:])]
    signed = [sign * term for sign, term in zip(signs, terms, strict=True)]
    written = str(terms[0]) + "".join(f"{term:+d}" for term in signed[1:])
    return _asked("total", written, str(sum(signed)), " ".join(map(str, sorted(signed))))


def more(rng: random.Random) -> Conversation:
    """`more 38*57 or 92*21`: two calls, and then the greater result."""
    pairs = [(rng.randrange(10, 100), rng.randrange(10, 100)) for _ in range(2)]
    first, second = (a * b for a, b in pairs)
    written = [f"{a}*{b}" for a, b in pairs]
    key = " ".join(sorted(" ".join(map(str, sorted(pair))) for pair in pairs))
    question = Question("more", f"more {written[0]} or {written[1]}", str(max(first, second)), key)
    return Conversation(question, ((written[0], str(first)), (written[1], str(second))), tool=True)


def _asked(subject: str, expression: str, answer: str, key: str) -> Conversation:
    return Conversation(Question(subject, expression, answer, key), ((expression, answer),), tool=True)


TASKS = (times, total, more)


def training_stream(seed: int) -> Iterator[Conversation]:
    """Endless conversations for training; no question is held out."""
    rng, short = random.Random(seed), short_stream(seed)
    while True:
        made = rng.choice(TASKS)(rng) if rng.random() < LONG_SHARE else Conversation(next(short), (), tool=True)
        if rng.random() < WITHOUT_TOOL:
            made = made._replace(calls=(), tool=False)
        if not held_out(made.question):
            yield made


def held_out_questions(each: int, seed: int) -> list[Question]:
    """`each` held-out questions of each of the three tasks, no key twice, tasks interleaved."""
    rng = random.Random(seed)
    columns = []
    for make in TASKS:
        chosen: dict[str, Question] = {}
        while len(chosen) < each:
            question = make(rng).question
            if held_out(question):
                chosen.setdefault(question.key, question)
        columns.append(list(chosen.values()))
    return [question for row in zip(*columns, strict=True) for question in row]
