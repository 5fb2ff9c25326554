"""Two stored runs to the digit: each change and its bounds by the formula, which questions count, and what is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports.made_runs import make_run

from ipw.errors import UsageError
from ipw.gate.compare import COMPARED, Both, compare, compare_metric, pair_queries
from ipw.metrics.definitions import Definition
from ipw.metrics.distributions import t_quantile
from ipw.metrics.paired_scores import difference_bounds
from ipw.metrics.summary import summarize
from ipw.runs.queries import from_records

TIME = next(each for each in COMPARED if each.name == "latency_mean_s")
ACCURACY = next(each for each in COMPARED if each.name == "accuracy")
PER_QUERY = next(each for each in COMPARED if each.name == "energy_per_query_j")
RATIO = Definition("ratio", "Ratio", "", "lower", "a by b", "a", "b")


def both(a: Sequence[float], b: Sequence[float], a2: Sequence[float], b2: Sequence[float]) -> Both:
    return Both({"a": np.array(a), "b": np.array(b)}, {"a": np.array(a2), "b": np.array(b2)}, 0)


def single(definition: Definition, base: Sequence[float], candidate: Sequence[float]) -> Both:
    ones = np.ones(len(base))
    return Both(
        {definition.numerator: np.array(base), definition.denominator: ones},
        {definition.numerator: np.array(candidate), definition.denominator: ones},
        0,
    )


def test_the_change_of_a_ratio_is_bounded_by_the_spread_of_its_linear_part() -> None:
    a, b, a2, b2 = [3.0, 5.0, 4.0, 6.0], [1.0, 2.0, 2.0, 1.0], [4.0, 6.0, 6.0, 6.0], [1.0, 2.0, 1.0, 1.0]
    row = compare_metric(RATIO, both(a, b, a2, b2), 0.03)
    assert (row["base"], row["candidate"], row["n"]) == (18 / 6, 22 / 5, 4)
    change = math.log((22 / 5) / 3)
    linear = np.array(a2) / 5.5 - np.array(b2) / 1.25 - np.array(a) / 4.5 + np.array(b) / 1.5
    half = t_quantile(0.025, 3) * math.sqrt(float(linear.var(ddof=1)) / 4 + 2 * 0.03**2)
    assert row["change"] == pytest.approx(math.exp(change) - 1)
    assert (row["low"], row["high"]) == pytest.approx((math.exp(change - half) - 1, math.exp(change + half) - 1))
    assert (row["kind"], row["start_sd"], row["reason"]) == ("ratio", 0.03, None)
    assert (row["metric"], row["label"], row["unit"], row["better"]) == ("ratio", "Ratio", "", "lower")


def test_without_a_calibration_the_questions_alone_bound_it() -> None:
    row = compare_metric(TIME, single(TIME, [1.0, 2.0], [2.0, 3.0]))
    linear = np.array([2 / 2.5 - 1 / 1.5, 3 / 2.5 - 2 / 1.5])
    half = t_quantile(0.025, 1) * math.sqrt(float(linear.var(ddof=1)) / 2)
    assert row["high"] == pytest.approx(5 / 3 * math.exp(half) - 1)


def test_one_question_has_a_change_and_no_bounds_and_two_have_both() -> None:
    row = compare_metric(TIME, single(TIME, [2.0], [3.0]))
    assert (row["change"], row["low"], row["high"], row["n"]) == (pytest.approx(0.5), None, None, 1)
    assert row["reason"] == "one question shows no spread"
    assert compare_metric(TIME, single(TIME, [2.0, 2.0], [3.0, 3.0]))["low"] == pytest.approx(0.5)


def test_a_question_counts_where_both_runs_know_both_parts() -> None:
    nan = math.nan
    parts = both([1, nan, 1, 1, 9], [1, 1, nan, 1, 3], [1, 1, 1, nan, 6], [1, 1, 1, 1, 3])
    row = compare_metric(RATIO, parts)
    assert (row["n"], row["base"], row["candidate"]) == (2, 10 / 4, 7 / 4)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (both([1, 1], [0, 0], [1, 1], [1, 1]), "nothing to divide by"),
        (both([1, 1], [1, 1], [1, 1], [0, 0]), "nothing to divide by"),
        (both([1, 1], [-1, -1], [1, 1], [1, 1]), "nothing to divide by"),
        (both([0, 0], [1, 1], [1, 1], [1, 1]), "a ratio to or of nothing is not a number"),
        (both([1, 1], [1, 1], [0, 0], [1, 1]), "a ratio to or of nothing is not a number"),
        (both([1, 1], [1, 1], [-2, 1], [1, 1]), "a ratio to or of nothing is not a number"),
        (both([math.nan], [1], [1], [1]), "no question has it in both runs"),
    ],
)
def test_what_makes_no_ratio_says_why(parts: Both, reason: str) -> None:
    row = compare_metric(RATIO, parts)
    assert (row["change"], row["low"], row["high"], row["reason"]) == (None, None, None, reason)


def test_energy_that_no_run_has_is_absent_for_their_reason_and_time_is_not() -> None:
    nothing = single(PER_QUERY, [math.nan], [math.nan])
    assert compare_metric(PER_QUERY, nothing, no_energy="no sensor")["reason"] == "no sensor"
    assert compare_metric(PER_QUERY, nothing)["reason"] == "no question has it in both runs"
    untimed = single(TIME, [math.nan], [math.nan])
    assert compare_metric(TIME, untimed, no_energy="no sensor")["reason"] == "no question has it in both runs"


def test_accuracy_is_a_difference_with_bounds_of_95_percent() -> None:
    base, candidate = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    row = compare_metric(ACCURACY, single(ACCURACY, base, candidate))
    assert (row["kind"], row["change"]) == ("difference", pytest.approx(1 / 6))
    assert (row["low"], row["high"]) == difference_bounds(np.array(candidate) - np.array(base), 0.025)
    none_right = compare_metric(ACCURACY, single(ACCURACY, [0.0, 0.0], [0.0, 0.0]))
    assert (none_right["change"], none_right["reason"]) == (0.0, None)


# --- which questions -------------------------------------------------------------------------------------------------


def asked(*rows: tuple[str, str, float]) -> Any:
    return from_records([
        {"query_id": name, "subject": subject, "status": "ok", "completion_tokens": tokens, "prompt_tokens": 1}
        for subject, name, tokens in rows
    ])  # fmt: skip


def test_a_question_is_its_subject_and_its_name_and_asked_again_it_is_its_mean() -> None:
    base = asked(("s", "b", 4), ("s", "a", 1), ("t", "a", 9), ("s", "a", 3), ("s", "gone", 7))
    candidate = asked(("t", "a", 90), ("s", "a", 20), ("s", "b", 40), ("s", "new", 5), ("u", "a", 6), ("s", "b", 44))
    found = pair_queries(base, candidate)
    assert found.base["completion_tokens"].tolist() == [2, 4, 9]
    assert found.candidate["completion_tokens"].tolist() == [20, 42, 90]
    assert found.left_out == 3


def test_runs_that_share_no_question_are_refused() -> None:
    with pytest.raises(UsageError, match="share no question"):
        pair_queries(asked(("s", "a", 1)), asked(("t", "a", 1)))


# --- what is told ----------------------------------------------------------------------------------------------------


def derived(folder: Path, name: str, checks: Sequence[Mapping[str, Any]] = (), **manifest: Any) -> Any:
    run = make_run(folder, name, readings=False, scores=(1.0, 0.0) * 4, manifest=manifest)
    run.write_summary(summarize(run) | {"validity": list(checks)})
    return run


def test_a_comparison_tells_who_was_compared_and_what_to_mind_of_each(tmp_path: Path) -> None:
    wrong = {"check": "losses", "ok": False, "detail": "a fifth", "level": "error"}
    mild = {"check": "largest gap", "ok": False, "detail": "2 s", "level": "warning"}
    fine = {"check": "sensors", "ok": True, "detail": "", "level": "error"}
    questions = {"check": "questions", "ok": False, "detail": "3 of 8 failed", "level": "warning"}
    base = derived(tmp_path, "run-a", [wrong, mild, fine])
    candidate = derived(tmp_path, "run-b", [questions])
    found = compare(base, candidate)
    assert found["notes"] == [
        "base: not valid: losses: a fifth",
        "candidate: questions: 3 of 8 failed",
        "one run each: what differs between starts of the same server is not seen; `ipw calibrate` measures it",
    ]
    assert (found["schema_version"], found["basis"], found["paired_by"], found["left_out"]) == (1, "gpu", "query_id", 0)
    assert [(found[arm]["run_id"], found[arm]["model"]) for arm in ("base", "candidate")] == [
        ("run-a", "a"),
        ("run-b", "b"),
    ]
    assert [row["metric"] for row in found["rows"]] == [each.name for each in COMPARED]


def test_each_run_has_its_own_marks(tmp_path: Path) -> None:
    base, candidate = derived(tmp_path, "run-a"), derived(tmp_path, "run-b", status="interrupted")
    base.write_summary(summarize(base) | {"valid": True})
    candidate.write_summary(summarize(candidate) | {"valid": False})
    found = compare(base, candidate)
    assert found["base"]["marks"] == []
    assert found["candidate"]["marks"] == ["interrupted", "not valid"]
    assert "candidate: interrupted" in found["notes"]


def test_another_device_is_told_since_its_gain_does_not_cancel(tmp_path: Path) -> None:
    one, two, other = (derived(tmp_path, f"run-{name}") for name in ("a", "b", "c"))
    manifest = other.manifest()
    sensors = [dict(manifest["sensors"][0], device="Test GPU GPU-2"), manifest["sensors"][1]]
    other.write_manifest(manifest | {"sensors": sensors})
    told = "different devices: the gain of their sensors does not cancel"
    assert told in compare(one, other)["notes"]
    assert told not in compare(one, two)["notes"]
    unused = dict(manifest["sensors"][1], device="another")
    two.write_manifest(two.manifest() | {"sensors": [manifest["sensors"][0], unused]})
    assert told not in compare(one, two)["notes"]


def test_a_calibrated_metric_is_widened_and_the_others_are_not(tmp_path: Path) -> None:
    run = derived(tmp_path, "run-a")
    rows = {row["metric"]: row["start_sd"] for row in compare(run, run, {"latency_mean_s": 0.01})["rows"]}
    assert rows["latency_mean_s"] == 0.01
    assert set(rows.values()) == {None, 0.01}


def test_runs_of_two_bases_say_which(tmp_path: Path) -> None:
    one, other = derived(tmp_path, "run-a"), derived(tmp_path, "run-b", basis=None)
    with pytest.raises(UsageError) as error:
        compare(one, other)
    assert error.value.message == "the runs differ in basis: gpu and none"
    assert error.value.hint == "measure both with the same --sensors"
