from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path

import pytest
from reports.made_runs import make_run

from ipw.errors import UsageError
from ipw.gate.comparable import observe
from ipw.gate.document import gate_document
from ipw.gate.family import decide
from ipw.gate.judging import check_metrics, judge_rules, log_ratios, paired_scores
from ipw.gate.observed import ArmName, Observed
from ipw.gate.policy import Rule
from ipw.metrics.summary import summarize

ENERGY = Rule("energy_per_query_j", 0.03, "higher")
ACCURACY = Rule("accuracy", 0.05, "lower")


def one(folder: Path, arm: ArmName, pair: int, power_w: float = 20.0, right: float = 1.0) -> Observed:
    run = make_run(
        folder, f"{arm}-{pair}", scores=[1.0] * int(60 * right) + [0.0] * (60 - int(60 * right)), power_w=power_w
    )
    run.write_summary(summarize(run))
    return observe(run, arm, pair, pair // 2)


@pytest.fixture(scope="module")
def hungrier(tmp_path_factory: pytest.TempPathFactory) -> list[Observed]:
    """Four pairs in two starts, the candidate at 10 % more watts and a third of the answers wrong."""
    folder = tmp_path_factory.mktemp("runs")
    watts = {0: 20.0, 1: 20.2, 2: 19.9, 3: 20.1}
    base = [one(folder, "base", pair, power) for pair, power in watts.items()]
    candidate = [one(folder, "candidate", pair, 22.0, 2 / 3) for pair in watts]
    return [candidate[1], base[1], *base[2:], *candidate[2:], candidate[0], base[0]]


def test_ratios_are_paired_in_running_order_however_the_arms_took_turns(hungrier: list[Observed]) -> None:
    found = log_ratios(hungrier, "energy_per_query_j")
    assert found is not None
    assert found[0] == pytest.approx([log(22.0 / watts) for watts in (20.0, 20.2, 19.9, 20.1)])
    assert found[1] == [0, 0, 1, 1]


def test_scores_are_paired_by_question(hungrier: list[Observed]) -> None:
    base, candidate = paired_scores(hungrier)
    assert (len(base), base.mean(), candidate.mean()) == (60, 1.0, pytest.approx(2 / 3))


def test_each_rule_gets_the_verdict_that_its_metric_deserves(hungrier: list[Observed]) -> None:
    rules = [ENERGY, ACCURACY, Rule("latency_p50_s", 0.1, "higher", gates=False)]
    verdicts = judge_rules(hungrier, rules, {}, 0.05)
    assert {name: verdict.verdict for name, verdict in verdicts.items()} == {
        "energy_per_query_j": "regressed", "accuracy": "regressed", "latency_p50_s": "ok"
    }  # fmt: skip
    decision = decide(verdicts, gating=["energy_per_query_j", "accuracy"])
    document = gate_document(hungrier, rules, [], decision, case="c", facts={})
    energy, accuracy, latency = document["metrics"]
    assert (document["verdict"], document["exit_code"], document["family"]) == ("regressed", 1, 2)
    assert energy["change"] == pytest.approx(0.0975, abs=0.002)
    assert accuracy["change"] == pytest.approx(-1 / 3)
    assert (latency["gates"], latency["log_ratios"]) == (False, pytest.approx([0.0] * 4))


def test_a_metric_that_one_run_lacks_has_no_ratio_and_is_invalid_with_the_reason(hungrier: list[Observed]) -> None:
    assert check_metrics(hungrier, [ENERGY, ACCURACY])["ok"]
    metrics = hungrier[0].summary["metrics"]
    lacking = metrics | {"energy_per_query_j": {"value": None, "reason": "below resolution"}}
    broken = [replace(hungrier[0], summary={"metrics": lacking}), *hungrier[1:]]
    check = check_metrics(broken, [ENERGY])
    assert (check["ok"], check["level"]) == (False, "error")
    assert check["detail"] == "candidate 2: energy_per_query_j: below resolution"
    assert log_ratios(broken, "energy_per_query_j") is None
    zero = metrics | {"energy_per_query_j": {"value": 0.0}}
    assert not check_metrics([replace(hungrier[0], summary={"metrics": zero}), *hungrier[1:]], [ENERGY])["ok"]


@pytest.mark.parametrize(("value", "ratio"), [(0.25, True), (1.0, True), (0.0, False), (-1.0, False), (None, False)])
def test_any_positive_number_makes_a_ratio_however_small_and_nothing_else_does(
    hungrier: list[Observed], value: float | None, *, ratio: bool
) -> None:
    def of(each: Observed) -> Observed:
        energy = {"energy_per_query_j": {"value": value, "reason": "no sensor"}}
        return replace(each, summary={"metrics": each.summary["metrics"] | energy})

    for changed in ("base", "candidate"):
        runs = [of(each) if each.arm == changed else each for each in hungrier]
        assert (log_ratios(runs, "energy_per_query_j") is not None) == ratio
        assert check_metrics(runs, [ENERGY])["ok"] == ratio


def test_of_many_faults_three_are_told_and_the_others_counted(hungrier: list[Observed]) -> None:
    lacking = {"metrics": {"energy_per_query_j": {"value": None}, "accuracy": {"value": 0.0}}}
    check = check_metrics([replace(each, summary=lacking) for each in hungrier], [ENERGY, ACCURACY])
    assert check["detail"].count("absent") == 3
    assert check["detail"].endswith("; 5 more")
    three = [replace(each, summary=lacking) for each in hungrier[:3]]
    assert "more" not in check_metrics([*three, *hungrier[3:]], [ENERGY])["detail"]


def test_a_metric_that_no_such_run_has_is_wrong_usage_with_the_nearest_name(hungrier: list[Observed]) -> None:
    with pytest.raises(UsageError) as error:
        check_metrics(hungrier, [Rule("energy_per_qery_j", 0.1, "higher")])
    assert "energy_per_query_j" in str(error.value.hint)
