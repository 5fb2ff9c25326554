"""What a failed question is a failure of: the way to the server, the server, or the question's answer."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import Literal

Failure = Literal["transport", "server", "answer", "client"]
"""`transport`: no whole answer came (refused, reset, broken off, too late, turned away), so that the same question may
be answered another time. `server`: so it may, since the server has said in its answer that it failed by itself.
`answer`: what came is no answer, or says that there is none. `client`: the process of ours that asked has died."""

TURNED_AWAY = frozenset({408, 425, 429, 503})
"""Statuses by which a server says that it is there and does not take this question now (RFC 9110, RFC 6585)."""
BY_ITSELF = re.compile(
    r"server.?error|internal|overload|unavailable|rate.?limit|too many|time.?out|timed|cancel|abort|interrupt|crash"
    r"|disconnect|connection|shut.?down|engine|busy|capacity",
    re.IGNORECASE,
)
"""Words of a server that failed, in its message or its type of error, where it tells no status."""


def http_failure(status: int) -> Failure:
    """Say what a response of this status, which is not 200, is a failure of."""
    return "transport" if status in TURNED_AWAY or status >= 500 else "answer"


def told_failure(status: int | None, words: str) -> Failure:
    """Say what an error is a failure of that came after `200 OK`, by the status that it tells, or its words."""
    by_itself = BY_ITSELF.search(words) if status is None else http_failure(status) == "transport"
    return "server" if by_itself else "answer"


def retry_after_s(value: str | None) -> float | None:
    """Read a `Retry-After` header, seconds or a date (RFC 9110, section 10.2.3); `None` where it says nothing."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None
