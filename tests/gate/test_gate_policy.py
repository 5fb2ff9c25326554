from __future__ import annotations

import tomllib
from typing import Any

import pytest

from ipw.errors import UsageError
from ipw.gate.policy import Policy, read_policy

GOOD = "[metrics.energy_per_query_j]\nmargin = 0.03\n"


def read(text: str, workload: str = "lm") -> Policy:
    document: dict[str, Any] = tomllib.loads(text)
    return read_policy(document, "gate.toml", workload)


def test_a_margin_is_enough_and_the_direction_of_harm_is_known() -> None:
    policy = read(GOOD + "[metrics.output_tokens_per_s]\nmargin = 0.1\n[metrics.accuracy]\nmargin_points = 1.5\n")
    assert [(rule.metric, rule.harm, rule.margin) for rule in policy.rules] == [
        ("energy_per_query_j", "higher", 0.03),
        ("output_tokens_per_s", "lower", 0.1),
        ("accuracy", "lower", 0.015),
    ]
    assert policy.alpha == 0.05
    assert all(rule.gates for rule in policy.rules)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no metric"),
        ("[metrics.energy_per_qery_j]\nmargin = 0.03", "there is no metric 'energy_per_qery_j'"),
        ("[metrics.energy_j]", "has no margin"),
        ("[metrics.energy_j]\nmargin = -0.03", "margin = -0.03 must be a number above 0"),
        ("[metrics.energy_j]\nmargin = 0", "margin = 0 must be a number above 0"),
        ("[metrics.energy_j]\nmargin = nan", "must be a number above 0"),
        ("[metrics.energy_j]\nmargin = inf", "must be a number above 0"),
        ("[metrics.energy_j]\nmargin = true", "must be a number above 0"),
        ('[metrics.energy_j]\nmargin = "3 %"', "must be a number above 0"),
        ("[metrics.energy_j]\nmargin_points = 1", "'margin_points' is not known"),
        ("[metrics.accuracy]\nmargin = 0.01", "'margin' is not known"),
        ('[metrics.accuracy]\nmargin_points = 1\nharm = "higher"', "higher accuracy is not a harm"),
        ('[metrics.energy_j]\nmargin = 0.1\nharm = "more"', "which direction is worse is not said"),
        ("[metrics.queries]\nmargin = 0.1", "which direction is worse is not said"),
        ("[metrics.energy_j]\nmargin = 0.1\ngates = 1", "gates = 1 is neither true nor false"),
        ("[metrics.energy_j]\nmargin = 0.1\ngates = false", "no metric gates"),
        ("metrics = 3", "metrics must be a table"),
        ("[metrics]\nenergy_j = 3", "must be a table"),
        (GOOD + "[gates]\nalpha = 0.05", "'gates' is not known"),
        (GOOD + "[gate]\nalpha = 0.7", "alpha must be a number"),
        (GOOD + '[validity]\nequal = ["answers"]', "'answers' is not known"),
        (GOOD + '[validity]\nequal = "responses"', "equal must be a list"),
        (GOOD + '[validity]\nallow = ["basis"]', "'basis' is not known"),
    ],
)
def test_a_gate_file_that_makes_no_sense_is_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        read(text)
    assert told in error.value.message
    assert error.value.message.startswith("gate.toml")
    assert "\n" not in error.value.message
    assert error.value.hint


def test_the_nearest_name_is_offered_for_a_metric_that_is_not_there() -> None:
    with pytest.raises(UsageError) as error:
        read("[metrics.energy_per_qery_j]\nmargin = 0.03")
    assert "energy_per_query_j" in str(error.value.hint)


def test_intelligence_per_watt_never_gates_alone() -> None:
    alone = "[metrics.accuracy_per_watt]\nmargin = 0.03\n"
    accuracy = "[metrics.accuracy]\nmargin_points = 1\n"
    for text in (alone, alone + accuracy, alone + GOOD, alone + accuracy + "[metrics.latency_p50_s]\nmargin = 0.1\n"):
        with pytest.raises(UsageError, match="never accuracy_per_watt alone"):
            read(text)
    with pytest.raises(UsageError, match="never accuracy_per_watt alone"):
        read(alone + accuracy + GOOD + "gates = false\n")
    assert len(read(alone + accuracy + GOOD).rules) == 3


def test_each_workloads_metrics_are_known_with_their_direction() -> None:
    assert read("[metrics.lru_hit_rate]\nmargin = 0.1\n", "routing").rules[0].harm == "lower"
    assert read("[metrics.energy_per_step_j]\nmargin = 0.1\n", "train").rules[0].harm == "higher"
    for workload in ("routing", "train", "lm", "measure"):
        with pytest.raises(UsageError, match="no metric 'lru_hit_rat'"):
            read("[metrics.lru_hit_rat]\nmargin = 0.1\n", workload)


def test_intelligence_per_watt_of_tasks_never_gates_alone_either() -> None:
    alone = "[metrics.task_accuracy_per_watt]\nmargin = 0.03\n"
    beside = "[metrics.task_accuracy]\nmargin = 0.03\n[metrics.energy_per_task_j]\nmargin = 0.03\n"
    with pytest.raises(UsageError, match="never task_accuracy_per_watt alone"):
        read(alone, "agent")
    assert len(read(alone + beside, "agent").rules) == 3
