"""Questions whose answers are long and follow one from another: what a model that writes all at once finds hard.

`work` adds two numbers digit by digit, from the right, with each carry; `order` sorts letters by taking the smallest
of what is left, again and again. Each part of an answer needs the part before it. A tenth is held out by meaning.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from bundled.questions import Question, held_out

DIGITS = 4
LETTERS = 5


def work(rng: random.Random) -> Question:
    """`work 4738+2964`: `8+4+0=12 3+6+1=10 7+9+1=17 4+2+1=07 7702`."""
    a, b = (rng.randrange(10 ** (DIGITS - 1), 10**DIGITS) for _ in range(2))
    parts, carry = [], 0
    for place in range(DIGITS):
        left, right = (x // 10**place % 10 for x in (a, b))
        total = left + right + carry
        parts.append(f"{left}+{right}+{carry}={total:02d}")
        carry = total // 10
    return Question("work", f"work {a}+{b}", " ".join([*parts, str(a + b)]), f"{min(a, b)} {max(a, b)}")


def order(rng: random.Random) -> Question:
    """`order dbcae`: `a>dbce b>dce c>de d>e e abcde`."""
    word = "".join(rng.choice("abcdefghij") for _ in range(LETTERS))
    parts, left = [], word
    while len(left) > 1:
        least = min(left)
        left = left.replace(least, "", 1)
        parts.append(f"{least}>{left}")
    ordered = "".join(sorted(word))
    return Question("order", f"order {word}", " ".join([*parts, left, ordered]), ordered)


TASKS = (work, order)
WORK_SHARE = 0.6
"""Of the training questions: sums are the harder of the two."""


def training_stream(seed: int) -> Iterator[Question]:
    """Endless training questions, sums and words in turn by chance; none is held out."""
    rng = random.Random(seed)
    while True:
        question = (work if rng.random() < WORK_SHARE else order)(rng)
        if not held_out(question):
            yield question


def held_out_questions(each: int, seed: int) -> list[Question]:
    """`each` held-out questions a task, no key twice, tasks interleaved."""
    rng = random.Random(seed)
    columns = []
    for make in TASKS:
        chosen: dict[str, Question] = {}
        while len(chosen) < each:
            question = make(rng)
            if held_out(question):
                chosen.setdefault(question.key, question)
        columns.append(list(chosen.values()))
    return [question for row in zip(*columns, strict=True) for question in row]
