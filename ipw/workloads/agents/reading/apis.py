"""Which API a request speaks, by its path."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ipw.workloads.agents.reading.said import (
    AnthropicStream,
    EmbeddingStream,
    OllamaStream,
    ResponsesStream,
    ToolStream,
)
from ipw.workloads.agents.reading.sent import (
    Reader,
    read_anthropic,
    read_chat,
    read_input,
    read_prompt,
    read_responses,
)


class Api(NamedTuple):
    """How requests and answers of one API are read."""

    name: str
    sent: Reader
    said: Callable[[], ToolStream]
    tells: bool = True
    """Whether the answer is words."""


APIS = {
    "/chat/completions": Api("chat", read_chat, ToolStream),
    "/completions": Api("completions", read_prompt, ToolStream),
    "/responses": Api("responses", read_responses, ResponsesStream),
    "/messages": Api("anthropic", read_anthropic, AnthropicStream),
    "/embeddings": Api("embeddings", read_input, EmbeddingStream, tells=False),
    "/api/chat": Api("ollama", read_chat, OllamaStream),
    "/api/generate": Api("ollama", read_prompt, OllamaStream),
    "/api/embed": Api("embeddings", read_input, EmbeddingStream, tells=False),
    "/api/embeddings": Api("embeddings", read_input, EmbeddingStream, tells=False),
}
"""By the end of the path, the longest first that fits."""
ENDS = sorted(APIS, key=len, reverse=True)


def api_of(method: str, target: str) -> Api | None:
    """Tell the API of a request; `None` for what is only passed on and timed."""
    path = target.partition("?")[0].rstrip("/")
    if method != "POST":
        return None
    return next((APIS[end] for end in ENDS if path.endswith(end)), None)
