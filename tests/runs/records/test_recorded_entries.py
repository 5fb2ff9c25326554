"""Which entry of a manifest each fact is, and what stands for one that is not what it should be."""

from __future__ import annotations

from typing import Any

import pytest

from ipw.runs.recorded import Recorded, part_of, parts_of

PLACES = {
    "workload": "workload", "parameters": "workload.parameters", "series": "workload.series", "model": "model",
    "attribution": "attribution", "engine": "attribution.engine", "costs": "attribution.costs", "server": "server",
    "dataset": "dataset", "scoring": "scoring", "host": "host", "software": "software", "neighbours": "neighbours",
    "progress": "progress", "sampler": "sampler", "left_at_the_end": "recorded",
}  # fmt: skip
TEXTS = {"run_id": "run_id", "status": "status", "basis": "basis", "method": "method", "kind": "workload.kind"}
NEITHER: list[Any] = [None, True, 5, 0.5, [{"a": 1}]]


def manifest(place: str, value: Any) -> dict[str, Any]:
    first, dot, second = place.partition(".")
    return {first: {second: value} if dot else value}


@pytest.mark.parametrize(("fact", "place"), PLACES.items())
def test_a_part_is_the_object_that_stands_there_or_an_empty_one(fact: str, place: str) -> None:
    assert getattr(Recorded(manifest(place, {"a": 1})), fact) == {"a": 1}
    assert getattr(Recorded({}), fact) == {}
    for wrong in (*NEITHER, "text"):
        assert getattr(Recorded(manifest(place, wrong)), fact) == {}


@pytest.mark.parametrize(("fact", "place"), TEXTS.items())
def test_a_text_is_what_stands_there_or_absent(fact: str, place: str) -> None:
    assert getattr(Recorded(manifest(place, "text")), fact) == "text"
    assert getattr(Recorded({}), fact) is None
    for wrong in (*NEITHER, {"a": 1}):
        assert getattr(Recorded(manifest(place, wrong)), fact) is None


def test_sensors_are_the_objects_of_a_list_and_those_in_the_total_say_so() -> None:
    counted = {"name": "a", "scope": "gpu", "in_total": True}
    found = Recorded({"sensors": [counted, "b", {"name": "c", "scope": "cpu", "in_total": False}, None, {"name": "d"}]})
    assert [channel["name"] for channel in found.sensors] == ["a", "c", "d"]
    assert found.in_total == [counted]
    assert found.scopes == {"gpu"}
    for wrong in (None, {"a": 1}, "text", 5):
        assert list(Recorded({"sensors": wrong}).sensors) == []


def test_an_estimate_is_one_by_its_method() -> None:
    assert Recorded({"method": "model_estimate"}).is_estimated
    assert not Recorded({"method": "counter"}).is_estimated


def test_a_list_is_no_object_and_an_object_no_list() -> None:
    assert part_of({"a": {"b": 1}}, "a") == {"b": 1}
    assert part_of({"a": [1]}, "a") == {}
    assert parts_of({"a": [{"b": 1}, 2, {}]}, "a") == [{"b": 1}, {}]
    assert parts_of({"a": {"b": 1}}, "a") == []
