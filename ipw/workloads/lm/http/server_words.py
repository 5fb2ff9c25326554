"""What a server says where an answer was due: its own words, in whatever form it puts them.

The forms are those of vLLM, SGLang, LMDeploy and FastChat (`object`, `message`), llama.cpp, Ollama and LiteLLM
(`error`, as an object or as text), TGI (`error`, `error_type`), FastAPI (`detail`, as text or as a list), of clouds
(`fault`, `Response.Error`, `errors`, `base_resp`, an exception's name), and of gateways that put one of these, as text,
into another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

ERROR_KEYS = ("error", "errors", "error_message", "error_msg", "err_msg", "errmsg", "errormessage", "err", "error_type")
TEXT_KEYS = ("message", "msg", "detail", "status_msg", "faultstring", "description", "title", "reason")
"""In lower case, as people write them in any."""
ERROR_NAME = re.compile("error|exception|^err|^fault")
STATE_KEYS, FAILED = ("object", "type", "status"), ("error", "failed", "failure", "fail")
CODE_KEYS = ("code", "status", "status_code", "statuscode", "http_code", "http_status_code", "originalstatuscode")
FINE = ("", "0", "ok", "success", "none", "null", "false")
"""What stands beside an answer that is one."""
ALIVE = re.compile("ping|heart.?beat|keep.?alive", re.IGNORECASE)
MOST_TEXT, MOST_PAGE, MOST_NAME = 2000, 1 << 16, 200
"""Characters that are looked at, of a text, of a page and of a name."""
UNREADABLE = "an error that cannot be read"
DEEPEST = 3
"""Objects in one another that are looked into."""

Object = dict[str, Any]


def error_message(body: Any) -> str:
    """Say what an error says; where no key is known, the whole of it as it is."""
    try:
        return _words(body) or whole_text(body)
    except RecursionError:
        return UNREADABLE


def whole_text(body: Any) -> str:
    """Give all of a value as JSON, as far as that is looked at."""
    try:
        return json.dumps(body)[:MOST_TEXT]
    except (ValueError, RecursionError):
        return UNREADABLE


def tells_error(body: Object, depth: int = DEEPEST) -> bool:
    """Whether an object, beside an answer or in its place, says by itself that something failed."""
    for name, value in body.items():
        for failed in _signs(name[:MOST_NAME]):
            if failed(value):
                return True
        if depth > 1 and value.__class__ is dict and tells_error(value, depth - 1):
            return True
    return False


@lru_cache(1000)
def _signs(name: str) -> list[Callable[[Any], object]]:
    """List what to ask of a value that has this name, to know whether it tells of a failure; of most, nothing."""
    name = name.lower()
    asked: list[tuple[bool, Callable[[Any], object]]] = [
        (ERROR_NAME.search(name) is not None, _is_bad),
        (name in STATE_KEYS, lambda value: isinstance(value, str) and value.lower() in FAILED),
        (name == "success", lambda value: value is False),
        (name in CODE_KEYS, _status),
    ]
    return [failed for counts, failed in asked if counts]


def status_told(body: Any, depth: int = DEEPEST) -> int | None:
    """Find the HTTP status (400 to 599) that an error has among its words."""
    if not isinstance(body, dict):
        return None
    own = (found for name, value in _named(body) if name in CODE_KEYS and (found := _status(value)))
    inner = (found for value in body.values() if depth > 1 and (found := status_told(value, depth - 1)))
    return next(own, None) or next(inner, None)


def complaint(body: Object) -> str | None:
    """What an object that is no part of an answer has to say, where it has a key for that, and says more than `ok`."""
    named = dict(_named(body))
    texts = {name: named[name] for name in TEXT_KEYS if name in named}
    coded = [
        value for value in body.values() if isinstance(value, dict) and {*CODE_KEYS} & {n for n, _ in _named(value)}
    ]
    if not (texts or coded) or ALIVE.search(str(named.get("type", ""))):
        return None
    try:
        for each in (texts, *coded):
            if (said := _words(each)) and said.lower() not in FINE:
                return said
    except RecursionError:
        pass
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
    text = text[:MOST_PAGE]
    if re.match(r"<(!doctype|!--|\?xml|html|head|body)\b", text, re.IGNORECASE):
        title = re.search(r"<(title|h1)\b[^>]*>([^<]+)<", text, re.IGNORECASE)
        text = re.sub(r"<(style|script)\b.*?(</\1>|\Z)", " ", text, flags=re.IGNORECASE | re.DOTALL)
        return "a page of HTML: " + (title[2] if title else re.sub(r"<[^>]*>|\s+", " ", text)[:MOST_TEXT]).strip()
    return text[:MOST_TEXT]


def _words(value: Any) -> str | None:
    """What a value says; `None` where it has nothing that is meant to be read."""
    if isinstance(value, str):
        return _unwrapped(value) if value.lstrip()[:1] == "{" else value.strip() or None
    if isinstance(value, list):
        return "; ".join(said for each in value if (said := _words(each))) or None
    if not isinstance(value, dict):
        return None
    named = dict(_named(value))
    for key in (*ERROR_KEYS, *TEXT_KEYS):
        if key in named and (said := _words(named[key])):
            return f"{_place(value['loc'])}: {said}" if isinstance(value.get("loc"), list) else said
    return next((said for each in value.values() if isinstance(each, dict) and (said := _words(each))), None)


def _named(body: Object) -> list[tuple[str, Any]]:
    return [(str(key).lower(), value) for key, value in body.items()]


def _is_bad(value: Any) -> bool:
    """Whether what stands under an error's name tells one; some send an empty one with every chunk."""
    if isinstance(value, dict):
        return any(map(_is_bad, value.values()))
    return str(value).lower() not in FINE if isinstance(value, str) else bool(value)


def _status(value: Any) -> int | None:
    """A status of HTTP that tells a failure, if that is what it is."""
    number = int(value) if isinstance(value, str) and re.fullmatch("[45][0-9]{2}", value) else value
    return number if type(number) is int and 400 <= number < 600 else None


def _unwrapped(text: str) -> str:
    """An error that a gateway has put into another as text."""
    try:
        return _words(json.loads(text)) or text
    except ValueError:
        return text


def _place(loc: list[Any]) -> str:
    """Where in the request FastAPI saw what it refuses."""
    return ".".join(str(part) for part in loc)
