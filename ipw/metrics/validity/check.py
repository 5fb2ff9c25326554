"""One check of a run, as it stands in its summary."""

from __future__ import annotations

from typing import Any, Literal

Check = dict[str, Any]
"""`check`, `ok`, `detail`, and `level`: a failed `error` makes the run invalid, a failed `warning` is told."""


def made(name: str, ok: bool, detail: str, level: Literal["error", "warning"] = "warning") -> Check:
    """Make the entry."""
    return {"check": name, "ok": ok, "detail": detail, "level": level}
