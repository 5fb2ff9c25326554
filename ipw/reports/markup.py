"""HTML and SVG whose text is escaped unless it was made here."""

from __future__ import annotations

import html
from collections.abc import Iterable

from ipw.printable import clean

VOID = {"meta", "br", "hr", "img"}
LONGEST_TEXT = 2000
TYPED = ("sudo ", "pip ", "docker ", "echo ", "ipw ", "IPW_")
"""How a remedy begins that can be typed as it stands."""


class Markup(str):
    """Markup that `tag` made: the only text that is not escaped again."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Make one element. Children that are no `Markup` are text; attributes that are `None` are left out.

    Underscores in attribute names stand for hyphens; a trailing one keeps clear of Python's words (`class_`).
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Put parts one behind the other; `None` is nothing."""
    return Markup(between.join(_escaped(part) for part in parts if part is not None))


def remedy(hint: str) -> Markup:
    """Show a remedy: as code where it can be typed, else in words."""
    return tag("code", hint) if hint.startswith(TYPED) else join([hint])


def _escaped(value: object) -> str:
    if isinstance(value, Markup):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return html.escape(clean(value, LONGEST_TEXT, keep_lines=True), quote=True)
