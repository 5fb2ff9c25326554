"""A run whose files say different things, in front of everything that reads runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from doubles.openai_server import Behaviour, serving

import ipw
from ipw.gate.comparable import check_session, invalid, observe
from ipw.runs.directory import RunDir


def run_ipw(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ipw.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two halves of one data set, of the same model."""
    folder = tmp_path_factory.mktemp("measured")
    rows = [{"id": f"q{i}", "prompt": f"say {i}", "answer": f"say {i}" if i % 3 else "no"} for i in range(12)]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(lambda request: Behaviour([request.prompt])) as server:
        for half in ("1/2", "2/2"):
            given = (
                "--base-url",
                server.url,
                "--dataset",
                folder / "q.jsonl",
                "--out",
                folder / "runs",
                "--shard",
                half,
            )
            done = run_ipw("run", "lm", *given, "--idle", "0.1", "--warmup", "0", "--sensors", "estimate")
            assert done.returncode == 0, done.stderr
    return sorted((folder / "runs").iterdir())


def another_table(run: Path, other: Path) -> None:
    shutil.copy(other / "queries.parquet", run / "queries.parquet")


def better_table(run: Path, _: Path) -> None:
    table = pq.read_table(run / "queries.parquet")
    place = table.column_names.index("score")
    pq.write_table(table.set_column(place, "score", [[1.0] * table.num_rows]), run / "queries.parquet")


def another_journal(run: Path, other: Path) -> None:
    shutil.copy(other / "journal.jsonl", run / "journal.jsonl")


def other_readings(run: Path, other: Path) -> None:
    shutil.copy(other / "power.parquet", run / "power.parquet")


def no_journal(run: Path, _: Path) -> None:
    (run / "journal.jsonl").unlink()


def half_a_journal(run: Path, _: Path) -> None:
    whole = (run / "journal.jsonl").read_bytes()
    (run / "journal.jsonl").write_bytes(whole[: len(whole) // 2])


@pytest.fixture(params=[another_table, better_table, another_journal, other_readings, no_journal, half_a_journal])
def damaged(request: pytest.FixtureRequest, measured: list[Path], tmp_path: Path) -> tuple[Path, Path]:
    """A run of which something was exchanged, and one that is whole."""
    one, other = (Path(shutil.copytree(run, tmp_path / name)) for run, name in zip(measured, "ab", strict=True))
    change: Callable[[Path, Path], None] = request.param
    change(one, other)
    return one, other


def test_a_report_of_it_is_not_valid(damaged: tuple[Path, Path]) -> None:
    told = run_ipw("report", damaged[0], "--strict", "--json")
    assert told.returncode == 4, told.stderr
    summary = json.loads(told.stdout)
    assert summary["valid"] is False
    assert [check for check in summary["validity"] if check["check"] == "record" and check["level"] == "error"]
    assert "record" in (damaged[0] / "report.html").read_text()


def test_opening_it_in_python_warns(damaged: tuple[Path, Path]) -> None:
    with pytest.warns(UserWarning, match="is not valid: ") as warned:
        run = ipw.load_run(damaged[0])
    assert warned[0].filename == __file__
    assert run.summary["valid"] is False


def test_a_gate_refuses_it(damaged: tuple[Path, Path]) -> None:
    base, candidate = map(RunDir.open, damaged)
    observed = [observe(base, "base", 0, 0), observe(candidate, "candidate", 0, 0)]
    (refused,) = [check for check in invalid(check_session(observed)) if check["check"] == "measurement"]
    assert "base 1: record: " in refused["detail"]


@pytest.mark.parametrize("change", [another_journal, no_journal, half_a_journal, other_readings])
def test_it_is_not_merged(change: Callable[[Path, Path], None], measured: list[Path], tmp_path: Path) -> None:
    one, other = (Path(shutil.copytree(run, tmp_path / name)) for run, name in zip(measured, "ab", strict=True))
    change(one, other)
    told = run_ipw("merge", one, other, "--mismatched", "--out", tmp_path / "out")
    assert told.returncode == 5
    assert f"the record of {one} cannot be believed" in told.stderr
    assert not (tmp_path / "out").exists()


def test_a_comparison_with_it_is_shown_and_not_believed(measured: list[Path], tmp_path: Path) -> None:
    one = Path(shutil.copytree(measured[0], tmp_path / "a"))
    better_table(one, one)
    told = run_ipw("compare", one, measured[0])
    assert told.returncode == 4
    assert "Accuracy" in told.stdout
    assert "queries.parquet is not the one that the summary was made with" in told.stderr


def test_runs_that_are_whole_are_merged_compared_and_opened_without_a_word(
    measured: list[Path], tmp_path: Path
) -> None:
    merged = run_ipw("merge", *measured, "--out", tmp_path, "--strict", "--json")
    assert merged.returncode == 0, merged.stderr
    run = ipw.load_run(json.loads(merged.stdout)["run"])
    assert run.summary["valid"]
    assert run_ipw("report", run.path, "--recompute", "--strict").returncode == 0
    assert run_ipw("compare", run.path, measured[0]).returncode == 0


def test_what_was_exchanged_and_derived_again_is_told_too(measured: list[Path], tmp_path: Path) -> None:
    one = Path(shutil.copytree(measured[0], tmp_path / "a"))
    another_journal(one, measured[1])
    assert run_ipw("report", one, "--recompute", "--strict").returncode == 4
