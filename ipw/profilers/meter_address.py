"""Where a power meter is: what to ask, and what of it may be shown, which is never a secret."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from ipw.secrets_out import shown_url

SAFE = "/:@!$&'()*+,;=-._~%?"


class Address(NamedTuple):
    """Of a meter: two parts that may hold secrets, and one that holds none."""

    url: str
    """To ask, without user and password."""
    authorization: str | None
    """The header that carries them, where there are any."""
    shown: str
    """For people and files."""


def meter_address(text: str) -> Address | None:
    """Take an address apart; `None` for what is not an http:// or https:// URL. What cannot be in a URL is quoted."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
        where = (f"[{host}]" if host and ":" in host else host or "") + (f":{port}" if port else "")
        where.encode("ascii")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[\w.:%-]+", host, re.ASCII):
        return None
    path, query = quote(parts.path, SAFE), quote(parts.query, SAFE)
    url = f"{parts.scheme}://{where}{path or '/'}" + (f"?{query}" if query else "")
    shown = shown_url(f"{parts.scheme}://{where}{path}" + (f"?{parts.query}" if parts.query else ""))
    return Address(url, _authorization(parts.username, parts.password), shown)


def _authorization(user: str | None, password: str | None) -> str | None:
    if user is None and password is None:
        return None
    return "Basic " + b64encode(f"{unquote(user or '')}:{unquote(password or '')}".encode()).decode()
