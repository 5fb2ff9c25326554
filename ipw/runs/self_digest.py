"""A document that can tell whether it is as ipw wrote it: its entry `digest` is the SHA-256 of all its other entries.

It shows damage and edits by hand. It does not stop somebody who makes a new digest: what is executed has a seal for
that (seal.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ipw.foreign_json import parsed

DIGEST = "digest"
CHANGED = "changed"
"""In place of a digest: the document was not as ipw wrote it when it was written again."""


def with_digest(document: Mapping[str, Any], *, whole: bool = True) -> dict[str, Any]:
    """Add the digest; of what came from a document that was not `whole`, the mark that it was not."""
    bare = without_digest(document)
    return bare | {DIGEST: _digest(parsed(json.dumps(bare))) if whole else CHANGED}


def without_digest(document: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the digest out."""
    return {name: value for name, value in document.items() if name != DIGEST}


def is_whole(document: Mapping[str, Any]) -> bool:
    """Whether a document that was read is as ipw wrote it; one without a digest is older, and nothing is known."""
    return DIGEST not in document or document[DIGEST] == _digest(without_digest(document))


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
