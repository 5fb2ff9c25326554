"""Intervals of tasks' metrics: an estimate's joules are as wide as its gain, however many tasks there are."""

from __future__ import annotations

from ipw.metrics.metric import EnergyFacts
from ipw.workloads.agents.metrics import RATIOS, task_metrics

ROW = dict.fromkeys(
    ("energy_j", "net_energy_j", "turn_energy_j", "tool_energy_j", "pause_energy_j", "failed_energy_j"), 2.0
) | {"repeated_tool_energy_j": 1.0, "score": 1.0, "turns": 2, "tool_calls": 1, "start_ns": 0, "end_ns": 10**9} | {
    "prompt_tokens": 9, "completion_tokens": 3, "cached_tokens": 0, "resent_tokens": 4, "alike": None,
    "most_prompt_tokens": 9, "first_prompt_tokens": 5,
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
    assert {ratio.energies for ratio in RATIOS.values()} == {-1, 0, 1}


def test_tasks_that_are_all_solved_leave_room_for_one_that_would_not_be() -> None:
    found = task_metrics([ROW] * 12, EnergyFacts("counter", "", None), seed=1)
    assert found["task_accuracy"]["value"] == 1
    assert 0.7 < found["task_accuracy"]["low"] < 0.95
