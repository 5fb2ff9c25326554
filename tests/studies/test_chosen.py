"""Which runs people mean: a run, a run by another name, a study, a folder; pages among them are no runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from reports.made_runs import make_run

from ipw.errors import UsageError
from ipw.metrics.summary import summarize
from ipw.studies.chosen import chosen, one_run
from ipw.verbs.export import export


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, the page of a series, and a study of two cells of which one is done."""
    for name in ("run-a", "run-b"):
        run = make_run(tmp_path, name, readings=False)
        run.write_summary(summarize(run) | {"valid": True})
    (tmp_path / "x-series.html").write_text("<!doctype html>")
    make_run(tmp_path / "study", "run-c", readings=False)
    cells = [{"key": "1", "status": "done", "run": "run-c", "label": "first"}, {"key": "2", "status": "waiting"}]
    (tmp_path / "study" / "study.json").write_text(json.dumps({"schema_version": 1, "cells": cells}))
    return tmp_path


def told(*arguments: object) -> list[tuple[str, str | None]]:
    return [(each.path.name, each.called) for each in chosen([Path(str(each)) for each in arguments])]


def test_a_run_may_have_a_name_for_the_occasion(runs: Path) -> None:
    assert told(f"ours={runs}/run-a", f"{runs}/run-b") == [("run-a", "ours"), ("run-b", None)]
    assert one_run(Path(f"ours={runs}/run-a")).called == "ours"


def test_a_name_and_a_path_may_hold_the_sign_between_them(runs: Path) -> None:
    assert told(f"lr=0.1={runs}/run-a") == [("run-a", "lr=0.1")]
    make_run(runs / "x=y", "run-d", readings=False)
    assert told(f"{runs}/x=y/run-d") == [("run-d", None)]
    assert told(f"a=b={runs}/x=y/run-d") == [("run-d", "a=b")]
    assert told("a=b=nowhere") == [("b=nowhere", "a")]


def test_what_a_shell_makes_of_a_star_is_the_runs_and_those_of_studies(runs: Path) -> None:
    assert told(*sorted(runs.iterdir())) == [("run-a", None), ("run-b", None), ("run-c", "first")]
    assert told(runs) == [("run-a", None), ("run-b", None), ("run-c", "first")]
    assert told(*sorted((runs / "study").iterdir())) == [("run-c", None)]


def test_a_run_that_is_named_twice_is_there_once(runs: Path) -> None:
    assert told(runs / "run-a", runs / "run-a") == [("run-a", None)]


def test_a_page_alone_is_told_to_be_no_run(runs: Path) -> None:
    with pytest.raises(UsageError, match="not a run directory"):
        chosen([runs / "x-series.html"])[0].open()


def test_a_folder_whose_name_has_the_sign_is_that_folder(runs: Path) -> None:
    odd = make_run(runs, "a=b", readings=False).path
    assert told(odd) == [("a=b", None)]


@pytest.mark.parametrize("argument", ["={0}/run-a", "name=", "several={0}", "several={0}/study/../study/.."])
def test_a_name_that_cannot_be_is_refused(runs: Path, argument: str) -> None:
    with pytest.raises(UsageError):
        chosen([Path(argument.format(runs))])


def test_a_study_without_a_run_says_so(runs: Path) -> None:
    (runs / "study" / "study.json").write_text('{"schema_version": 1, "cells": []}')
    with pytest.raises(UsageError, match="no run that is done"):
        chosen([runs / "study"])
    assert told(runs) == [("run-a", None), ("run-b", None)]


def test_exports_name_runs_as_tables_do(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = runs / "out.csv"
    given = [runs / "run-a", Path(f"ours={runs}/run-b")]
    export(runs=given, format_="codecarbon", tracker=None, project="ipw", otlp=None, output=out,
           grid_g_co2e_per_kwh=None, grid_source=None)  # fmt: skip
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["project_name"] for row in rows] == ["a", "ours"]
