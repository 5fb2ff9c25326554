"""The one way from text of anywhere (a model, a server, a run that came by mail) to what people and programs read.

Control characters could steer a terminal, a line such as `::error::` a CI runner, a cell such as `=1+1` a spreadsheet.
"""

from __future__ import annotations

import re
import unicodedata

BIDI = {*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
LINE_ENDS = "\n\t\r\u2028\u2029"
WORKFLOW = re.compile(r"(?m)^(\s*):(?=:[A-Za-z-]+(?: [^\n]*)?::)|##(?=\w*\[)")
"""A command to GitHub's runner at the start of a line, `::name key=value::`; one of others, `##[name]`, anywhere."""
FORMULA = "=+-@\t\r\n"


def clean(text: object, most: int = 200, *, keep_lines: bool = False) -> str:
    """Make text fit to show: one line of at most `most` characters, nothing that steers a terminal or a CI runner.

    Control characters, lone surrogates and marks that turn the direction of writing become a replacement character.
    """
    text = str(text)
    cut = text[: most + 1]
    shown = inert(_all_shown(cut[:most], keep_lines=keep_lines))
    return shown + ("…" if len(cut) > most else "")


def inert(text: str) -> str:
    """Part the signs by which a CI runner knows a command, wherever in a text of several lines it stands."""
    return WORKFLOW.sub(lambda found: f"{found[1]}: " if found[1] is not None else "# #", text)


def printable(text: str) -> str:
    """Make text of several lines fit to print, of any length: as `clean`, with its line ends and tabs."""
    return inert("".join(c if c in "\n\t" else _shown(c, keep_lines=True) for c in text))


def cell(value: object) -> object:
    """Make a value fit for a cell or heading of CSV: text without control characters, quoted where it is a formula."""
    if not isinstance(value, str):
        return value
    shown = _all_shown(value, keep_lines=False)
    return f"'{shown}" if value[:1] and value[0] in FORMULA else shown


def _all_shown(text: str, *, keep_lines: bool) -> str:
    if text.isprintable():  # for Python no sign of the categories below is, nor any mark of direction or end of a line
        return text
    return "".join(_shown(c, keep_lines=keep_lines) for c in text)


def _shown(c: str, *, keep_lines: bool) -> str:
    if c in LINE_ENDS:
        return c if keep_lines and c == "\n" else " "
    return "\ufffd" if c in BIDI or unicodedata.category(c) in {"Cc", "Cs", "Cn"} else c
