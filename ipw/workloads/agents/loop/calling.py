"""Answers a call of a tool: checks what the model gives, runs what the user declared, and says what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ipw.clock import now_ns
from ipw.workloads.agents.loop.arguments import ArgumentsError, read_arguments
from ipw.workloads.agents.loop.declared import PLACE, Tool
from ipw.workloads.agents.loop.running import run_child

MOST_CHARACTERS = 1 << 14
"""Of a result, that the model is told."""


class Result(NamedTuple):
    """What came of a call."""

    text: str
    """As the model is told."""
    failed: bool
    start_ns: int
    end_ns: int


async def answer(tools: Mapping[str, Tool], name: str, arguments: str) -> Result:
    """Run the tool that a model calls. Never raises for what a model asks or a tool does: the result tells."""
    start_ns = now_ns()
    text, failed = await _answer(tools, name, arguments)
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]}\n… cut after {MOST_CHARACTERS} characters"
    return Result(f"Error: {text}" if failed else text, failed, start_ns, now_ns())


async def _answer(tools: Mapping[str, Tool], name: str, arguments: str) -> tuple[str, bool]:
    tool = tools.get(name)
    if tool is None:
        return f"there is no tool {name[:64]!r}; there are {', '.join(tools) or 'none'}", True
    try:
        given = read_arguments(arguments, tool.parameters)
        task = _task(tool, given)
    except ArgumentsError as error:
        return str(error), True
    ran = await run_child(task, tool.timeout_s, tool.keys)
    if ran.code is None:
        return f"{name} took longer than {tool.timeout_s:g} s", True
    said = ran.said.decode(errors="replace")
    if tool.function is None:
        words = said if not ran.code else said + ran.errors.decode(errors="replace")
        return words.strip() or f"exit code {ran.code}", ran.code != 0
    try:
        told = json.loads(said)
    except ValueError:
        return f"{name} ended with exit code {ran.code} and no result", True
    if "error" in told:
        return str(told["error"]), True
    result = told.get("result")
    return result if isinstance(result, str) else json.dumps(result), False


def _task(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a child shall do. Raises ArgumentsError."""
    if tool.function is not None:
        return {"function": tool.function, "arguments": given}

    def filled(word: str) -> str:
        text = PLACE.sub(lambda place: _text(given[place[1]]), word)
        first = PLACE.match(word)
        if first and isinstance(given[first[1]], str) and text.startswith("-"):
            raise ArgumentsError("an argument must not begin with -, which the command would take for an option")
        return text

    return {"command": [filled(word) for word in tool.command], "input": json.dumps(given)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
