"""JSON documents of other tools: one value, or a value a line; and what stands in them, where it may stand anywhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from ipw.errors import UsageError
from ipw.foreign_json import parsed
from ipw.interchange.imported import amount
from ipw.runs.recorded import part_of
from ipw.shapes import finite

Document = Mapping[str, Any]
MOST_DEEP = 8
"""So deep a setting is looked for."""
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0, "min": 60.0}
JOULES = {"mJ": 1e-3, "J": 1.0, "joules": 1.0, "kJ": 1e3, "MJ": 1e6, "Wh": 3600.0, "kWh": 3.6e6}
WATTS = {"mW": 1e-3, "W": 1.0, "watts": 1.0, "kW": 1e3}
PLAIN = dict.fromkeys(("", "requests", "tokens", "requests/sec", "tokens/sec"), 1.0)
A_PIECE = {"joules/request": 1.0, "J/request": 1.0, "J/token": 1.0, "mJ/token": 1e-3}
UNITS = PLAIN | SECONDS | JOULES | WATTS | A_PIECE


def documents(text: str) -> list[Document]:
    """Read the JSON objects of a file: one, a list of them, or one a line. Raises ValueError where it is no JSON."""
    try:
        value = parsed(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        value = [parsed(line) for line in lines]
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


def within(document: object, *path: str) -> Document:
    """Give the object at a path; where there is none, one without entries."""
    for name in path:
        document = part_of(document, name) if isinstance(document, Mapping) else {}
    return document if isinstance(document, Mapping) else {}


def first_named(document: object, name: str) -> Any:
    """Find the first entry of a name that says something, however deep it stands; `None` where there is none."""
    return next((value for value in _named(document, name, MOST_DEEP) if value not in (None, "", [], {})), None)


def _named(document: object, name: str, depth: int) -> Iterator[Any]:
    if depth == 0:
        return
    if isinstance(document, Mapping):
        if name in document:
            yield document[name]
        for value in document.values():
            yield from _named(value, name, depth - 1)
    elif isinstance(document, list):
        for value in document[:100]:
            yield from _named(value, name, depth - 1)


def first_text(document: object, *names: str) -> str | None:
    """Find the first text of any of these names; of a list of texts, or of objects that have a name, the first."""
    for name in names:
        found = first_named(document, name)
        found = found[0] if isinstance(found, list) and found else found
        found = found.get("name") if isinstance(found, dict) else found
        if isinstance(found, str) and found.strip():
            return found
    return None


def setting(document: object, *names: str) -> float | int | None:
    """Find the first of these settings that is a number from 0 on."""
    for name in names:
        found = first_named(document, name)
        if isinstance(found, int | float) and not isinstance(found, bool) and found >= 0:
            return found
    return None


def moment(seconds: object) -> str | None:
    """Write seconds since 1970 as text; `None` where they are no time."""
    at = finite(seconds)
    try:
        return None if at is None else dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return None


def in_our_units(value: object, unit: object, what: str) -> float | None:
    """Turn an amount into seconds, joules, watts or plain counts. Raises UsageError for a unit that is not known."""
    told = amount(value, what)
    factor = UNITS.get(unit if isinstance(unit, str) else "")
    if factor is None:
        raise UsageError(f"{what} has the unit {str(unit)[:20]!r}, which is not known", f"known: {', '.join(UNITS)}")
    return None if told is None else told * factor
