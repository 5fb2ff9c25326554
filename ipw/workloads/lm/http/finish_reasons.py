"""Why a server ended its answer, in its words: whether that explains an answer without text, or tells a failure."""

from __future__ import annotations

import re
from typing import Any

from ipw.workloads.lm.http.server_words import complaint

EXPLAINS = frozenset((
    "stop", "stop_sequence", "stop_token", "eos", "eos_token", "end", "end_turn", "complete", "completed", "done",
    "finished", "length", "max_length", "max_tokens", "max_output_tokens", "model_length",
    "model_context_window_exceeded", "content_filter", "sensitive", "safety", "recitation", "blocklist",
    "prohibited_content", "spii", "refusal",
))  # fmt: skip
"""For these there may be nothing to read, in lower case: OpenAI's, and those of others. A call that a tool shall be
called with (`tool_calls`) is none of them: the call itself is what there is to read."""
FAILS = re.compile(
    "error|abort|cancel|fail|time(d[_ -]?)?out|insufficient|unavailable|overload|interrupt|exception|disconn|shutdown"
    "|not[_ -]?finished|unfinished|incomplete"
)
"""vLLM's and SGLang's `abort`, OpenRouter's and LMDeploy's `error`, DeepSeek's `insufficient_system_resource`, Z.ai's
`network_error`, TensorRT-LLM's `cancelled` and `not_finished`, …"""
NONE = ("", "null", "none")
"""Some servers say so with every chunk."""


def read_reason(told: Any) -> str | None:
    """Read a `finish_reason`: a word, or SGLang's object; `None` while there is none."""
    word = told.get("type") if isinstance(told, dict) else told
    return word if isinstance(word, str) and word.lower() not in NONE else None


def explains(reason: str | None) -> bool:
    """Whether an answer that ended for this reason may have nothing in it."""
    return reason is not None and reason.lower() in EXPLAINS


def failure(told: Any) -> str | None:
    """What went wrong, where a `finish_reason` tells a failure."""
    reason = read_reason(told)
    if reason is None or not FAILS.search(reason.lower()):
        return None
    words = complaint(told) if isinstance(told, dict) else None
    return words or f"the server ended its answer with the reason {reason!r}"
