"""The questions of the bundled models: made here, seeded, and held out by meaning rather than by spelling.

Two spellings of one question (`12+7` and `7+12`, `max 3 14` and `max 14 3`, a word and its mirror image, orderings of
the same letters) share a *key*; a key is either trained on or held out, so no answer can be remembered.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

HELD_OUT_SHARE = 0.10
QUESTIONS_EACH, QUESTIONS_SEED = 90, 7
"""Of the questions that are asked: so many a task."""
TRIES = 200
"""Draws for each question that is wanted, before a task is taken to have no more."""


class Question(NamedTuple):
    """One question, its right answer, and its identity."""

    subject: str
    prompt: str
    answer: str
    key: str
    """What makes the question one question, however it is written."""


def _add(rng: random.Random) -> Question:
    a, b = rng.randrange(100), rng.randrange(100)
    if rng.random() < 0.15:
        a = rng.randrange(10)
    return Question("add", f"{a}+{b}", str(a + b), f"{min(a, b)} {max(a, b)}")


def _sub(rng: random.Random) -> Question:
    a, b = rng.randrange(100), rng.randrange(100)
    return Question("sub", f"{a}-{b}", str(a - b), f"{min(a, b)} {max(a, b)}")


def _add3(rng: random.Random) -> Question:
    terms = [rng.randrange(100) for _ in range(3)]
    return Question("add3", "+".join(map(str, terms)), str(sum(terms)), " ".join(map(str, sorted(terms))))


def _mul(rng: random.Random) -> Question:
    a, b = rng.randrange(100), rng.randrange(10)
    if rng.random() < 0.5:
        a, b = b, a
    return Question("mul", f"{a}*{b}", str(a * b), f"{min(a, b)} {max(a, b)}")


def _max(rng: random.Random) -> Question:
    a, b = rng.randrange(100), rng.randrange(100)
    return Question("max", f"max {a} {b}", str(max(a, b)), f"{min(a, b)} {max(a, b)}")


def _word(rng: random.Random, letters: str, shortest: int, longest: int) -> str:
    return "".join(rng.choice(letters) for _ in range(rng.randint(shortest, longest)))


def _rev(rng: random.Random) -> Question:
    word = _word(rng, "abcdefgh", 3, 6)
    return Question("rev", f"rev {word}", word[::-1], min(word, word[::-1]))


def _sort(rng: random.Random) -> Question:
    word = _word(rng, "abcdefgh", 3, 6)
    ordered = "".join(sorted(word))
    return Question("sort", f"sort {word}", ordered, ordered)


def _count(rng: random.Random) -> Question:
    letter, word = rng.choice("abcd"), _word(rng, "abcd", 3, 7)
    return Question("count", f"count {letter} {word}", str(word.count(letter)), letter + "".join(sorted(word)))


TASKS: dict[str, tuple[Callable[[random.Random], Question], float]] = {
    "add": (_add, 0.16),
    "sub": (_sub, 0.20),
    "add3": (_add3, 0.16),
    "mul": (_mul, 0.14),
    "max": (_max, 0.08),
    "rev": (_rev, 0.08),
    "sort": (_sort, 0.08),
    "count": (_count, 0.10),
}
"""Task name to its generator and its share of the training questions."""


def held_out(question: Question) -> bool:
    """Whether the question's key belongs to the tenth that no model is trained on."""
    digest = hashlib.sha256(f"{question.subject} {question.key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def training_stream(seed: int, shares: Mapping[str, float] | None = None) -> Iterator[Question]:
    """Endless training questions, tasks by `shares` or as `TASKS` has them; none is held out."""
    rng = random.Random(seed)
    shares = shares or {name: share for name, (_, share) in TASKS.items()}
    names, weights = list(shares), list(shares.values())
    while True:
        question = TASKS[rng.choices(names, weights)[0]][0](rng)
        if not held_out(question):
            yield question


def held_out_questions(each: int, seed: int) -> list[Question]:
    """`each` held-out questions a task, no key twice, tasks interleaved."""
    rng = random.Random(seed)
    columns = []
    for make, _ in TASKS.values():
        chosen: dict[str, Question] = {}
        while len(chosen) < each:
            question = make(rng)
            if held_out(question):
                chosen.setdefault(question.key, question)
        columns.append(list(chosen.values()))
    return [question for row in zip(*columns, strict=True) for question in row]


def validation_questions(each: int, seed: int, asked: Iterable[Question]) -> list[Question]:
    """Up to `each` held-out questions a task, none of a key that is in `asked`: to look at while a model is trained.

    A task that has too few of them, as `mul` has, has what there is.
    """
    rng = random.Random(seed)
    known = {(question.subject, question.key) for question in asked}
    chosen: dict[tuple[str, str], Question] = {}
    for name, (make, _) in TASKS.items():
        found = 0
        for _ in range(TRIES * each):
            question = make(rng)
            mine = (name, question.key)
            if found < each and held_out(question) and mine not in known and mine not in chosen:
                chosen[mine] = question
                found += 1
    return list(chosen.values())
