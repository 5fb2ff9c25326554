"""Many runs as one tidy data frame."""

# ruff: noqa: RUF001 - the sign between a model and its load is a multiplication sign
from __future__ import annotations

from pathlib import Path

import pytest
from reports.made_runs import make_run

import ipw
from ipw.errors import UsageError
from ipw.metrics.summary import summarize
from ipw.runs.directory import RunDir


def made(folder: Path, level: int) -> RunDir:
    workload = {"kind": "lm", "parameters": {"dataset": "bundled", "concurrency": level, "rate": None}}
    run = make_run(folder, f"run-{level}", manifest={"workload": workload, "model": {"name": "m"}})
    run.write_summary(summarize(run))
    return run


def test_runs_are_a_tidy_frame_a_row_a_run(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    for level in (1, 8):
        made(tmp_path, level)
    frame = ipw.load_runs(tmp_path)
    assert frame["run"].tolist() == ["m ×1", "m ×8"]
    assert frame["concurrency"].tolist() == [1, 8]
    assert (frame["energy_per_query_j_low"] < frame["energy_per_query_j"]).all()
    assert ipw.load_runs([tmp_path / "run-8"])["run"].tolist() == ["m"]
    named = ipw.load_runs({"ours": tmp_path / "run-8", "theirs": tmp_path / "run-1"})
    assert named.set_index("run")["concurrency"].to_dict() == {"ours": 8, "theirs": 1}


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    with pytest.raises(UsageError, match="not a run directory"):
        ipw.load_runs(tmp_path / "none")
    with pytest.raises(UsageError, match="no run was named"):
        ipw.load_runs([])
