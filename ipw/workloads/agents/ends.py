"""Where an answer was complete, as its own text shows; what comes behind is babbling. Pure.

What a program makes of an answer is not known, so that only signs count which leave no doubt:

- `json`: a JSON document was asked for, and the answer begins with a whole one;
- `answer`: a line that gives the final answer in a form that graders look for;
- `end`: the model wrote, as text, a mark that ends its turn or begins another's;
- `loop`: the answer was cut at its limit while it repeated itself, three times or more.

An answer without a sign may babble too: that cannot be told.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

DECODER = json.JSONDecoder()
FENCE, CLOSED = re.compile(r"```(?:json)?[ \t]*\n"), re.compile(r"\s*```")
FINAL = re.compile(
    r"^####[ \t]*\$?-?\d[\d.,]*%?[ \t]*$|</answer>|\[/ANSWER\]|\bfinal answer\*{0,2}:\*{0,2}[ \t]*\S"
    r"|\bthe (?:final |correct |best )?answer is:?[ \t]*\**\([A-J]\)",
    re.IGNORECASE | re.MULTILINE,
)
"""GSM8K's, those of prompts that ask for tags or for these words, and MMLU's with reasoning. The first counts: a model
that does not stop goes on with the next question."""
BOXED = "\\boxed{"
"""MATH's. The last counts, as it does for graders: parts of a proof are boxed too."""
TURN = re.compile(
    r"(?:<\|(?:im_end|eot_id|eom_id|end_of_text|endoftext|end|return)\|>|<end_of_turn>|<eos>|\[/INST\]|</s>)(?=\s*(?:\Z|\n|<))"
    r"|^(?:<\|(?:im_start|start_header_id|user|assistant)\|>|<start_of_turn>|\[INST\])",
    re.MULTILINE,
)
"""Marks of templates (ChatML, Llama, Gemma, Phi, Mistral, harmony) where no sentence goes on behind, or before."""
STRUCK = "<s>"
"""Where it stands before, `</s>` is HTML."""
COPIES, LEAST_REPEATED, LOOKED_AT = 3, 40, 8000
"""Of a loop: how often a text stands there, characters that repeat, and characters from the end that are looked at."""


class End(NamedTuple):
    """Where an answer was complete."""

    characters: int
    """Of its text, up to there."""
    sign: str


def end_of(text: str, *, json_asked: bool = False, cut: bool = False) -> End | None:
    """Find the first place at which an answer was complete; `None` where nothing shows one.

    `cut` says that a limit on tokens ended it.
    """
    ends = [
        _json_end(text) if json_asked else None,
        _final_end(text),
        _turn_end(text),
        _loop_end(text) if cut else None,
    ]
    found = [end for end in ends if end is not None]
    return min(found, default=None)


def behind(text: str, end: End) -> int:
    """Count the characters behind the end; blank ones alone are none."""
    return len(text) - end.characters if text[end.characters :].strip() else 0


def _json_end(text: str) -> End | None:
    start = len(text) - len(text.lstrip())
    fence = FENCE.match(text, start)
    start = fence.end() if fence else start
    if text[start : start + 1] not in {"{", "["}:
        return None
    try:
        _, end = DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    closed = CLOSED.match(text, end) if fence else None
    return End(closed.end() if closed else end, "json")


def _final_end(text: str) -> End | None:
    """End with the line that gives the answer."""
    found = FINAL.search(text)
    at = found.end() if found else text.rfind(BOXED)
    if at < 0:
        return None
    line = text.find("\n", at)
    return End(len(text) if line < 0 else line, "answer")


def _turn_end(text: str) -> End | None:
    struck = text.find(STRUCK)
    for found in TURN.finditer(text):
        if found[0] != "</s>" or not 0 <= struck < found.start():
            return End(found.start(), "end")
    return None


def _loop_end(text: str) -> End | None:
    """End with the first of the copies that the text ends in, the last of which may be cut.

    By the failure function of Knuth, Morris and Pratt of the text read backwards.
    """
    tail = text[-LOOKED_AT:][::-1]
    border, failure, best = 0, [0], 0
    period_of_best = 0
    for at in range(1, len(tail)):
        while border and tail[at] != tail[border]:
            border = failure[border - 1]
        border += tail[at] == tail[border]
        failure.append(border)
        length, period = at + 1, at + 1 - border
        if length >= COPIES * period and length - period >= LEAST_REPEATED:
            best, period_of_best = length, period
    return End(len(text) - best + period_of_best, "loop") if best else None
