"""Blots out of a command what may be a secret, before it is written anywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

BLOT = "[secret]"
NAME = re.compile(
    r"(?i)(^|[^a-z])(api-?key|key|token|secret|password|passwd|pwd|auth|authorization|bearer|credential)$"
)
"""How the name of an option or a variable ends whose value is one."""
SHORTEST = 8
"""Shorter values of variables stand in any text by chance."""
IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
IN_QUERY = re.compile(r"(?i)(?<=[?&])([\w.-]*(?:key|token|secret|password|passwd|pwd|auth|sig|signature))=[^&#\s]+")
IN_HEADER = re.compile(r"(?i)\b((?:bearer|basic|token)\s+|(?:x-)?api-key\s*:\s*)\S+")


def without_secrets(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Give a command to show or keep, with `[secret]` in place of what may be one.

    That is the value of an option or a variable that is named like one, user and password in a URL, what follows
    `Bearer`.
    """
    known = sorted({v for k, v in environment.items() if NAME.search(k) and len(v) >= SHORTEST}, key=len, reverse=True)
    return [_shown(word, before, known) for word, before in zip(command, ["", *command], strict=False)]


def _shown(word: str, before: str, known: Sequence[str]) -> str:
    option, equals, _ = word.partition("=")
    if equals and NAME.search(option):
        return f"{option}={BLOT}"
    if before.startswith("-") and "=" not in before and NAME.search(before) and not word.startswith("--"):
        return BLOT
    for value in known:
        word = word.replace(value, BLOT)
    return IN_HEADER.sub(rf"\1{BLOT}", IN_QUERY.sub(rf"\1={BLOT}", IN_URL.sub(BLOT, word)))
