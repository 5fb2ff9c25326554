"""Heads of requests and answers on their way through: what is passed on as it is, and what belongs to one hop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from urllib.parse import parse_qsl

from ipw.secrets_out import PLAIN, is_secret_name

Header = tuple[bytes, bytes]
"""Name and value, as they were sent."""
ByName = Mapping[bytes, bytes]
"""The first value of each name, which is in lower case."""
OF_ONE_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
}  # fmt: skip
"""RFC 9110, section 7.6.1."""
NOT_TO_CLIENT = OF_ONE_HOP | {b"content-length"}
"""The framing is that of the next hop, to which bodies go whole."""
NOT_TO_SERVER = NOT_TO_CLIENT | {b"host", b"expect"}
OURS = b"x-ipw-"
KEYS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"proxy-authorization")
"""Headers whose values are kept out of what is written."""


def passed_on(headers: Iterable[Header], dropped: AbstractSet[bytes]) -> list[Header]:
    """Leave out headers by name, in lower case, and also what `Connection` names."""
    known = [(name.lower(), name, value) for name, value in headers]
    named = {word.strip().lower() for lower, _, value in known if lower == b"connection" for word in value.split(b",")}
    dropped = dropped | named if named else dropped
    return [(name, value) for lower, name, value in known if lower not in dropped]


def request_head(method: str, target: str, authority: str, headers: Iterable[Header], length: int | None) -> bytes:
    """Make the head of a request to the server; without a `length` it has no body."""
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: " + authority.encode()]
    lines += [name + b": " + value for name, value in passed_on(headers, NOT_TO_SERVER) if not _ours(name)]
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def answer_head(status_line: bytes, headers: Sequence[Header], framing: Sequence[Header]) -> bytes:
    """Make the head of an answer to the client: the server's own lines in their order, with the framing of this hop."""
    lines = [status_line, *(name + b": " + value for name, value in [*passed_on(headers, NOT_TO_CLIENT), *framing])]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def by_name(headers: Sequence[Header]) -> ByName:
    """Sort headers once for all who ask for one of them."""
    return {name.lower(): value for name, value in reversed(headers)}


def value_of(headers: ByName, name: bytes) -> str | None:
    """Give the header of that name, in lower case, as text; `None` where there is none or it is empty."""
    return headers.get(name, b"").decode("latin-1").strip() or None


def secrets_of(headers: Iterable[Header], target: str) -> list[str]:
    """List what of a request may be a key: values of headers, what follows a scheme such as `Bearer`, parameters."""
    query = parse_qsl(target.partition("?")[2], keep_blank_values=True)
    found = [value for name, value in query if is_secret_name(name) or name.lower() in PLAIN]
    for name, value in headers:
        if name.lower() in KEYS:
            text = value.decode("latin-1").strip()
            found += [text, text.partition(" ")[2].strip()]
    return sorted({each for each in found if len(each) >= 8}, key=len, reverse=True)


def _ours(name: bytes) -> bool:
    return name.lower().startswith(OURS)
