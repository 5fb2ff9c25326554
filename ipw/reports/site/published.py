"""What of a run may be seen by all: where files lie on the machine that measured stays there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ipw.reports.names import without_path

OF_SYSTEMS = "sys|proc|dev|usr|etc|bin|sbin|lib|lib64|opt|run"
"""Folders that every machine has: a hint may name what is in them."""
PATH = re.compile(rf"(?<![\w./:~-])(?:/(?!(?:{OF_SYSTEMS})/)[^\s/,;'\"=]+/|~/|[A-Za-z]:\\|\\\\|file://)[^\s,;'\"=]*")
"""An absolute path of two parts at least, alone or within a command."""


def published(told: Any) -> Any:
    """Give a manifest, a summary or any part of one with the last part of each path in place of the path."""
    if isinstance(told, str):
        return PATH.sub(lambda found: without_path(found[0]), told)
    if isinstance(told, Mapping):
        return {name: published(value) for name, value in told.items()}
    return [published(value) for value in told] if isinstance(told, list | tuple) else told
