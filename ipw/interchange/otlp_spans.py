"""Spans of OpenTelemetry as OTLP's JSON has them: identities in hexadecimal, moments and whole numbers as texts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from ipw.printable import clean

INTERNAL, CLIENT, FAILED = 1, 3, 2


def span_of(
    trace: str, span: str, parent: str | None, name: str, kind: int, moments: tuple[int, int],
    told: Mapping[str, Any], error: str | None = None, link: tuple[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Make one span from `moments` on the wall clock; `link` is the trace and the span of what it belongs to."""
    start, end = moments
    found: dict[str, Any] = {
        "traceId": trace, "spanId": span, "name": name, "kind": kind, "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end), "attributes": attributes(told),
        "status": {} if error is None else {"code": FAILED, "message": error},
    }  # fmt: skip
    if link is not None:
        found["links"] = [{"traceId": link[0], "spanId": link[1]}]
    return found if parent is None else found | {"parentSpanId": parent}


def identity(text: str, size: int) -> str:
    """Make an identity that the same run has again."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[: 2 * size]


def attributes(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Make the list of attributes; what is not known is left out."""
    return [{"key": key, "value": _value(value)} for key, value in told.items() if _told(value)]


def _told(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": clean(value)}
