"""How a program says which task a request belongs to: a header, a part of the URL, a file, or the task's own words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from ipw.errors import UsageError
from ipw.variables import TASK_HEADER
from ipw.workloads.agents.asked import NAME, clean_name
from ipw.workloads.agents.gateway.heads import ByName, value_of
from ipw.workloads.agents.reading.digests import digest
from ipw.workloads.texts.files import READERS, json_rows

IN_PATH = re.compile(r"/t/([^/?#]{1,600})(/[^?#]*|(?=[?#]|$))")
TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, `traceparent`."""
HINT = "JSON lines, CSV or Parquet with the columns task and prompt"
SESSIONS = (b"x-ipw-conversation", b"x-session-id", b"session_id", b"session-id", b"conversation_id")


def task_in_path(target: str) -> tuple[str | None, str]:
    """Take `/t/NAME` off the front of a request's target: the name, and the target without it."""
    found = IN_PATH.match(target)
    if found is None:
        return None, target
    return clean_name(unquote(found[1])), (found[2] or "/") + target[found.end() :]


def task_in_header(headers: ByName) -> str | None:
    """Give the name that `x-ipw-task` tells."""
    told = value_of(headers, TASK_HEADER.encode())
    return clean_name(unquote(told)) if told else None


def trace_of(headers: ByName) -> str | None:
    """Give a digest of the trace that a request is part of."""
    told = value_of(headers, b"traceparent")
    found = TRACE.fullmatch(told.lower()) if told else None
    return digest(found[1]) if found and found[1].strip("0") else None


def session_of(headers: ByName) -> str | None:
    """Give a digest of the session that a header names."""
    told = next((value for name in SESSIONS if (value := value_of(headers, name))), None)
    return digest(told) if told else None


class TaskFile:
    """A file that holds the name of the task that goes on: whoever writes it names the requests that begin after."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._name: str | None = None

    def name(self) -> str | None:
        """Give what it says now: its first line; `None` where it is empty or gone."""
        try:
            found = self._path.stat()
            seen = found.st_mtime_ns, found.st_size
            if seen != self._seen:
                with self._path.open(encoding="utf-8", errors="replace") as file:
                    self._name = clean_name(file.read(4 * NAME).partition("\n")[0])
                self._seen = seen
        except OSError:
            self._name = self._seen = None
        return self._name


def tasks_by_words(path: Path) -> dict[str, str]:
    """Read a file of tasks, in any form of a data set, with `task` and `prompt`. Returns names by the first message.

    Raises UsageError where it cannot be read.
    """
    found = {}
    read = READERS.get(path.suffix.lower(), json_rows)
    try:
        for _, row in read(path, ("task", "prompt")):
            name, words = clean_name(row.get("task")), row.get("prompt")
            if name and isinstance(words, str) and words.strip():
                found[words.strip()] = name
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", HINT) from None
    if not found:
        raise UsageError(f"{path} names no task", HINT)
    return found


def named_by_words(text: str, known: Mapping[str, str]) -> str | None:
    """Give the task whose words are the first message's, or else the only one whose words are in it."""
    if text in known:
        return known[text]
    within = {name for words, name in known.items() if words in text}
    return within.pop() if len(within) == 1 else None
