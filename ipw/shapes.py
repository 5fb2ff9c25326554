"""What a document that anybody may have written must look like, and where one does not. Checked once, where it is read.

A shape is one of

    str, bool, int, float      a text, true or false, a whole number of 64 bits, a finite number
    range(least, most)         a whole number in it
    {"a text", "another"}      one of these texts
    object                     anything
    [shape]                    a list of such
    {"name": shape}            an object; a name that ends in `?` may be null, one in `!` must be there, in `!?` both
    {"*": shape}               an object of any names

Names that a shape does not have are let through: another version may have written them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Shape = Any
INT64 = range(-(2**63), 2**63)
COUNT = range(2**53)
"""Whole numbers from 0 on that a double holds too."""
MOMENT = range(2**62)
"""Nanoseconds of a clock: the time between any two of them fits 64 bits."""
SAYS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def finite(x: object) -> float | None:
    """`x` if it is a number that is finite as a floating-point one."""
    if not isinstance(x, int | float) or isinstance(x, bool):
        return None
    try:
        value = float(x)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return value if math.isfinite(value) else None


def misfit(value: Any, shape: Shape, where: str = "") -> str | None:
    """Say where a value first departs from a shape, `None` where it fits: "sensors[0].index is text, not …"."""
    if shape is object:
        return None
    if isinstance(shape, dict):
        return _object_misfit(value, shape, where)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _told(value, "a list", where)
        told = (misfit(each, shape[0], f"{where}[{place}]") for place, each in enumerate(value))
        return next((each for each in told if each), None)
    if isinstance(shape, set):
        fits = isinstance(value, str) and value in shape
        return None if fits else _told(value, f"one of {', '.join(sorted(shape))}", where)
    if isinstance(shape, range):
        fits = type(value) is int and value in shape
        return None if fits else _told(value, f"a whole number from {shape[0]} to {shape[-1]}", where)
    return None if _is(value, shape) else _told(value, SAYS[shape], where)


def shape_of(kind: type) -> Shape:
    """Give the shape of a dataclass's fields as JSON has them; a field without a default must be there."""
    hints = get_type_hints(kind)
    marks = {f.name: "!" if f.default is f.default_factory is MISSING else "" for f in fields(kind)}
    return {
        name + ("?" if type(None) in get_args(hints[name]) else mark): _shape(hints[name])
        for name, mark in marks.items()
    }


def _shape(hint: Any) -> Shape:
    inner = [each for each in get_args(hint) if each is not type(None)]
    origin = get_origin(hint)
    if origin is Literal:
        return set(inner)
    if origin in {Union, UnionType}:
        return _shape(inner[0]) if len(inner) == 1 else object
    if origin in {list, tuple, Sequence}:
        return [_shape(inner[0])]
    if origin in {dict, Mapping}:
        return {"*": _shape(inner[1])}
    return hint if hint in {str, bool, int, float} else object


def _is(value: Any, kind: type) -> bool:
    if kind is int:
        return type(value) is int and value in INT64
    if kind is float:
        return (type(value) is float and math.isfinite(value)) or (type(value) is int and value in INT64)
    return isinstance(value, kind)


def _object_misfit(value: Any, shape: Mapping[str, Shape], where: str) -> str | None:
    if not isinstance(value, dict):
        return _told(value, "an object", where)
    begun = f"{where}." if where else ""
    for name, inner in shape.items():
        if name == "*":
            told = (misfit(each, inner, f"{begun}{str(key)[:40]}") for key, each in value.items())
            if found := next((each for each in told if each), None):
                return found
            continue
        bare = name.rstrip("?!")
        marks = name[len(bare) :]
        if bare not in value:
            if "!" in marks:
                return f"{begun}{bare} is missing"
        elif not (value[bare] is None and "?" in marks) and (found := misfit(value[bare], inner, f"{begun}{bare}")):
            return found
    return None


def _told(value: Any, wanted: str, where: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        kind = str(value) if isinstance(value, float) or value in INT64 else "a number of more than 64 bits"
    else:
        kinds = {dict: "an object", list: "a list", type(None): "null"}
        kind = kinds.get(type(value)) or SAYS.get(type(value), type(value).__name__)
        kind = repr(value[:40]) if isinstance(value, str) and wanted.startswith("one of") else kind
    return f"{where or 'it'} is {kind}, not {wanted}"
