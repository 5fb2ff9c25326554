"""Runs of every version of the run directory, as their own code left them, and the page that says what is in one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import run_directory_page

import ipw
from ipw.errors import UsageError
from ipw.pipeline import derive
from ipw.runs.checks.record import NO_DIGESTS
from ipw.runs.contents import COLUMNS, FILES, MANIFEST_ENTRIES, READING_FIELDS, SUMMARY_ENTRIES
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import KINDS
from ipw.runs.readings import RECORD_FIELDS
from ipw.runs.schema import HISTORY, MIGRATIONS, SCHEMA_VERSION

FIRST = Path(__file__).parent / "version-1"
"""Written by the last code that wrote version 1."""
ENDED = ("command", "lm", "resumed", "routing", "train")
ROUNDING = 1e-14
"""Sums may be taken in another order than then."""
SHORT_Z95 = 1e-8
"""Version 1 took 1.959964 for the normal quantile in one place."""
ROUGH_T = 1e-4
"""The first version took Student's t from a series, which is off by so little at the nine degrees of batch means."""
FLOOR = {"idle_power_w": 2e-3, "net_energy_j": 0.02}
"""Where idle power was steady it was the median of ten parts, and is a line through all knots now: less uncertain."""
TOLD = ("value", "low", "high", "unit", "n", "method", "reason")


def names(entries: Mapping[str, str]) -> set[str]:
    return {name for names in entries for name in names.split(", ")}


def copied(name: str, tmp_path: Path) -> RunDir:
    return RunDir.open(Path(shutil.copytree(FIRST / name, tmp_path / name)))


def stored(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIRST / name / "summary.json").read_bytes())
    return found


@pytest.mark.parametrize("name", ENDED)
def test_a_run_of_the_first_version_is_opened_with_the_numbers_that_it_had(name: str) -> None:
    run = ipw.load_run(FIRST / name)
    assert run.summary["metrics"] == stored(name)["metrics"]
    assert run.summary["valid"] == stored(name)["valid"]
    assert run.manifest["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize("name", ENDED)
def test_a_run_of_the_first_version_is_derived_again_to_rounding(name: str, tmp_path: Path) -> None:
    if name == "routing":
        pytest.importorskip("safetensors", reason="needs the extra 'routing'")
    run, before = copied(name, tmp_path), stored(name)
    after = derive(run)
    for metric, entry in before["metrics"].items():
        for key in TOLD:
            loose = ROUGH_T if key in {"low", "high"} and entry["interval"] == "batch means" else ROUNDING
            loose = max(loose, SHORT_Z95) if metric == "loss_at_budget" else loose
            loose = FLOOR.get(metric, loose) if name == "routing" else loose
            same = pytest.approx(entry[key], rel=loose) if isinstance(entry[key], float) else entry[key]
            assert after["metrics"][metric][key] == same, (metric, key)
    assert after["valid"] == before["valid"]
    assert RunDir.open(run.path).manifest()["schema_version"] == SCHEMA_VERSION


def record(summary: dict[str, Any]) -> tuple[bool, str, str]:
    (found,) = [check for check in summary["validity"] if check["check"] == "record"]
    return found["ok"], found["level"], found["detail"]


@pytest.mark.parametrize("name", ["command", "lm"])
def test_a_run_of_the_first_version_says_that_damage_could_not_be_seen(name: str, tmp_path: Path) -> None:
    run = copied(name, tmp_path)
    for _ in range(2):
        assert record(ipw.load_run(run.path).summary) == record(derive(run)) == (False, "warning", NO_DIGESTS)


def test_a_run_of_the_first_version_whose_joules_change_says_so(tmp_path: Path) -> None:
    run = copied("lm", tmp_path)
    readings = run.readings().copy()
    readings["t_ns"][1:-1] -= 20_000_000
    (run.path / "power.parquet").unlink()
    (run.path / "power.bin").write_bytes(readings.tobytes())
    ok, level, detail = record(derive(run))
    assert (ok, level) == (False, "warning")
    assert detail.startswith(f"{NO_DIGESTS}; its window holds ")
    assert detail.endswith(" J, and held 74.5478 J when it was derived before")


def test_a_killed_run_of_the_first_version_is_told_to_be_one(tmp_path: Path) -> None:
    summary = derive(copied("killed", tmp_path))
    assert not summary["valid"]
    assert "the run never ended" in str([check["detail"] for check in summary["validity"]])


def test_every_older_version_has_a_way_to_the_next() -> None:
    assert sorted(HISTORY) == list(range(1, SCHEMA_VERSION + 1))
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
def test_a_newer_version_is_refused_politely(version: int, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": version}))
    with pytest.raises(UsageError, match=f"newer ipw: its schema version is {version}") as told:
        RunDir.open(tmp_path)
    assert told.value.hint == "pip install --upgrade ipw"


@pytest.mark.parametrize("version", [0, -1, True, None, "2", 1.0, []])
def test_what_is_no_version_is_refused(version: object, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": version}))
    with pytest.raises(UsageError, match="which none has"):
        RunDir.open(tmp_path)


# --- docs/run-directory.md -------------------------------------------------------------------------------------------


def test_the_page_is_what_the_code_says() -> None:
    assert run_directory_page.PAGE.read_text() == run_directory_page.page(), "run `make docs`"


def test_readings_are_described_field_by_field() -> None:
    assert list(READING_FIELDS) == [name for name, _ in RECORD_FIELDS]


@pytest.mark.parametrize("name", ENDED)
def test_everything_in_a_run_is_described(name: str, tmp_path: Path) -> None:
    if name == "routing":
        pytest.importorskip("safetensors", reason="needs the extra 'routing'")
    run = copied(name, tmp_path)
    summary = derive(run)
    assert [path.name for path in run.path.iterdir() if not any(fnmatch(path.name, known) for known in FILES)] == []
    assert set(run.manifest()) <= names(MANIFEST_ENTRIES)
    assert set(summary) <= names(SUMMARY_ENTRIES)
    assert {record["kind"] for record in run.journal()} <= set(KINDS)
    for table, columns in COLUMNS.items():
        if (run.path / f"{table}.parquet").is_file():
            assert set(pq.read_schema(run.path / f"{table}.parquet").names) <= names(columns)
