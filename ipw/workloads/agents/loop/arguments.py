"""Arguments that a model gives to a tool, against what the tool declares: nothing else reaches it. Pure functions.

Of JSON Schema this is understood: `type`, `enum`, `items`, `properties`, `required`. What is not declared is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
UNDERSTOOD = {
    "type",
    "enum",
    "items",
    "properties",
    "required",
    "description",
    "default",
    "title",
    "additionalProperties",
}
MOST_CHARACTERS = 1 << 16
"""Of the arguments of one call."""


class ArgumentsError(ValueError):
    """The arguments are not what the tool takes; the text says why, to the model."""


def read_arguments(text: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Read the arguments of a call, JSON as the model wrote it, for a tool that takes `parameters`.

    Raises ArgumentsError.
    """
    if len(text) > MOST_CHARACTERS:
        raise ArgumentsError(f"the arguments are longer than {MOST_CHARACTERS} characters")
    try:
        given = json.loads(text or "{}", parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ArgumentsError(f"the arguments are not JSON: {str(error)[:100]}") from None
    check(given, {"type": "object", **parameters}, "the arguments")
    found: dict[str, Any] = given
    return found


def check(value: Any, schema: Mapping[str, Any], what: str) -> None:
    """Raise ArgumentsError where a value is not what its schema says."""
    kind = str(schema.get("type"))
    if kind in TYPES and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        raise ArgumentsError(f"{what} must be of the type {kind}")
    if "enum" in schema and value not in schema["enum"]:
        raise ArgumentsError(f"{what} must be one of {json.dumps(schema['enum'])[:200]}")
    if isinstance(value, str) and "\0" in value:
        raise ArgumentsError(f"{what} must not hold a NUL character")
    if isinstance(value, dict) and "properties" in schema:
        _check_object(value, schema, what)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for number, each in enumerate(value, 1):
            check(each, schema["items"], f"{what}, value {number},")


def _check_object(value: dict[str, Any], schema: Mapping[str, Any], what: str) -> None:
    known = schema["properties"]
    if missing := [name for name in schema.get("required", ()) if name not in value]:
        raise ArgumentsError(f"{what} must have {missing[0]!r}")
    if others := [name for name in value if name not in known]:
        raise ArgumentsError(f"{what} must not have {others[0][:60]!r}: there are {', '.join(known) or 'none'}")
    for name, each in value.items():
        check(each, known[name], repr(name))


def schema_fault(schema: Any, depth: int = 0) -> str | None:
    """Say why a declared schema is none that is understood here; `None` where it is."""
    if not isinstance(schema, dict):
        return "a schema must be an object"
    if depth > 8:
        return "it is nested too deep"
    if unknown := [name for name in schema if name not in UNDERSTOOD]:
        return f"{unknown[0]!r} is not understood here"
    if schema.get("type") not in {None, *TYPES}:
        return f"the type {schema.get('type')!r} is none of {', '.join(TYPES)}"
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list) or set(map(str, required)) - set(properties):
        return "required must name properties"
    if not isinstance(schema.get("enum", []), list):
        return "enum must be a list"
    parts = [*properties.values(), *([schema["items"]] if "items" in schema else [])]
    return next((fault for part in parts if (fault := schema_fault(part, depth + 1))), None)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number of JSON")
