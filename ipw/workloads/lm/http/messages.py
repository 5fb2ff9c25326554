"""What a message, or a piece of one, says: text and refusals, thinking, and calls of tools."""

from __future__ import annotations

from typing import Any

THINKING = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "thinking_blocks", "reasoning_details")
"""Of these one is read: some servers send the same text under two names."""
THINKING_PARTS = ("thinking", "reasoning", "thought")
"""What the `type` of a part of a message starts with, where it is no answer yet (Mistral, Anthropic, OpenRouter)."""
PART_TEXTS = ("text", "thinking", "reasoning", "reasoning_content", "refusal", "summary", "content", "value")


def read_message(message: dict[str, Any], content: list[str], reasoning: list[str], calls: set[int]) -> bool:
    """Append what a message says to `content` and `reasoning`, and the numbers of its calls; whether it says anything.

    A refusal is what the user gets to read: it goes to `content`.
    """
    texts = len(content) + len(reasoning)
    _read(message.get("content"), content, reasoning)
    _read(message.get("refusal"), content, reasoning)
    for name in THINKING:
        if thought := message.get(name):
            _read(thought, reasoning, reasoning)
            break
    called = _calls(message)
    calls.update(called)
    return bool(called) or len(content) + len(reasoning) > texts


def _read(value: Any, into: list[str], reasoning: list[str]) -> None:
    """Read text, a number, a part of a message, or a list of parts; those that think as thinking."""
    if isinstance(value, str):
        into.extend([value] if value else [])
    elif isinstance(value, int | float) and not isinstance(value, bool):
        into.append(str(value))
    elif isinstance(value, list):
        for part in value:
            _read(part, into, reasoning)
    elif isinstance(value, dict):
        into = reasoning if str(value.get("type", "")).startswith(THINKING_PARTS) else into
        _read(next((value[name] for name in PART_TEXTS if value.get(name)), None), into, reasoning)


def _calls(message: dict[str, Any]) -> list[int]:
    """The numbers of the calls of tools; a streamed call comes in pieces with the same number."""
    listed = message.get("tool_calls")
    if not isinstance(listed, list):
        return [0] if isinstance(message.get("function_call"), dict) and message["function_call"] else []
    numbers = [(call.get("index"), place) for place, call in enumerate(listed) if isinstance(call, dict)]
    return [index if isinstance(index, int) else place for index, place in numbers]
