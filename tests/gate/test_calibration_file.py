"""A calibration in a file: what of it is for this runner, this workload and this basis, and what it allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipw.errors import UsageError
from ipw.gate.calibration import UNCALIBRATED, Calibrated, calibrated, levels, read_jobs, runner, write_jobs
from ipw.gate.noise import Noise, noise, smallest_effect
from ipw.gate.policy import Policy, Rule

RATIOS = [0.01, 0.03, 0.05, 0.07, -0.02, 0.02]
STARTS = [0, 0, 1, 1, 2, 2]


def job(*metrics: str, **changes: Any) -> dict[str, Any]:
    entries = {name: {"log_ratio": RATIOS, "start": STARTS} for name in metrics or ("energy_j",)}
    about = {"created": "2026-01-02T03:04:05Z", "runner": runner(), "workload": "lm", "basis": "gpu"}
    return about | {"metrics": entries} | changes


def policy(margin: float) -> Policy:
    return Policy(0.05, (Rule("energy_j", margin, "higher"),), frozenset(), frozenset())


def test_what_was_written_is_read_again_and_where_nothing_was_there_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "calibration.json"
    assert read_jobs(path) == []
    write_jobs(path, [job(), job("latency_p50_s")])
    assert read_jobs(path) == [job(), job("latency_p50_s")]


def test_metrics_that_every_job_has_are_split_by_start_and_job() -> None:
    found = levels([job("energy_j", "latency_p50_s"), job("energy_j")])
    assert found == {"energy_j": noise(RATIOS * 2, STARTS * 2, [0] * 6 + [1] * 6)}
    assert found["energy_j"].jobs == 2
    assert levels([]) == {}


def test_jobs_of_another_runner_workload_or_basis_are_left_out_and_the_last_ones_basis_counts(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    others = [job(runner={"cpu": "another"}), job(workload="train"), job(basis="estimate")]
    write_jobs(path, [*others, job(created="first"), job(created="last"), job(workload="train", basis="wall")])
    found = calibrated(path, "lm")
    assert found.facts == {"path": str(path), "jobs": 2, "created": "last", "basis": "gpu"}
    assert (found.basis, found.notes) == ("gpu", ())
    assert found.noise["energy_j"].pairs == 12
    known = found.noise["energy_j"].start_sd_high
    assert known is not None
    assert found.start_sd == {"energy_j": known}


def test_a_runner_that_was_never_calibrated_is_told_and_refuses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_jobs(path, [job(workload="train")])
    found = calibrated(path, "lm")
    assert (dict(found.noise), found.basis, found.facts, found.notes) == ({}, None, None, (UNCALIBRATED,))
    found.refuse_margins(policy(1e-9), pairs=2, starts=1)
    found.check_basis("whatever")
    assert found.start_sd == {}


def test_what_one_start_could_not_show_is_not_known() -> None:
    found = Calibrated({"a": Noise(0.1, None, None, None, 3, 1, 1)}, "gpu", {}, ())
    assert found.start_sd == {}


@pytest.mark.parametrize(("pairs", "starts"), [(9, 3), (2, 5)])
def test_a_margin_below_what_the_pairs_can_see_is_refused_and_one_above_is_not(pairs: int, starts: int) -> None:
    spread = noise(RATIOS, STARTS, [0] * 6)
    least = smallest_effect(spread, pairs=pairs, starts=min(pairs, starts))
    found = Calibrated({"energy_j": spread, "accuracy": Noise(None, None, None, None, 1, 1, 1)}, "gpu", {}, ())
    found.refuse_margins(policy(1.001 * least), pairs=pairs, starts=starts)
    with pytest.raises(UsageError, match=f"that {pairs} pairs can see") as told:
        found.refuse_margins(policy(0.999 * least), pairs=pairs, starts=starts)
    assert f"margin = {least:.2g}" in str(told.value.hint)
    assert f"{100 * least:.2g} %" in told.value.message


def test_runs_of_another_basis_than_was_calibrated_are_refused() -> None:
    found = Calibrated({}, "gpu", {"path": "x"}, ())
    found.check_basis("gpu")
    with pytest.raises(UsageError, match="of basis gpu, these runs are of basis wall"):
        found.check_basis("wall")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"schema_version": 2, "jobs": []}',
        '{"schema_version": 1}',
        '{"schema_version": 1, "jobs": [{"metrics": {"a": {"log_ratio": [0.1, 0.2], "start": [0]}}}]}',
        '{"schema_version": 1, "jobs": [{"metrics": {"a": {"log_ratio": [], "start": []}}}]}',
    ],
)
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        read_jobs(path)
