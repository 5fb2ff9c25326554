"""`ipw watch` and `ipw list runs` read run directories, whole or half written."""

# ruff: noqa: RUF001 - the sign between a model and its load is a multiplication sign
from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from reports.made_runs import make_run
from rich.console import Console

from ipw.errors import UsageError
from ipw.metrics.summary import summarize
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.journal_lines import JOURNAL
from ipw.runs.live.journal import LiveJournal
from ipw.runs.readings import READINGS, RECORD
from ipw.verbs.list_runs import list_runs, runs_in
from ipw.verbs.watch import Watcher, drawn, running

SENSORS = [
    {"name": "nvml/gpu0", "kind": "counter", "index": 0, "unit": "J"},
    {"name": "estimate/cpu", "kind": "power", "index": 1, "unit": "W"},
    {"name": "nvml/gpu0/temperature", "kind": "gauge", "index": 2, "unit": "C"},
    {"name": "rapl/package-0", "kind": "counter", "status": "permission"},
]


def going(folder: Path, **manifest: Any) -> RunDir:
    """A run in the middle: three readings a channel over two seconds, four queries over three."""
    run = RunDir.create(folder, "going")
    run.write_manifest({"run_id": run.path.name, "status": "running", "sensors": SENSORS, **manifest})
    now = time.monotonic_ns()
    with (run.path / READINGS).open("wb") as file:
        for i in range(3):
            for index, value in ((0, 100.0 + 30 * i), (1, 7.0 + i), (2, 60.0 + i)):
                file.write(RECORD.pack(now - (2 - i) * 10**9, value, index, 0, 1000))
        file.write(b"torn")
    with Journal(run) as journal:
        journal.append("span", {"name": "warm-up", "phase": "warmup", "start_ns": 0, "end_ns": 1})
        for i in range(4):
            record = {"score": float(i % 2), "completion_tokens": 10, "status": "ok", "end_ns": now - (3 - i) * 10**9}
            journal.append("query", record)
        journal.append("query", {"score": 0.0, "status": "error", "end_ns": now})
    return run


def test_power_gauges_and_progress_of_a_running_run(tmp_path: Path) -> None:
    snapshot = Watcher(going(tmp_path)).snapshot()
    assert snapshot["power_w"]["nvml/gpu0"] == pytest.approx(30)
    assert snapshot["power_w"]["estimate/cpu"] == 9.0
    assert snapshot["gauges"] == {"nvml/gpu0/temperature": {"value": 62.0, "unit": "C"}}
    assert (snapshot["done"], snapshot["errors"], snapshot["accuracy"]) == (5, 1, 0.4)
    assert snapshot["tokens_per_s"] == pytest.approx(10)


def test_what_goes_on_and_how_much_is_ahead_is_told(tmp_path: Path) -> None:
    snapshot = Watcher(going(tmp_path, dataset={"questions": 25}, model={"name": "m"})).snapshot()
    assert (snapshot["name"], snapshot["phase"], snapshot["of"]) == ("m", "measure", 25)
    assert snapshot["left_s"] == pytest.approx(20 / snapshot["units_per_s"])
    console = Console(width=100, force_terminal=False, record=True)
    console.print(drawn(snapshot))
    assert "5 of 25, about" in console.export_text()


def test_a_journal_is_followed_from_where_it_was_and_a_torn_line_waits(tmp_path: Path) -> None:
    run = going(tmp_path)
    live = LiveJournal(run.path / JOURNAL)
    assert live.standing().done == 5
    with (run.path / JOURNAL).open("ab") as file:
        file.write(b'{"kind":"query","status":"ok",')
        file.flush()
        assert live.standing().done == 5
        file.write(b'"score":1.0}\n')
    assert live.standing().done == 6


def test_the_newest_running_run_of_a_folder_is_watched_and_a_run_by_its_path(tmp_path: Path) -> None:
    make_run(tmp_path, "99991231T000000Z-finished")
    run = going(tmp_path)
    assert running(tmp_path).path == run.path
    assert running(tmp_path / "99991231T000000Z-finished").path.name.endswith("finished")


def test_nothing_running_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is running"):
        running(tmp_path)


def test_hostile_names_reach_the_terminal_as_text(tmp_path: Path) -> None:
    sensors = [{"name": "\x1b[2Jgpu[red]", "kind": "power", "index": 1, "unit": "W"}]
    console = Console(width=100, force_terminal=False, record=True)
    console.print(drawn(Watcher(going(tmp_path, sensors=sensors)).snapshot()))
    shown = console.export_text()
    assert "\x1b" not in shown
    assert "gpu[red]" in shown


def test_runs_are_listed_with_those_that_cannot_be_read(tmp_path: Path) -> None:
    make_run(tmp_path, "a", manifest={"model": {"name": "one"}})
    going(tmp_path, model={"name": "two"})
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "manifest.json").write_text("{")
    found = {Path(run["path"]).name: run for run in runs_in(tmp_path)}
    assert found["a"]["what"] == "one"
    assert found["z"]["status"] == "unreadable"
    assert [run["what"] for run in found.values() if run["status"] == "running"] == ["two"]
    assert found["a"]["accuracy"] is None
    assert json.dumps(list(found.values()))


def test_runs_of_studies_are_listed_under_names_that_tell_them_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "a-study"
    for level in (1, 8):
        parameters = {"dataset": "bundled", "concurrency": level}
        told = {"model": {"name": "m"}, "workload": {"kind": "lm", "parameters": parameters}}
        run = make_run(study, f"run-{level}", readings=False, manifest=told)
        run.write_summary(summarize(run))
    cells = [{"key": f"{n}", "status": "done", "run": f"run-{n}"} for n in (1, 8)]
    (study / "study.json").write_text(json.dumps({"schema_version": 1, "cells": cells}))
    names = {Path(run["path"]).name: run["what"] for run in runs_in(tmp_path)}
    assert names == {"run-1": "m ×1", "run-8": "m ×8"}
    assert list_runs(out=tmp_path, as_json=False) == 0
    shown = capsys.readouterr().out
    assert f"{study / 'run-8'}" in shown
    assert "75.0 %" in shown
    assert "J a query" in shown
