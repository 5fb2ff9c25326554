"""`with ipw.task("name"):` says which task the requests inside belong to, to the gateway that they go through."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, urlsplit

from ipw.api import given
from ipw.errors import UsageError
from ipw.variables import GATEWAY_URL, TASK_HEADER

CURRENT: ContextVar[str | None] = ContextVar("ipw_task", default=None)
HTTPX = ("Client", "AsyncClient")
PATCHED = "_ipw_names_tasks"


@contextmanager
def task(name: str) -> Iterator[dict[str, str]]:
    """Name the task of all that is asked inside, by this thread or asynchronous task and by those that it starts.

    Requests of httpx (which the clients of OpenAI, Anthropic and Ollama use), requests and aiohttp get the header that
    the gateway reads; the block's value is that header, for clients of other kinds. Outside of `ipw gateway` nothing
    is changed. Raises UsageError where the name is no text, or empty.
    """
    given.text(name, "the name of a task", 'ipw.task("sum-17")')
    if not name.strip():
        raise UsageError("a task without a name", 'ipw.task("sum-17")')
    if os.environ.get(GATEWAY_URL):
        _teach()
    token = CURRENT.set(name)
    try:
        yield {TASK_HEADER: _value(name)}
    finally:
        CURRENT.reset(token)


def _header(url: object) -> str | None:
    """Give the header's value for a request to `url`; `None` where it does not go to the gateway."""
    name, gateway = CURRENT.get(), os.environ.get(GATEWAY_URL)
    if name is None or not gateway or urlsplit(str(url)).netloc != urlsplit(gateway).netloc:
        return None
    return _value(name)


def _value(name: str) -> str:
    return quote(name, safe=" ", errors="replace")  # a name may hold what no text can be encoded with


def _teach() -> None:
    """Let the HTTP libraries that this program has loaded name the task."""
    for module, names in (("httpx", HTTPX), ("httpx2", HTTPX), ("requests", ("Session",))):
        for name in names:
            kind = getattr(sys.modules.get(module), name, None)
            if kind is not None:
                _wrap(kind, "send", _with_header)
    session = getattr(sys.modules.get("aiohttp"), "ClientSession", None)
    if session is not None:
        _wrap(session, "_request", _with_headers)


def _wrap(kind: Any, method: str, around: Callable[[Any], Any]) -> None:
    known = getattr(kind, method, None)
    if known is not None and not hasattr(known, PATCHED):
        wrapped = functools.wraps(known)(around(known))
        setattr(wrapped, PATCHED, True)
        setattr(kind, method, wrapped)


def _with_header(send: Any) -> Any:
    def named(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if (value := _header(request.url)) is not None and TASK_HEADER not in request.headers:
            request.headers[TASK_HEADER] = value
        return send(self, request, *args, **kwargs)

    return named


def _with_headers(send: Any) -> Any:
    def named(self: Any, method: str, url: Any, **kwargs: Any) -> Any:
        if (value := _header(url)) is not None:
            from multidict import CIMultiDict  # aiohttp's own: a header may stand there several times

            kwargs["headers"] = CIMultiDict(kwargs.get("headers") or {})
            kwargs["headers"].setdefault(TASK_HEADER, value)
        return send(self, method, url, **kwargs)

    return named
