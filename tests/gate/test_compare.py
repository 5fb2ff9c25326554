"""Two stored runs side by side: the same questions, ratios that are right, and intervals that hold them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports.made_runs import make_run

from ipw.errors import UsageError
from ipw.gate.compare import compare
from ipw.runs.directory import RunDir

N = 120


def row(found: dict[str, Any], metric: str) -> dict[str, Any]:
    return next(each for each in found["rows"] if each["metric"] == metric)


def uneven(seed: int) -> list[float]:
    return list(np.random.default_rng(seed).uniform(0.2, 1.0, N))


def test_a_run_compared_with_itself_changed_by_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, readings=False, latency_s=uneven(1))
    found = compare(run, run)
    assert found["questions"] == N
    for each in found["rows"]:
        assert each["change"] == pytest.approx(0)
        assert each["low"] <= 0 <= each["high"]
    assert row(found, "energy_per_query_j")["high"] < 1e-9
    assert any("not seen" in note for note in found["notes"])


def test_pairing_sees_through_questions_that_differ_much_more_than_the_runs(tmp_path: Path) -> None:
    times = uneven(2)
    noise = 1 + 0.01 * np.random.default_rng(3).standard_normal(N)
    a = make_run(tmp_path, "run-a", readings=False, latency_s=times)
    b = make_run(tmp_path, "run-b", readings=False, latency_s=list(1.05 * np.array(times) * noise))
    found = row(compare(a, b), "energy_per_query_j")
    assert found["change"] == pytest.approx(0.05, abs=0.005)
    assert 0.04 < found["low"] < 0.05 < found["high"] < 0.06
    assert row(compare(a, b), "latency_mean_s")["change"] == pytest.approx(0.05, abs=0.005)


def test_a_calibration_widens_intervals_by_what_lies_between_starts(tmp_path: Path) -> None:
    run = make_run(tmp_path, readings=False)
    found = row(compare(run, run, {"energy_per_query_j": 0.01}), "energy_per_query_j")
    assert found["high"] == pytest.approx(math.expm1(1.98 * math.sqrt(2) * 0.01), rel=0.01)
    assert not any("not seen" in note for note in compare(run, run, {"energy_per_query_j": 0.01})["notes"])


def test_accuracy_is_compared_question_by_question_in_points(tmp_path: Path) -> None:
    a = make_run(tmp_path, "run-a", readings=False, scores=[1.0] * N)
    b = make_run(tmp_path, "run-b", readings=False, scores=[0.0] * 6 + [1.0] * (N - 6))
    found = row(compare(a, b), "accuracy")
    assert found["kind"] == "difference"
    assert found["change"] == pytest.approx(-0.05)
    assert found["low"] < -0.05 < found["high"] < 0


def test_only_questions_of_both_runs_count_in_any_order(tmp_path: Path) -> None:
    a = make_run(tmp_path, "run-a", readings=False, latency_s=[1.0, 2.0, 3.0, 4.0], scores=[1.0] * 4)
    ids, subjects = ["q3", "q2", "q1", "new"], ["add", "max", "sort", "add"]
    b = make_run(tmp_path, "run-b", readings=False, latency_s=[4.0, 3.0, 2.0, 9.0], scores=[1.0] * 4,
                 columns={"query_id": ids, "subject": subjects})  # fmt: skip
    found = compare(a, b)
    assert (found["questions"], found["left_out"]) == (3, 2)
    assert row(found, "latency_mean_s")["change"] == pytest.approx(0)


def test_energy_that_was_not_measured_is_absent_with_its_reason(tmp_path: Path) -> None:
    columns = ("energy_j", "energy_low_j", "energy_high_j", "power_w", "prefill_energy_j", "decode_energy_j")
    nothing: dict[str, Any] = {name: [None] * N for name in columns}
    lost: dict[str, Any] = {"basis": None, "basis_reason": "no sensor", "method": None, "attribution": None}
    lost["sensors"] = []
    runs = [make_run(tmp_path, name, readings=False, columns=nothing, manifest=lost) for name in ("run-a", "run-b")]
    found = compare(runs[0], runs[1])
    assert row(found, "energy_per_query_j")["change"] is None
    assert row(found, "energy_per_query_j")["reason"] == "no sensor"
    assert row(found, "latency_mean_s")["change"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"manifest": {"basis": "package"}}, "differ in basis"),
        ({"manifest": {"workload": {"kind": "lm", "parameters": {"dataset": "other"}}}}, "different data sets"),
        ({"columns": {"query_id": [f"x{i}" for i in range(N)]}}, "share no question"),
    ],
)
def test_runs_that_cannot_stand_side_by_side_are_refused(tmp_path: Path, other: dict[str, Any], words: str) -> None:
    a, b = make_run(tmp_path, "run-a", readings=False), make_run(tmp_path, "run-b", readings=False, **other)
    with pytest.raises(UsageError, match=words):
        compare(a, b)


def test_a_run_without_queries_and_one_with_a_damaged_table_are_refused(tmp_path: Path) -> None:
    whole, empty, damaged = (make_run(tmp_path, name, readings=False) for name in ("run-a", "run-b", "run-c"))
    (empty.path / "queries.parquet").unlink()
    (damaged.path / "queries.parquet").write_bytes(b"not a table")
    with pytest.raises(UsageError, match="holds no queries"):
        compare(whole, RunDir.open(empty.path))
    with pytest.raises(UsageError, match="cannot be read"):
        compare(whole, RunDir.open(damaged.path))


def test_a_ratio_to_nothing_is_absent_with_its_reason(tmp_path: Path) -> None:
    a = make_run(tmp_path, "run-a", readings=False, columns={"energy_j": [0.0] * N})
    b = make_run(tmp_path, "run-b", readings=False)
    found = row(compare(a, b), "energy_per_query_j")
    assert (found["change"], found["base"]) == (None, 0.0)
    assert found["reason"] == "a ratio to or of nothing is not a number"
