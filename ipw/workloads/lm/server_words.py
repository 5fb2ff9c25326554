"""What a server says where an answer was due: its own words, in whatever form it puts them.

The forms are those of vLLM, SGLang, LMDeploy and FastChat (`object`, `message`), llama.cpp, Ollama and LiteLLM
(`error`, as an object or as text), TGI (`error`, `error_type`), FastAPI (`detail`, as text or as a list), and of
gateways that put one of these, as text, into another.
"""

from __future__ import annotations

import json
import re
from typing import Any

ERROR_KEYS = ("error", "errors", "error_message", "error_msg", "err_msg", "errorMessage", "error_type")
TEXT_KEYS = ("message", "msg", "detail", "status_msg", "description", "title", "reason")
MOST_TEXT = 2000
"""Characters that are looked at."""

Object = dict[str, Any]


def error_message(body: Any) -> str:
    """Say what an error says; where no key is known, the whole of it as it is."""
    try:
        return _words(body) or json.dumps(body)[:MOST_TEXT]
    except (ValueError, RecursionError):
        return "an error that cannot be read"


def tells_error(body: Object) -> bool:
    """Whether an object, beside an answer or in its place, says by itself that something failed."""
    if any(body.get(key) for key in ERROR_KEYS):
        return True
    return any(isinstance(body.get(key), str) and body[key].lower() == "error" for key in ("object", "type", "status"))


def complaint(body: Object) -> str | None:
    """What an object that is no part of an answer has to say, where it has a key for that."""
    try:
        return _words({key: value for key, value in body.items() if key in TEXT_KEYS})
    except RecursionError:
        return None


def plain_words(text: str) -> str:
    """Say what a text, a page, a JSON document or an event says that came where an answer was due."""
    text = text.strip()
    data = re.search(r"^data: *(.+)$", text, re.MULTILINE)
    for document in (text, data[1] if data else ""):
        try:
            return error_message(json.loads(document))
        except (ValueError, RecursionError):
            continue
    text = text[:MOST_TEXT]
    if re.match(r"<(!doctype|!--|\?xml|html|head|body)\b", text, re.IGNORECASE):
        title = re.search(r"<(title|h1)\b[^>]*>([^<]+)<", text, re.IGNORECASE)
        return "a page of HTML: " + (title[2] if title else re.sub(r"<[^>]*>|\s+", " ", text)).strip()
    return text


def _words(value: Any) -> str | None:
    """What a value says; `None` where it has nothing that is meant to be read."""
    if isinstance(value, str):
        return _unwrapped(value) if value.lstrip()[:1] == "{" else value.strip() or None
    if isinstance(value, list):
        return "; ".join(said for each in value if (said := _words(each))) or None
    if not isinstance(value, dict):
        return None
    for key in (*ERROR_KEYS, *TEXT_KEYS):
        if said := _words(value.get(key)):
            return f"{_place(value['loc'])}: {said}" if isinstance(value.get("loc"), list) else said
    return None


def _unwrapped(text: str) -> str:
    """An error that a gateway has put into another as text."""
    try:
        return _words(json.loads(text)) or text
    except ValueError:
        return text


def _place(loc: list[Any]) -> str:
    """Where in the request FastAPI saw what it refuses."""
    return ".".join(str(part) for part in loc)
