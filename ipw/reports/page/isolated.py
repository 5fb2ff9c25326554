"""Names that are written from the right, within sentences that are not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ipw.reports.markup import Markup, join, tag


def isolated(text: str, names: Iterable[str]) -> Markup:
    """Escape `text`; a name in it that is written from the right does not turn round what stands beside it."""
    turning = sorted({name for name in names if _from_the_right(name)}, key=len, reverse=True)
    if not turning:
        return join([text])
    parts = re.split(f"({'|'.join(map(re.escape, turning))})", text)
    return join([tag("bdi", part) if place % 2 else part for place, part in enumerate(parts)])


def _from_the_right(name: str) -> bool:
    return any(unicodedata.bidirectional(c) in {"R", "AL"} for c in name)
