"""Prompts and answers of fixed lengths: for pure efficiency, with nothing to be right about."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

from ipw.errors import UsageError
from ipw.workloads.texts.questions import Question

COUNT = 100
"""Of prompts, where no limit says how many."""
MOST = 1 << 20
FIRST = "time"
"""Begins every prompt: a word without a space before it may be another number of tokens."""
WORDS = (
    "year life hand part work week case home room area fact book word side kind head hour game line city name team",
    "thing world child place point water money story month right house power table north paper south green black small",
    "way day man eye lot end law car red",
)
"""Each is one token, with the space before it, in the vocabularies of common models. Within a row all are as long, so
that where tokens are letters too, one may stand for another.
"""
OVERHEAD = 8
"""Tokens that a chat template adds, about."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long prompts and answers are to be, in tokens."""

    tokens_in: int
    """As the server counts them, its chat template included."""
    tokens_out: int

    @property
    def request(self) -> dict[str, Any]:
        """What keeps answers at their length.

        Servers that know `ignore_eos` and `min_tokens` (vLLM, SGLang, llama.cpp) answer in exactly so many tokens;
        others stop earlier where the model does.
        """
        return {"max_tokens": self.tokens_out, "min_tokens": self.tokens_out, "ignore_eos": True}


def lengths_of(text: str) -> Lengths:
    """Read `512,128`. Raises UsageError."""
    found = re.fullmatch(r"(\d+),(\d+)", text)
    tokens_in, tokens_out = (int(x) for x in found.groups()) if found else (0, 0)
    if not (0 < tokens_in <= MOST and 0 < tokens_out <= MOST):
        raise UsageError(f"fixed:{text} is not a pair of lengths", "give tokens in and out, like fixed:512,128")
    return Lengths(tokens_in, tokens_out)


def fixed_questions(lengths: Lengths, count: int, seed: int, words: int | None = None, end: str = "") -> list[Question]:
    """Make `count` prompts of so many `words`, each with other ones; by default as many as make about IN tokens."""
    words = max(lengths.tokens_in - OVERHEAD, 1) if words is None else words
    return [Question(str(number), None, prompt(words, f"{seed} {number}") + end, "") for number in range(count)]


def prompt(words: int, seed: str) -> str:
    """So many words, drawn with `seed`: as many of each length, in the same order, whatever the seed."""
    draw = random.Random(seed)  # noqa: S311 (a reproducible draw)
    drawn = [FIRST] * words
    for place, row in enumerate(WORDS, 1):
        drawn[place :: len(WORDS)] = draw.choices(row.split(), k=len(drawn[place :: len(WORDS)]))
    return " ".join(drawn)
