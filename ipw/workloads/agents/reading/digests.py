"""Digests that stand for what was said, equal wherever two APIs or two programs write the same in different ways."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ipw.workloads.agents.asked import ASSISTANT, Call, Message

THINKING = ("thinking", "redacted_thinking", "reasoning")
TEXTS = ("text", "input_text", "output_text", "refusal")
NOT_SAID = {"cache_control", "annotations", "logprobs", "id", "status", "index"}
"""Entries of a part of a message that programs add, move or leave out, and that change nothing of what it says."""
HEAD = 40
"""Characters of an answer that must be the same for it to be that answer, cut or completed."""
CLOSE = "</think>"
MENTIONED = re.compile(
    r"\b(?:call|toolu|fc)_[\w-]{4,80}|\bchatcmpl-tool-\w{8,80}"
    r"|[\"']id[\"']: ?[\"']([\w-]{4,80})[\"']|\b[Cc]all id: ([\w-]{4,80})"
)
"""An id of a call in a text: some programs write calls and results as text, for models that know no other way."""
FAILED = ("error", "traceback (most recent call last)", "exception:")
"""How the result of a tool begins that failed."""


def digest(value: Any) -> str:
    """Digest a document; of equal ones it is the same whatever the order of their entries."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def arguments(given: Any) -> str:
    """Digest the arguments of a call, which some give as an object and others as its text."""
    if isinstance(given, str):
        try:
            given = json.loads(given) if given.strip() else {}
        except (ValueError, RecursionError):
            given = given.strip()
    return digest({} if given is None else given)


def message(
    role: str, content: Any, calls: Iterable[Call] = (), answers: Iterable[str] = (), failed: Iterable[str] = ()
) -> Message:
    """Make a message of its content: a text, or parts, whichever way they are written."""
    text, others = _said(content)
    if role == ASSISTANT:
        text = text.rpartition(CLOSE)[2]
    text, called, answered = text.strip(), tuple(calls), tuple(answers)
    whole = [text, others, [[call.name, call.given] for call in called], list(answered)]
    head = digest(text[:HEAD]) if text and role == ASSISTANT else ""
    mentioned = (next(filter(None, found.groups()), found[0]) for found in MENTIONED.finditer(text))
    brought = tuple(dict.fromkeys([*answered, *mentioned]))
    return Message(role, digest(whole), head, called, brought, tuple(failed))


def plain_text(content: Any) -> str:
    """Give the text of a message's content."""
    return _said(content)[0].strip()


def tells_failure(result: Any) -> bool:
    """Whether the result of a tool says that it failed: by how it begins, or as an object with an error."""
    text = plain_text(result)
    if text.lower().startswith(FAILED):
        return True
    if not text.startswith("{"):
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found.get("error") or found.get("isError") or found.get("success") is False)


def _said(content: Any) -> tuple[str, list[Any]]:
    """Part text from all else, thinking left out."""
    if isinstance(content, str):
        return content, []
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        return "", [] if content is None else [content]
    texts: list[str] = []
    others: list[Any] = []
    for part in content:
        kind = part.get("type", "") if isinstance(part, Mapping) else ""
        if isinstance(part, str):
            texts.append(part)
        elif not isinstance(part, Mapping):
            others.append(part)
        elif kind in TEXTS or (not kind and "text" in part):
            texts.append(str(part.get("text") or part.get("refusal") or ""))
        elif kind not in THINKING:
            others.append({name: value for name, value in part.items() if name not in NOT_SAID})
    return "".join(texts), others
