"""What a request sends, by API: its messages, the model that it asks, and the answer that it says it continues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ipw.workloads.agents.asked import ASSISTANT, SYSTEM, TOOL, Call, Message, clean_name
from ipw.workloads.agents.reading.digests import arguments, digest, message, plain_text, tells_failure

Body = Mapping[str, Any]
PROMPT = "prompt"
OUTPUT = "_output"
JSON_KINDS = {"json_object", "json_schema", "object", "array"}
"""Types of what is asked for: of OpenAI's and Anthropic's formats, and of a schema, which Ollama takes as it is."""
JSON_SCHEMAS = ("json_schema", "guided_json")
"""What llama.cpp's server and vLLM call a schema beside those."""


class Sent(NamedTuple):
    """What is known of a request by its body."""

    messages: tuple[Message, ...] = ()
    model: str | None = None
    previous_id: str | None = None
    session: str | None = None
    text: str = ""
    """Of the first message that is no instruction: with it a task is known by name."""
    json: bool = False
    """Whether an answer is asked for that is a JSON document."""


def read_chat(body: Body) -> Sent:
    """Read a request of chat completions, or of Ollama's /api/chat."""
    listed = [each for each in _list(body.get("messages")) if isinstance(each, dict)]
    found = tuple(_chat_message(each) for each in listed)
    return Sent(found, clean_name(body.get("model")), text=_first(listed))


def _chat_message(one: Body) -> Message:
    role, content = str(one.get("role", "")), one.get("content")
    if role in {TOOL, "function"}:
        ids = [clean_name(one.get("tool_call_id"))] if one.get("tool_call_id") else []
        known = [each for each in ids if each]
        return message(TOOL, content, answers=known, failed=known if tells_failure(content) else ())
    return message(role, content, chat_calls(one))


def chat_calls(one: Body) -> list[Call]:
    """Read the calls of tools of an assistant's message."""
    listed = one.get("tool_calls")
    if not isinstance(listed, list):
        listed = [{"function": one["function_call"]}] if isinstance(one.get("function_call"), dict) else []
    found = []
    for each in listed:
        if isinstance(each, dict):
            kind = each.get("function") or each.get("custom") or each
            kind = kind if isinstance(kind, dict) else {}
            given = kind.get("arguments", kind.get("input"))
            found.append(Call(clean_name(each.get("id")) or "", clean_name(kind.get("name")) or "", arguments(given)))
    return found


def read_anthropic(body: Body) -> Sent:
    """Read a request of Anthropic's messages."""
    listed = [each for each in _list(body.get("messages")) if isinstance(each, dict)]
    system = [message("system", body["system"])] if body.get("system") else []
    found = (*system, *(anthropic_message(str(one.get("role", "")), one.get("content")) for one in listed))
    return Sent(found, clean_name(body.get("model")), text=_first(listed))


def anthropic_message(role: str, content: Any) -> Message:
    """Read a message whose parts may be calls of tools, or their results."""
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    calls = [
        Call(clean_name(part.get("id")) or "", clean_name(part.get("name")) or "", arguments(part.get("input")))
        for part in parts
        if part.get("type") == "tool_use"
    ]
    results = [part for part in parts if part.get("type") == "tool_result"]
    failed = [part for part in results if part.get("is_error") or tells_failure(part.get("content"))]
    rest = [part for part in parts if part.get("type") not in {"tool_use", "tool_result"}] if parts else content
    told = [[part.get("tool_use_id"), plain_text(part.get("content"))] for part in results]
    rest = [*rest, {"results": told}] if told and isinstance(rest, list) else rest
    ids = [[clean_name(part.get("tool_use_id")) or "" for part in some] for some in (results, failed)]
    return message(role, rest, calls, *ids)


def read_responses(body: Body) -> Sent:
    """Read a request of OpenAI's responses."""
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else _list(given)
    items = [each for each in items if isinstance(each, dict)]
    system = [message("system", body["instructions"])] if body.get("instructions") else []
    session = body.get("conversation")
    session = session.get("id") if isinstance(session, dict) else session
    return Sent(
        (*system, *items_as_messages(items)),
        clean_name(body.get("model")),
        clean_name(body.get("previous_response_id")),
        digest(session) if session else None,
        _first(items),
    )


def items_as_messages(items: Iterable[Body]) -> list[Message]:
    """Make messages of items; what the model says in a row, text and calls of tools, is one."""
    found: list[Message] = []
    texts: list[Any] = []
    calls: list[Call] = []

    def close() -> None:
        if texts or calls:
            found.append(message(ASSISTANT, list(texts), list(calls)))
        texts.clear()
        calls.clear()

    for item in items:
        kind = str(item.get("type", "message"))
        if kind == "message" and item.get("role") == ASSISTANT:
            content = item.get("content")
            texts.extend(content if isinstance(content, list) else [content or ""])
        elif kind == "message":
            close()
            found.append(message(str(item.get("role", "")), item.get("content")))
        elif kind.endswith(OUTPUT):
            close()
            known = [each for each in [clean_name(item.get("call_id"))] if each]
            result = item.get("output")
            found.append(message(TOOL, result, answers=known, failed=known if tells_failure(result) else ()))
        elif call := item_call(item):
            calls.append(call)
    close()
    return found


def item_call(item: Body) -> Call | None:
    """Read an item that calls a tool of the program's; those that the server runs itself have no `call_id`."""
    kind = str(item.get("type", ""))
    if not kind.endswith("_call") or not item.get("call_id"):
        return None
    given = item.get("arguments", item.get("input", item.get("action")))
    return Call(clean_name(item["call_id"]) or "", clean_name(item.get("name")) or kind, arguments(given))


def read_prompt(body: Body) -> Sent:
    """Read a request of plain completions, or of Ollama's /api/generate."""
    prompt = body.get("prompt")
    text = prompt if isinstance(prompt, str) else ""
    found = (message("system", body["system"]),) if isinstance(body.get("system"), str) and body["system"] else ()
    return Sent((*found, message(PROMPT, prompt)), clean_name(body.get("model")), text=text.strip())


def read_input(body: Body) -> Sent:
    """Read a request for embeddings: nothing of it continues another."""
    return Sent(model=clean_name(body.get("model")))


def asks_for_json(body: Body) -> bool:
    """Whether a request, of any of the APIs, wants a JSON document for an answer."""
    text, output = body.get("text"), body.get("output_config")
    told = [body.get("response_format"), body.get("format"), body.get("output_format")]
    told += [one.get("format") for one in (text, output) if isinstance(one, dict)]
    if any(each == "json" or (isinstance(each, dict) and each.get("type", "object") in JSON_KINDS) for each in told):
        return True
    return any(body.get(name) for name in JSON_SCHEMAS)


Reader = Callable[[Body], Sent]


def _first(listed: Iterable[Body]) -> str:
    return next((plain_text(one.get("content")) for one in listed if one.get("role") not in SYSTEM), "")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
