from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from ipw.shapes import COUNT, MOMENT, finite, misfit, shape_of

SHAPE = {
    "name!": str, "count": COUNT, "share?": float, "kind": {"a", "b"}, "rows": [{"at!": MOMENT}], "more": {"*": int},
    "any": object,
}  # fmt: skip


@pytest.mark.parametrize(
    "document",
    [
        {"name": "x"},
        {"name": "x", "count": 0, "share": None, "kind": "a", "rows": [], "more": {}, "any": None},
        {"name": "x", "share": 1, "rows": [{"at": 5, "other": {}}], "more": {"y": -1}, "any": [[]]},
        {"name": "x", "of another version": object()},
    ],
)
def test_what_fits_is_let_through(document: Any) -> None:
    assert misfit(document, SHAPE) is None


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "it is a list, not an object"),
        ({}, "name is missing"),
        ({"name": None}, "name is null, not text"),
        ({"name": 5}, "name is 5, not text"),
        ({"name": "x", "count": -1}, f"count is -1, not a whole number from 0 to {2**53 - 1}"),
        ({"name": "x", "count": True}, "count is true or false, not a whole number"),
        ({"name": "x", "count": None}, "count is null, not a whole number"),
        ({"name": "x", "count": 1.0}, "count is 1.0, not a whole number"),
        ({"name": "x", "share": float("nan")}, "share is nan, not a number"),
        ({"name": "x", "share": 10**30}, "share is a number of more than 64 bits, not a number"),
        ({"name": "x", "kind": "c"}, "kind is 'c', not one of a, b"),
        ({"name": "x", "rows": {}}, "rows is an object, not a list"),
        ({"name": "x", "rows": [{"at": 1}, {"at": 2**62}]}, "rows[1].at is 4611686018427387904, not a whole number"),
        ({"name": "x", "rows": [{}]}, "rows[0].at is missing"),
        ({"name": "x", "more": {"y": "1"}}, "more.y is text, not a whole number"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(document: Any, told: str) -> None:
    assert (misfit(document, SHAPE) or "").startswith(told)


@dataclass
class Settings:
    name: str
    mode: Literal["fast", "slow"]
    limit: int | None = None
    share: float = 0.5
    texts: dict[str, str] = field(default_factory=dict)
    parts: tuple[int, ...] = ()


def test_the_shape_of_a_dataclass_is_that_of_its_fields() -> None:
    shape = shape_of(Settings)
    assert shape == {
        "name!": str, "mode!": {"fast", "slow"}, "limit?": int, "share": float, "texts": {"*": str}, "parts": [int]
    }  # fmt: skip
    assert misfit({"name": "x", "mode": "fast", "share": 1}, shape) is None
    assert misfit({"name": "x", "mode": "sideways"}, shape) == "mode is 'sideways', not one of fast, slow"


@pytest.mark.parametrize("x", [None, True, "1", float("nan"), float("inf"), 10**400, -(10**400), [], {}])
def test_what_is_no_finite_number_is_none(x: object) -> None:
    assert finite(x) is None


def test_numbers_are_floats() -> None:
    assert finite(3) == 3.0
    assert finite(10**300) == 1e300
