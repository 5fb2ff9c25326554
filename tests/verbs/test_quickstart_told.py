from __future__ import annotations

from typing import Any

from ipw.verbs.quickstart import MODELS, what_a_tool_buys


def summary(solved: float | None, joules: float | None, basis: str = "gpu") -> dict[str, Any]:
    metrics = {
        "task_accuracy": {"value": solved, "n": 45},
        "energy_per_task_j": {"value": joules, "reason": None if joules else "below resolution"},
    }
    return {"basis": basis, "metrics": metrics}


def test_what_a_tool_buys_is_told_with_accuracy_and_joules() -> None:
    assert what_a_tool_buys(summary(0.94, 9.1), summary(0.0, 0.654)) == (
        "What a tool buys: with the calculator, 94% of the 45 tasks are solved: 9.1 J a task; "
        "without it, 0% of the 45 tasks are solved: 0.654 J a task."
    )


def test_joules_that_are_estimated_or_not_known_are_told_as_such() -> None:
    told = what_a_tool_buys(summary(1.0, None, "estimate"), summary(None, 1.0, "estimate"))
    assert "joules are not known (below resolution)" in told
    assert "no share of the 45 tasks" in told
    assert told.endswith("Joules are estimated.")


def test_the_models_of_the_quickstart_are_those_that_answer_its_questions() -> None:
    assert MODELS == ("dense", "moe")
