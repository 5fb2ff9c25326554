"""What an HTTP status says of a failed question: that the server took no look at it, or that it has no answer to it."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import Literal

Failure = Literal["transport", "answer"]
"""`transport`: no whole answer came (refused, reset, broken off, too late, turned away), so that the same question may
be answered another time. `answer`: what came is no answer, or says that there is none."""

TURNED_AWAY = frozenset({408, 425, 429, 503})
"""Statuses by which a server says that it is there and does not take this question now (RFC 9110, RFC 6585)."""


def http_failure(status: int) -> Failure:
    """Say what a response of this status, which is not 200, is a failure of."""
    return "transport" if status in TURNED_AWAY or status >= 500 else "answer"


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
