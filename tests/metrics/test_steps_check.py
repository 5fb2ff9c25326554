"""A run says whether the steps of its engine could be told, and what that means for its joules."""

from __future__ import annotations

from typing import Any

import pytest

from ipw.energy.steps.by_work import RULE
from ipw.metrics.validity.steps import steps_check


def checks(rule: str, concurrency: int = 8, **engine: Any) -> list[dict[str, Any]]:
    told = {"kind": "steps", "sure": 0.9, "why": "99% had a result in each burst", "steps": 1200, "step_ms": [1, 2, 3]}
    workload = {"kind": "lm", "parameters": {"concurrency": concurrency}}
    return list(steps_check({"workload": workload, "attribution": {"rule": rule, "engine": told | engine}}))


def test_a_run_that_was_divided_by_steps_says_how_many_and_why() -> None:
    (check,) = checks(RULE)
    assert check["ok"]
    assert check["detail"] == "steps: 99% had a result in each burst (1,200 steps)"


def test_requests_one_at_a_time_need_no_steps() -> None:
    (check,) = checks(
        "by level", kind="one at a time", steps=None, why="100% of the chunks came while one was in flight"
    )
    assert check["ok"]


def test_where_one_at_a_time_was_asked_for_an_engine_that_cannot_be_told_is_no_matter() -> None:
    (check,) = checks("by level", 1, kind="unknown", steps=None, why="only 81% came in several chunks")
    assert check["ok"]


@pytest.mark.parametrize(
    ("rule", "kind", "told"),
    [
        ("by level", "unknown", "unknown: chunks come in bursts of many; requests in flight together are charged by"),
        ("by level; not by steps: no idle power is known", "steps", "; no idle power is known; requests in flight"),
    ],
)
def test_requests_together_whose_steps_do_not_serve_are_told(rule: str, kind: str, told: str) -> None:
    (check,) = checks(rule, kind=kind, why="chunks come in bursts of many")
    assert not check["ok"]
    assert check["level"] == "warning"
    assert told in check["detail"]


@pytest.mark.parametrize("manifest", [{}, {"attribution": None}, {"attribution": {"rule": "x", "engine": None}}])
def test_a_run_without_arrivals_says_nothing(manifest: dict[str, Any]) -> None:
    assert list(steps_check(manifest)) == []
