"""From runs to ratios, scores and the document: which number comes from which run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ipw.gate.accuracy import judge_accuracy
from ipw.gate.document import gate_document
from ipw.gate.family import Decision
from ipw.gate.judging import check_metrics, judge_rules, log_ratios, paired_scores, values
from ipw.gate.observed import ArmName, Observed
from ipw.gate.policy import Rule
from ipw.gate.verdict import judge
from ipw.runs.queries import from_records

ENERGY = Rule("energy_j", 0.03, "higher")


def run(
    arm: ArmName, pair: int, value: float | None = 1.0, *, start: int = 0, scores: Mapping[str, Any] | None = None
) -> Observed:
    rows = [{"query_id": name, "status": "ok", "score": score} for name, score in (scores or {"q": 1.0}).items()]
    summary = {"metrics": {"energy_j": {"value": value}}}
    return Observed(arm, pair, start, f"/{arm}{pair}", {"basis": "gpu"}, summary, from_records(rows), {}, {})


def test_values_of_an_arm_come_by_pair() -> None:
    observed = [run("base", 2, 3.0), run("candidate", 0, 9.0), run("base", 0, 1.0), run("base", 1, None)]
    assert values(observed, "base", "energy_j") == [1.0, None, 3.0]
    assert values(observed, "candidate", "energy_j") == [9.0]
    assert values(observed, "candidate", "other") == [None]


def test_a_ratio_is_the_candidate_over_the_base_of_its_pair_with_the_start_of_its_base() -> None:
    observed = [run("candidate", 1, 6.0, start=7), run("base", 1, 3.0, start=7), run("base", 0, 4.0, start=5)]
    observed += [run("candidate", 0, 1.0, start=5)]
    assert log_ratios(observed, "energy_j") == ([math.log(1 / 4), math.log(2)], [5, 7])
    assert log_ratios([], "energy_j") is None


@pytest.mark.parametrize("bad", [0.0, -1.0, None, math.nan])
def test_one_value_that_makes_no_ratio_leaves_none(bad: float | None) -> None:
    whole = [run("base", 0), run("candidate", 0), run("base", 1), run("candidate", 1)]
    for at in range(4):
        broken = [*whole[:at], run(whole[at].arm, whole[at].pair, bad), *whole[at + 1 :]]
        assert log_ratios(broken, "energy_j") is None


def test_a_fault_of_a_metric_names_run_metric_and_value() -> None:
    check = check_metrics([run("base", 0, -2.5), run("candidate", 1, None)], [ENERGY])
    assert check["detail"] == "base 1: energy_j is -2.5, which makes no ratio; candidate 2: energy_j: absent"
    assert check_metrics([run("base", 0)], [ENERGY]) == {
        "check": "metrics", "ok": True, "detail": "in every run", "level": "error"
    }  # fmt: skip
    nothing_right = replace(run("base", 0), summary={"metrics": {"accuracy": {"value": 0.0}}})
    assert check_metrics([nothing_right], [Rule("accuracy", 0.01, "lower")])["ok"]


def test_a_question_that_was_asked_in_several_runs_of_an_arm_has_their_mean() -> None:
    observed = [
        run("base", 0, scores={"a": 1.0, "b": 0.0, "only base": 1.0}),
        run("base", 1, scores={"a": 0.0, "b": 0.5}),
        run("candidate", 0, scores={"b": 1.0, "a": 0.25, "only candidate": 1.0}),
        run("candidate", 1, scores={"b": None, "a": None}),
    ]
    base, candidate = paired_scores(observed)
    assert (base.tolist(), candidate.tolist()) == ([0.5, 0.25], [0.25, 1.0])


def test_a_rule_is_judged_with_its_margin_its_calibration_and_alpha() -> None:
    logs, start = [0.01, 0.05, 0.03, 0.04], [0, 0, 1, 1]
    observed = [run("base", pair, 1.0, start=start[pair]) for pair in range(4)]
    observed += [run("candidate", pair, math.exp(logs[pair]), start=start[pair]) for pair in range(4)]
    for known, sd in (({}, 0.0), ({"energy_j": 0.02}, 0.02)):
        found = judge_rules(observed, [ENERGY], known, 0.1)["energy_j"]
        exact = judge(logs, start, margin=0.03, start_sd=sd, alpha=0.1)
        assert (found.low, found.p_regressed, found.df) == pytest.approx((exact.low, exact.p_regressed, exact.df))
    lower = judge_rules(observed, [replace(ENERGY, harm="lower")], {}, 0.1)["energy_j"]
    assert lower.verdict == "ok"


def test_accuracy_is_judged_with_its_margin_in_points() -> None:
    right, wrong = {f"q{i}": 1.0 for i in range(100)}, {f"q{i}": float(i >= 6) for i in range(100)}
    observed = [run("base", 0, scores=right), run("candidate", 0, scores=wrong)]
    verdicts = {m: judge_rules(observed, [Rule("accuracy", m, "lower")], {}, 0.05)["accuracy"] for m in (0.02, 0.2)}
    assert {margin: verdict.verdict for margin, verdict in verdicts.items()} == {0.02: "regressed", 0.2: "ok"}
    assert verdicts[0.02].n == 100
    scores = np.array([*right.values()]), np.array([*wrong.values()])
    assert verdicts[0.02] == judge_accuracy(*scores, margin_points=2, alpha=0.05)


# --- the document ----------------------------------------------------------------------------------------------------


def test_a_document_says_who_was_measured_where_and_how_often() -> None:
    host = {"name": "bench", "cpu": "c", "threads": 8, "system": "Linux", "secret": "x"}
    observed = [replace(run("base", 0, 2.0, start=4), manifest={"basis": "estimate", "host": host})]
    observed += [run("candidate", 0, 3.0, start=4), run("base", 1, 4.0, start=5), run("candidate", 1, None, start=5)]
    found = gate_document(observed, [ENERGY, Rule("duration_s", 0.1, "higher")], [], None, case="c", facts={"seed": 3})
    assert (found["schema_version"], found["pairs"], found["starts"], found["seed"]) == (1, 2, 2, 3)
    assert (found["basis"], found["estimated"], found["verdict"], found["exit_code"]) == (
        "estimate",
        True,
        "invalid",
        4,
    )
    assert found["host"] == {"name": "bench", "cpu": "c", "threads": 8, "system": "Linux"}
    assert found["runs"][3] == {"arm": "candidate", "pair": 1, "start": 5, "run": "/candidate1"}
    energy, duration = found["metrics"]
    assert (energy["base"], energy["candidate"], energy["log_ratios"]) == (3.0, 3.0, None)
    assert (energy["estimated"], duration["estimated"]) == (True, False)
    assert (duration["base"], duration["label"], duration["unit"]) == (None, "Duration", "s")


def test_a_document_takes_verdict_family_and_adjusted_p_from_the_decision() -> None:
    observed = [run(arm, pair, 2.0 + pair) for pair in (0, 1) for arm in ("base", "candidate")]
    verdict = judge([0.0, 0.0], [0, 1], margin=0.03)
    decision = Decision("ok", {"energy_j": verdict}, {"energy_j": 0.125}, 9)
    found = gate_document(observed, [ENERGY], [], decision, case="c", facts={})
    assert (found["verdict"], found["exit_code"], found["family"], found["error"]) == ("ok", 0, 9, None)
    (entry,) = found["metrics"]
    assert (entry["verdict"], entry["p_adjusted"], entry["log_ratios"]) == (verdict.verdict, 0.125, [0.0, 0.0])
    assert (entry["change"], entry["n"], entry["margin"], entry["reason"]) == (0.0, 2, 0.03, verdict.reason)
    assert (entry["low"], entry["high"]) == pytest.approx((math.expm1(verdict.low or 0), math.expm1(verdict.high or 0)))
    failed = gate_document(observed, [ENERGY], [], decision, case="c", facts={}, error="it broke")
    assert (failed["verdict"], failed["exit_code"], failed["error"]) == ("failed", 5, "it broke")


def test_a_metric_of_another_workload_is_its_own_label_and_has_no_unit() -> None:
    found = gate_document(
        [run("base", 0), run("candidate", 0)], [Rule("srp_16", 0.1, "lower")], [], None, case="c", facts={}
    )
    (entry,) = found["metrics"]
    assert (entry["label"], entry["unit"], entry["better"], entry["estimated"]) == ("srp_16", "", "higher", False)
    assert found["estimated"] is False
