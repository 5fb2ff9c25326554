"""Chunks that are as the one before but for their text, as most of an answer's are: their JSON is read once.

A server sends some hundred bytes of JSON with every token, and nearly all of them again with the next. JSON is read
from left to right: what stands before a value says what it is a value of. So a chunk that begins and ends as one that
was read, with another text in the place of its text, says the same, and that text.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ipw.workloads.lm.http.messages import THINKING

RAW_DECODE = json.JSONDecoder().raw_decode
TEXTS = {name: re.compile(rf'"{name}"\s*:\s*(?=")') for name in ("content", "text", *THINKING)}
"""What stands before a text, by its name: in a piece of a message, or in the choice of a plain completion."""
OTHERS = ("error", "finish_reason", "logprobs", "timings", "usage")
"""What a chunk or a choice may say besides."""
NOTHING: tuple[Any, ...] = (None, "", [], {})
"""Values that say nothing."""
TRIES = 4
"""To learn, more than chunks that were read by what was learned: some servers number their chunks."""


class Alike:
    """Reads the texts of chunks that are as the one that was learned, up to the first that is not."""

    def __init__(self) -> None:
        self.thinks = False
        """Whether these texts are thinking."""
        self._before, self._after = "", ""
        self._tries = TRIES

    def text(self, chunk: str) -> str:
        """Read the text of a chunk; empty for one that has to be read as a whole."""
        before, self._before = self._before, ""
        if before and chunk.startswith(before):
            try:
                text, end = RAW_DECODE(chunk, len(before))
            except (ValueError, RecursionError):
                return ""
            if text.__class__ is str and chunk[end:] == self._after:
                self._before = before
                self._tries += 1
                return text
        return ""

    def learn(self, chunk: str, read: dict[str, Any]) -> None:
        """Take a chunk, and what was read in it.

        Where no backslash is, names are written as they are; so if one name is that of the text, it is the text's own.
        """
        if not self._tries:
            return
        self._tries -= 1
        name = _only_text(read)
        start = TEXTS[name].search(chunk) if name in TEXTS and chunk.count(f'"{name}"') == 1 else None
        if start:
            before, after = chunk[: start.end()], chunk[RAW_DECODE(chunk, start.end())[1] :]
            if "\\" not in before and "\\" not in after:
                self.thinks, self._before, self._after = name in THINKING, before, after


def _only_text(chunk: dict[str, Any]) -> str:
    """Name the text that a chunk says, if it says one thing and nothing else."""
    match chunk:
        case {"choices": [{"message": dict()}]}:
            return ""
        case {"choices": [{"delta": dict(delta)} as choice]}:
            said = [name for name, value in delta.items() if value not in NOTHING and name != "role"]
        case {"choices": [{"text": str()} as choice]}:
            said = ["text"]
        case _:
            return ""
    others = [name for name in OTHERS if chunk.get(name) or choice.get(name)]
    return said[0] if len(said) == 1 and not others else ""
