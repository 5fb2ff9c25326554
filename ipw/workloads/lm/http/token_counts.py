"""A server's own count of tokens, and whether it can be one."""

from __future__ import annotations

import re
from typing import Any

from ipw.shapes import finite

MOST_TOKENS = 1 << 40
MOST_CHUNKS_A_TOKEN = 8
"""A proxy may send the letters of a token one by one. Where even more chunks came, other tokens were counted: those of
the last chunk, or those without the thinking."""
TIMINGS = ("prompt_n", "prompt_ms", "predicted_n", "predicted_ms", "cache_n", "draft_n", "draft_n_accepted")
"""Of llama.cpp's server, at the end of an answer."""
SPARE_TOKENS = 16
"""Tokens of an answer that have no text: those that open and end a message."""


class TokenCounts:
    """What `usage` and llama.cpp's `timings` have told. What they have not is `None`."""

    def __init__(self) -> None:
        self.prompt: int | None = None
        self.completion: int | None = None
        self.cached: int | None = None
        self.timings: dict[str, float] | None = None
        """As told last, of those that are known: tokens (`_n`) and milliseconds."""
        self._nonsense: str | None = None

    def take(self, usage: Any, timings: Any) -> None:
        """Take the counts of one chunk. Where all chunks tell them they grow; a prompt has at least one token."""
        if isinstance(usage, dict):
            told = usage.get("completion_tokens", usage.get("output_tokens"))
            count = _count(told)
            if count is not None:
                self.completion = max(count, self.completion or 0)
            elif told is not None:
                self._nonsense = str(told)[:20] if type(told) in (int, float) else "no number of"
            self.prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens"))) or self.prompt
            details = usage.get("prompt_tokens_details")
            self.cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
        if isinstance(timings, dict):
            found = {name: value for name in TIMINGS if (value := finite(timings.get(name))) is not None}
            self.timings = found or self.timings
            if self.cached is None:
                self.cached = _count(timings.get("cache_n"))

    def believed(self, chunks: int, *, said: bool) -> bool:
        """Whether the count can be one, of an answer of so many chunks that `said` something."""
        told = self.completion
        return told is not None and told * MOST_CHUNKS_A_TOKEN >= chunks and (told > 0 or not said)

    def doubt(self, chunks: int, text: str, *, calls: int) -> str | None:
        """Say what speaks against the count, be it believed or not; `None` if nothing does.

        `chunks` is the number of those with text, thinking or a call (0: not streamed), `text` all text and thinking.
        Many tokens a chunk are usual: servers gather them, and so do proxies. But each has a byte of text.
        """
        told = self.completion
        if told is None:
            return f"usage tells {self._nonsense} tokens" if self._nonsense else None
        if told == 0 and (text or calls):
            return "usage tells 0 tokens of an answer with text"
        if told < chunks / 2:
            return f"usage tells {told} tokens of an answer in {chunks} chunks"
        if told > max(chunks, len(text)) + SPARE_TOKENS and not calls:
            size = len(text.encode(errors="replace"))
            return f"usage tells {told} tokens of an answer of {size} bytes" if told > size + SPARE_TOKENS else None
        return self._against_timings(told)

    def _against_timings(self, told: int) -> str | None:
        """Hold usage against llama.cpp's timings, which its server counts elsewhere."""
        timings = self.timings or {}
        predicted, processed, cached = (timings.get(name) for name in ("predicted_n", "prompt_n", "cache_n"))
        if predicted is not None and abs(predicted - told) > 1:
            return f"usage tells {told} tokens, and timings {predicted:g}"
        if None in (processed, cached) or self.prompt is None:
            return None
        prompt = (processed or 0) + (cached or 0)
        return f"usage tells a prompt of {self.prompt} tokens, timings {prompt:g}" if prompt != self.prompt else None


def _count(value: Any) -> int | None:
    """A count of tokens, if that is what it is; gateways between others and JSON write 3 as 3.0 or as "3"."""
    if (type(value) is float and value.is_integer()) or (type(value) is str and re.fullmatch("[0-9]{1,15}", value)):
        value = int(value)
    return value if type(value) is int and 0 <= value < MOST_TOKENS else None
