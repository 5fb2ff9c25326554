"""What to mind is said once, of the runs of which it holds, with what to do; rows of other questions are marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reports.made_runs import make_run

from ipw.metrics.summary import summarize
from ipw.reports.ranking import groups
from ipw.reports.tables.latex import as_latex
from ipw.reports.tables.minds import REMEDIES, minds
from ipw.reports.tables.runs import markdown
from ipw.reports.tables.written import records


def found(*checks: tuple[str, str, str]) -> dict[str, Any]:
    return {"validity": [{"check": c, "detail": d, "level": level, "ok": False} for c, d, level in checks]}


def test_what_holds_of_all_runs_is_said_once_without_names() -> None:
    same = found(("power source", "battery", "warning"))
    assert list(minds([same, same], ["a", "b"])) == [
        "mind: power source: battery", f"  try: {REMEDIES['power source']}",
    ]  # fmt: skip


def test_what_holds_of_some_names_them_and_the_remedy_of_a_check_comes_once() -> None:
    told = minds([found(("losses", "x", "error")), found(), found(("losses", "y", "warning"))], ["a", "b", "c"])
    assert list(told) == ["not valid: a: losses: x", "mind: c: losses: y", f"  try: {REMEDIES['losses']}"]


def test_what_was_told_before_and_what_passed_is_left_out() -> None:
    passed = {"validity": [{"check": "coverage", "detail": "all", "level": "error", "ok": True}]}
    assert list(minds([passed, found(("questions", "q", "error"))], ["a", "b"], ["questions"])) == []


def test_that_phases_are_not_told_apart_is_among_the_checks_and_nothing_to_mind(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.update_manifest(attribution=run.manifest()["attribution"] | {"flags": ["phases not told apart"]})
    summary = summarize(run)
    assert [check["ok"] for check in summary["validity"] if check["check"] == "phases"] == [True]
    assert list(minds([summary], [""])) == []
    assert list(minds([found(("attribution", "phases not told apart", "warning"))], [""])) == []


def asked(folder: Path, name: str, count: int, digest: str = "sha256:0", status: str = "complete") -> dict[str, Any]:
    told = {"dataset": {"name": "bundled", "questions": 60, "questions_digest": digest}, "model": {"name": name}}
    return summarize(make_run(folder, name, scores=[1.0, 0.0] * (count // 2), manifest=told, status=status))


def test_rows_that_answered_other_questions_have_their_n_and_a_mark(tmp_path: Path) -> None:
    rows = {"a": asked(tmp_path, "a", 60), "b": asked(tmp_path, "b", 60), "c": asked(tmp_path, "c", 20, "sha256:1")}
    told = {row.name: row.told for row in groups(list(rows.values()))[0].rows}
    assert told["a"] == told["b"] == ["n 60"]
    assert told["c"][:2] == ["n 20", "other questions"]
    for table in (markdown(list(rows.values())), as_latex(list(rows.values()))):
        assert "n 20, other questions" in table
        assert "Not all rows answered the same questions" in table
    assert [row["apart"] for row in records(list(rows.values()))].count("n 20, other questions") == 1


def test_a_row_that_was_interrupted_stands_with_its_n(tmp_path: Path) -> None:
    rows = groups([asked(tmp_path, "a", 60), asked(tmp_path, "b", 20, status="interrupted")])[0].rows
    assert {row.name: row.marked for row in rows} == {"a": "a (n 60)", "b": "b (n 20, interrupted after 20 of 60)"}


def test_rows_of_the_same_questions_need_no_n(tmp_path: Path) -> None:
    assert [row.told for row in groups([asked(tmp_path, "a", 60), asked(tmp_path, "b", 60)])[0].rows] == [[], []]


@pytest.mark.parametrize("check", sorted(REMEDIES))
def test_every_remedy_says_what_to_do(check: str) -> None:
    assert len(REMEDIES[check]) > 20
