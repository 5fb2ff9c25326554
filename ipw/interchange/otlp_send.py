"""Sends traces to a collector of OpenTelemetry over HTTP, as JSON (OTLP/HTTP): `POST …/v1/traces`."""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ipw.errors import IpwError, UsageError
from ipw.printable import clean
from ipw.secrets_out import keep_out

HEADERS_VARIABLE = "OTEL_EXPORTER_OTLP_HEADERS"
PATH = "/v1/traces"
AT_ONCE = 500
"""Spans of one request: about half a megabyte."""
TIMEOUT_S = 10.0
MOST_BYTES = 1 << 20
"""Of an answer."""
UNPRINTED, CONTROL = re.compile(r"[\x00-\x20\x7f]"), re.compile(r"[\x00-\x1f\x7f]")
"""What an address cannot hold, and what a header cannot."""


def send_traces(document: Mapping[str, Any], url: str) -> int:
    """Send a `TracesData` in parts; returns how many spans were taken.

    What stands in OTEL_EXPORTER_OTLP_HEADERS goes along, and is written nowhere. Raises UsageError for what is no
    address, IpwError where the collector does not take them.
    """
    address, headers = endpoint(url), headers_of(os.environ.get(HEADERS_VARIABLE, ""))
    sent = 0
    for part, spans in _parts(document):
        request = urllib.request.Request(  # noqa: S310 - endpoint() lets http and https through alone
            address,
            json.dumps(part, allow_nan=False).encode(),
            {"Content-Type": "application/json", **headers},
            method="POST",
        )
        sent += spans - _rejected(request, address)
    return sent


def endpoint(url: str) -> str:
    """Complete an address: the path is `/v1/traces` where it has none, as for OTEL_EXPORTER_OTLP_ENDPOINT."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not UNPRINTED.search(url)
    except ValueError:
        good = False
    if not good:
        shown = "what is given" if "@" in url else repr(url)  # a name and a secret may stand before it
        raise UsageError(f"{shown} is not the address of a collector", "like http://localhost:4318")
    if parts.username or parts.password:
        raise UsageError("the address of the collector holds a secret", f"put it into {HEADERS_VARIABLE}")
    path = parts.path.rstrip("/")
    path = path if path.endswith(PATH) else path + PATH
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def headers_of(text: str) -> dict[str, str]:
    """Read `name=value,other=value`, percent-encoded; values are secrets from here on."""
    found = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            found[name.strip()] = unquote(value.strip())
    keep_out(set(found.values()))
    if any(CONTROL.search(name + value) for name, value in found.items()):
        raise UsageError(f"{HEADERS_VARIABLE} holds a control character, which no header may", "look for %0A in it")
    return found


def _parts(document: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            spans = scope["spans"]
            for first in range(0, len(spans), AT_ONCE):
                some = spans[first : first + AT_ONCE]
                yield {"resourceSpans": [{**resource, "scopeSpans": [{**scope, "spans": some}]}]}, len(some)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow nothing: what goes along may be a secret."""


def _opener(address: str) -> urllib.request.OpenerDirector:
    """Make what sends; to this machine without a proxy."""
    here = urlsplit(address).hostname in {"localhost", "127.0.0.1", "::1"}
    return urllib.request.build_opener(_NoRedirect(), *([urllib.request.ProxyHandler({})] if here else []))


def _rejected(request: urllib.request.Request, address: str) -> int:
    """Send one part; returns how many of its spans the collector says that it has not taken."""
    try:
        with _opener(address).open(request, timeout=TIMEOUT_S) as answer:
            told = answer.read(MOST_BYTES)
    except urllib.error.HTTPError as error:
        words = clean(_read(error).decode(errors="replace"), 200)
        raise IpwError(
            f"the collector at {address} answers HTTP {error.code}: {words}", "does it take OTLP/HTTP?"
        ) from None
    except http.client.HTTPException as error:
        why = clean(f"{type(error).__name__}: {error}", 200)
        raise IpwError(f"what is at {address} does not speak HTTP as it should: {why}", "is it a collector?") from None
    except (OSError, ValueError) as error:
        why = clean(getattr(error, "reason", error), 200)
        raise IpwError(
            f"the collector at {address} cannot be reached: {why}", "ipw export RUN --otlp sends it later"
        ) from None
    try:
        partial = json.loads(told or b"{}").get("partialSuccess") or {}
        return int(partial.get("rejectedSpans") or 0)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return 0


def _read(error: urllib.error.HTTPError) -> bytes:
    """What a refusal says, as far as it can be read."""
    with error:  # else its socket would wait for the garbage collector
        try:
            return error.read(2000)
        except (OSError, ValueError, http.client.HTTPException):
            return b""
