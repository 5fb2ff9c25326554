"""What a message, or a piece of one, says: text and refusals, thinking, and calls of tools."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

THINKING = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "thinking_blocks", "reasoning_details")
"""Of these one is read: some servers send the same text under two names."""
THINKING_PARTS = ("thinking", "reasoning", "thought")
"""What the `type` of a part of a message starts with, where it is no answer yet (Mistral, Anthropic, OpenRouter)."""
PART_TEXTS = ("text", "thinking", "reasoning", "reasoning_content", "refusal", "summary", "content", "value")


@dataclass(slots=True)
class ToolCall:
    """A call of a tool, as far as it has come."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    """As the model wrote them: JSON, or what should be."""


def read_message(message: dict[str, Any], content: list[str], reasoning: list[str], calls: dict[int, ToolCall]) -> bool:
    """Append what a message says to `content` and `reasoning`, and to its `calls` by number; whether it says anything.

    A refusal is what the user gets to read: it goes to `content`. A streamed call comes in pieces with the same number.
    """
    texts = len(content) + len(reasoning)
    _read(message.get("content"), content, reasoning)
    _read(message.get("refusal"), content, reasoning)
    for name in THINKING:
        if thought := message.get(name):
            _read(thought, reasoning, reasoning)
            break
    called = _calls(message)
    for number, piece in called:
        _join(calls.setdefault(number, ToolCall()), piece)
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


def _calls(message: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """List the pieces of calls of tools by their numbers."""
    listed = message.get("tool_calls")
    if not isinstance(listed, list):
        old = message.get("function_call")
        return [(0, {"function": old})] if isinstance(old, dict) and old else []
    pieces = [(call.get("index"), place, call) for place, call in enumerate(listed) if isinstance(call, dict)]
    return [(index if isinstance(index, int) else place, call) for index, place, call in pieces]


def _join(call: ToolCall, piece: dict[str, Any]) -> None:
    """Take one more piece: some servers repeat id and name in each, some send the arguments as an object."""
    function = piece.get("function")
    told = function if isinstance(function, dict) else {}
    identity, name, arguments = piece.get("id"), told.get("name"), told.get("arguments")
    call.id = identity if isinstance(identity, str) and identity else call.id
    if isinstance(name, str) and name != call.name:
        call.name += name
    if isinstance(arguments, str):
        call.arguments += arguments
    elif isinstance(arguments, dict):
        call.arguments = json.dumps(arguments)
