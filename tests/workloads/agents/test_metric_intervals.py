"""Intervals of tasks' metrics: an estimate's joules are as wide as its gain, however many tasks there are."""

from __future__ import annotations

import pytest

from ipw.metrics.metric import EnergyFacts
from ipw.metrics.window import NO_IDLE
from ipw.workloads.agents.metrics import NO_REPEAT, RATIOS, task_metrics

COUNTER = EnergyFacts("counter", "the sensor broke", None)

ROW = dict.fromkeys(
    ("energy_j", "net_energy_j", "turn_energy_j", "tool_energy_j", "pause_energy_j", "failed_energy_j"), 2.0
) | {
    "repeated_tool_energy_j": 1.0, "score": 1.0, "turns": 2, "tool_calls": 1, "calls_measured": 1, "tokens": 12,
    "start_ns": 0, "end_ns": 10**9, "prompt_tokens": 9, "completion_tokens": 3, "cached_tokens": 0,
    "resent_tokens": 4, "alike": None, "most_prompt_tokens": 9, "first_prompt_tokens": 5,
}  # fmt: skip


def test_joules_of_an_estimate_are_wide_and_shares_of_joules_are_not() -> None:
    found = task_metrics([ROW] * 400, EnergyFacts("model_estimate", "", 0.5), seed=1)
    for name in ("energy_per_task_j", "energy_per_turn_j", "energy_per_tool_call_j", "energy_per_solved_task_j"):
        value, low, high = (found[name][end] for end in ("value", "low", "high"))
        assert low < 0.6 * value, name
        assert high > 1.4 * value, name
    for name in ("task_accuracy_per_joule", "task_accuracy_per_watt"):
        assert found[name]["high"] > 1.4 * found[name]["value"], name
    for name in ("tool_energy_share", "turns_per_task"):
        assert found[name]["low"] == found[name]["high"] == found[name]["value"], name
    measured = task_metrics([ROW] * 400, EnergyFacts("counter", "", 0.5), seed=1)["energy_per_task_j"]
    assert measured["low"] == measured["high"] == measured["value"]  # its gain stands beside the interval
    assert {ratio.energies for ratio in RATIOS.values()} == {-1, 0, 1}


def test_tasks_of_which_nobody_knows_how_they_began_stand_beside_others() -> None:
    known = ROW | {"task": "a", "alike": "e3270799af18", "opens": "77"}
    found = task_metrics([known, ROW | {"task": "b", "opens": None}], EnergyFacts("counter", "", None), seed=1)
    assert found["tasks"]["value"] == 2
    assert found["energy_per_task_j"]["value"] == 2.0


def test_tasks_that_are_all_solved_leave_room_for_one_that_would_not_be() -> None:
    found = task_metrics([ROW] * 12, EnergyFacts("counter", "", None), seed=1)
    assert found["task_accuracy"]["value"] == 1
    assert 0.7 < found["task_accuracy"]["low"] < 0.95


def test_the_error_of_measurement_of_tasks_is_in_every_interval_of_joules() -> None:
    """Five tasks of 10 J that are each known to ± 9 J (95 %): their mean to ± 9 / √5 J, and more for so few."""
    row = ROW | {"energy_j": 10.0, "energy_low_j": 1.0, "energy_high_j": 19.0, "score": 0.5}
    found = task_metrics([row] * 5, COUNTER, seed=1)
    for name, mean in (("energy_per_task_j", 10.0), ("energy_per_solved_task_j", 20.0)):
        half = mean * 0.9 / 5**0.5
        assert found[name]["value"] == mean
        assert found[name]["low"] < mean - 0.95 * half, name
        assert found[name]["high"] > mean + 0.95 * half, name
    for name in ("task_accuracy_per_joule", "task_accuracy_per_watt", "energy_per_turn_j"):
        assert found[name]["high"] > 1.4 * found[name]["value"], name
    assert found["energy_per_turn_j"]["low"] == 0
    assert found["tool_energy_share"]["high"] == found["tool_energy_share"]["low"]


def test_calls_that_no_request_followed_are_in_no_mean_of_joules() -> None:
    two = [ROW | {"tool_calls": 3, "calls_measured": 1, "tool_energy_j": 2.0}] * 2
    assert task_metrics(two, COUNTER, seed=1)["energy_per_tool_call_j"]["value"] == 2.0
    none = [ROW | {"tool_calls": 3, "calls_measured": 0, "tool_energy_j": None}] * 2
    for name in ("energy_per_tool_call_j", "tool_energy_share"):
        found = task_metrics(none, COUNTER, seed=1)[name]
        assert (found["value"], found["reason"]) == (None, "no call was followed by a request")


@pytest.mark.parametrize(
    ("changed", "name", "reason"),
    [
        ({"net_energy_j": None}, "net_energy_per_task_j", NO_IDLE),
        ({"net_energy_j": None, "energy_j": None}, "net_energy_per_task_j", "the sensor broke"),
        ({"energy_j": None, "alike": "a"}, "task_energy_spread", "the sensor broke"),
        ({}, "task_energy_spread", NO_REPEAT),
        ({"tokens": None}, "tokens_per_task", "the server did not tell tokens"),
        ({"tool_calls": 0, "calls_measured": 0, "tool_energy_j": 0.0}, "energy_per_tool_call_j", "no tool was called"),
        ({"score": 0.0}, "energy_per_solved_task_j", "no task was solved"),
    ],
)
def test_what_is_absent_says_why(changed: dict[str, object], name: str, reason: str) -> None:
    found = task_metrics([ROW | changed] * 3, COUNTER, seed=1)[name]
    assert (found["value"], found["reason"]) == (None, reason)


def test_tasks_of_which_the_server_did_not_tell_tokens_are_left_out() -> None:
    found = task_metrics([ROW, ROW | {"tokens": None}], COUNTER, seed=1)["tokens_per_task"]
    assert (found["value"], found["n"]) == (12, 1)
