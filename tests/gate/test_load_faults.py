"""Others' work beside a comparison: from which share on it is told, of which run, and of which pair."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ipw.gate.load import load_faults, told_only
from ipw.gate.observed import ArmName, Observed
from ipw.gate.policy import Rule
from ipw.runs.queries import Queries


def run(arm: ArmName, pair: int, share: float | None, method: str = "counter", *, crowded: bool = False) -> Observed:
    load = {} if share is None else {"other_load": {"share": share, "crowded": crowded}}
    nothing = cast("Queries", SimpleNamespace())
    return Observed(arm, pair, 0, "", {}, {"method": method, **load}, nothing, {}, {})


def told(*runs: Observed) -> list[str]:
    return list(load_faults(runs))


def test_a_run_of_which_others_hold_more_than_a_twentieth_is_told_with_the_share() -> None:
    assert told(run("base", 0, 0.05), run("candidate", 0, 0.05)) == []
    assert told(run("base", 1, 0.12), run("candidate", 1, 0.1)) == [
        "base 2: others hold about 12 % of its joules",
        "candidate 2: others hold about 10 % of its joules",
    ]


def test_of_an_estimate_only_what_differs_within_a_pair_counts() -> None:
    alike = [run(arm, 0, 0.4, "model_estimate") for arm in ("base", "candidate")]
    assert told(*alike) == []
    apart = [run("base", 2, 0.4, "model_estimate"), run("candidate", 2, 0.34, "model_estimate")]
    assert told(*apart) == ["pair 3: others hold about 40 % of the base's joules and 34 % of the candidate's"]
    assert told(apart[1], run("base", 2, 0.38, "model_estimate")) == []


def test_pairs_are_told_in_order_and_half_a_pair_says_nothing() -> None:
    found = told(
        run("candidate", 1, 0.0, "model_estimate", crowded=True),
        run("base", 1, 0.0, "model_estimate"),
        run("base", 0, 0.0, "model_estimate", crowded=True),
        run("candidate", 0, 0.0, "model_estimate"),
        run("base", 2, 0.0, "model_estimate", crowded=True),
        run("candidate", 2, None),
    )
    assert found == [f"pair {pair}: others filled the CPUs beside one arm only" for pair in (1, 2)]


def test_what_was_not_looked_at_is_no_load() -> None:
    assert told(run("base", 0, None), run("candidate", 0, None)) == []


@pytest.mark.parametrize(
    ("metrics", "only"),
    [
        (["accuracy"], True),
        (["accuracy", "output_tokens"], True),
        (["accuracy", "energy_j"], False),
        (["latency_p50_s"], False),
        (["accuracy_per_watt"], False),
    ],
)
def test_other_work_is_told_only_where_no_rule_is_about_what_it_costs(metrics: list[str], *, only: bool) -> None:
    rules: list[Any] = [Rule(name, 0.1, "lower") for name in metrics]
    assert told_only(rules) == (frozenset({"other load"}) if only else frozenset())
