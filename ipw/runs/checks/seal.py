"""Whether this user, on this machine, wrote what a run says is to be executed.

A run directory may come by mail. What it says of commands to start and of servers that get a key is believed only under
a seal that nobody else can make: HMAC-SHA256 (RFC 2104) with a key of this user.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY_BYTES = 32


def seal(facts: Mapping[str, Any]) -> str | None:
    """Seal facts; `None` where this user has no folder in which a key can be kept: then nothing is believed later."""
    key = _key()
    return None if key is None else hmac.new(key, _canonical(facts), hashlib.sha256).hexdigest()


def is_sealed(facts: Mapping[str, Any], found: object) -> bool:
    """Whether `found` is the seal of these facts, made by this user."""
    key = _key()
    if key is None or not isinstance(found, str):
        return False
    return hmac.compare_digest(hmac.new(key, _canonical(facts), hashlib.sha256).hexdigest().encode(), found.encode())


def _canonical(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str).encode()


def _key() -> bytes | None:
    """Read the key, or make it where there is none. Two processes that make it at once agree on the first."""
    try:
        path = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "ipw" / "seal.key"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        if path.stat().st_uid != os.geteuid() or path.stat().st_mode & 0o077:
            return None  # others may have read it
        key = path.read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: no home is known
        return None
    return key if len(key) == KEY_BYTES else None


def _make(path: Path) -> None:
    part = path.with_name(f".{secrets.token_hex(8)}")
    part.touch(mode=0o600, exist_ok=False)
    part.write_bytes(secrets.token_bytes(KEY_BYTES))
    try:
        os.link(part, path)  # fails where another process was first
    except FileExistsError:
        pass
    finally:
        part.unlink()
