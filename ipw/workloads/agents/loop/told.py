"""What a request of the loop was, for the journal: digests of its messages, and the calls that its answer asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipw.workloads.agents.asked import ASSISTANT, Asked, Message
from ipw.workloads.agents.reading.sent import read_chat
from ipw.workloads.lm.http.messages import ToolCall
from ipw.workloads.lm.http.reply import Answer


def entry(
    task: str, messages: Sequence[Mapping[str, Any]], answer: Answer, calls: Sequence[ToolCall]
) -> dict[str, Any]:
    """Make what the journal keeps under `agent` (asked.py)."""
    said = read([assistant(answer.response, calls)])[0] if answer.status == "ok" else None
    asked = Asked(
        start_ns=answer.start_ns,
        end_ns=answer.end_ns,
        ok=answer.status == "ok",
        messages=read(messages),
        said=said,
        task=task,
    )
    return asked.as_record()


def assistant(text: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
    """Make the message of an answer, as the next request repeats it."""
    listed = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    return {"role": ASSISTANT, "content": text or None, **({"tool_calls": listed} if listed else {})}


def with_ids(calls: Sequence[ToolCall], number: int) -> list[ToolCall]:
    """Give calls that the server gave no id one of their own, so that each result has its call."""
    seen: set[str] = set()
    found = []
    for place, call in enumerate(calls):
        name = call.id if call.id and call.id not in seen else f"call_{number}_{place}"
        seen.add(name)
        found.append(ToolCall(name, call.name, call.arguments))
    return found


def read(messages: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Digest messages as the gateway does, so that a task is known by its beginning whoever asked."""
    return read_chat({"messages": list(messages)}).messages
