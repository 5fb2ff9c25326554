"""Digests that tell whether two runs ask the same of the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ipw.workloads.texts.questions import questions_digest

__all__ = ["digest", "questions_digest"]


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain values by name, in whatever order."""
    return f"sha256:{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}"
