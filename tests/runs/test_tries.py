"""A question that was asked again counts once, wherever it is counted, and what its failed tries drew is nobody's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workloads.lm.test_derive import BUSY_W, MARKS, query, rows, write_run

from ipw.attribution.queries.tables import derive_lm
from ipw.pipeline import derive
from ipw.reports.answers import wrong_answers
from ipw.runs.checks.tries import counted, replaced
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.journal_lines import JOURNAL
from ipw.runs.live.journal import LiveJournal
from ipw.runs.merge import merge_runs
from ipw.runs.queries import load_queries
from ipw.workloads.lm.scored_again import score_run

FAILED: dict[str, Any] = {
    "status": "error", "error": "refused", "failure": "transport", "score": 0.0, "response": "", "completion_tokens": 0
}  # fmt: skip


def asked_again(folder: Path, *, resumed: bool = True) -> RunDir:
    """Two questions, of which the first failed for two seconds, and was answered in three when it was asked again."""
    run = write_run(
        folder,
        [*MARKS, query(0, 10, None, 12, **FAILED), query(1, 12, 13, 16), query(0, 16, 17, 19)],
    )
    if resumed:
        run.update_manifest(resumed=[{"status": "interrupted"}])
    return run


def test_the_table_has_the_last_try_alone(tmp_path: Path) -> None:
    run = asked_again(tmp_path)
    derive_lm(run)
    assert [(row["query_id"], row["status"]) for row in rows(run, "queries")] == [("q1", "ok"), ("q0", "ok")]


def test_what_a_failed_try_drew_is_in_the_window_and_charged_to_no_answer(tmp_path: Path) -> None:
    run = asked_again(tmp_path)
    derive_lm(run)
    assert [row["energy_j"] for row in rows(run, "queries")] == pytest.approx([4 * BUSY_W, 3 * BUSY_W], rel=1e-3)
    found = run.manifest()["attribution"]
    assert found["failed_tries_j"] == pytest.approx(2 * BUSY_W, rel=1e-3)
    assert found["measured_j"] == pytest.approx(10 * BUSY_W, rel=1e-3)
    parts = ("attributed_j", "failed_tries_j", "idle_j", "unattributed_j")
    assert found["measured_j"] == pytest.approx(sum(found[name] for name in parts), rel=1e-6)


def test_what_was_cut_off_draws_power_and_is_no_query(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*MARKS, query(0, 10, 11, 14), query(1, 15, None, 20, kind="cut_off")])
    derive_lm(run)
    assert [row["query_id"] for row in rows(run, "queries")] == ["q0"]
    assert run.manifest()["attribution"]["failed_tries_j"] == pytest.approx(5 * BUSY_W, rel=1e-3)


def test_accuracy_failures_and_wrong_answers_are_of_the_last_tries(tmp_path: Path) -> None:
    run = asked_again(tmp_path)
    before_tables = load_queries(run)
    assert len(before_tables) == 2
    assert wrong_answers(run, before_tables) == []
    metrics = derive(run)["metrics"]
    assert (metrics["accuracy"]["value"], metrics["errors"]["value"], metrics["queries"]["value"]) == (1.0, 0, 2)
    assert wrong_answers(run, load_queries(run)) == []


def test_scores_that_were_given_later_go_to_the_answers_that_they_are_of(tmp_path: Path) -> None:
    run = asked_again(tmp_path, resumed=False)
    lines = (run.path / JOURNAL).read_text().splitlines(keepends=True)
    (run.path / JOURNAL).write_text("".join(lines[:-1]))
    score_run(run, "contains")  # the failed one scores 0, and stands first
    (run.path / JOURNAL).write_text("".join(lines))
    run.update_manifest(resumed=[{"status": "interrupted"}])
    score_run(run, "contains")
    derive_lm(run)
    assert [(row["query_id"], row["score"]) for row in rows(run, "queries")] == [("q1", 1.0), ("q0", 1.0)]


def test_a_retry_outside_the_window_is_not_added_to_an_answer_that_came_since(tmp_path: Path) -> None:
    run = asked_again(tmp_path)
    with Journal(run) as journal:
        journal.append("retry", {name: x for name, x in query(0, 20, 21, 22).items() if name != "kind"})
    metrics = derive(run)["metrics"]
    assert metrics["accuracy_with_retries"]["value"] == metrics["accuracy"]["value"] == 1.0


def test_the_live_display_counts_a_question_once(tmp_path: Path) -> None:
    run = asked_again(tmp_path)
    standing = LiveJournal(run.path / JOURNAL).standing()
    assert (standing.done, standing.errors, standing.accuracy) == (2, 0, 1.0)


def test_a_merged_run_has_the_last_tries_of_its_parts(tmp_path: Path) -> None:
    again, other = asked_again(tmp_path / "a"), write_run(tmp_path / "b", [*MARKS, query(7, 10, 11, 14)])
    merged = merge_runs([again, other], tmp_path / "out")
    assert [record["query_id"] for record in merged.journal("query")] == ["q1", "q0", "q7"]
    assert [record["query_id"] for record in merged.journal("cut_off")] == ["q0"]
    assert derive(merged)["metrics"]["errors"]["value"] == 0


def test_a_run_that_was_never_resumed_is_read_as_it_is(tmp_path: Path) -> None:
    run = asked_again(tmp_path, resumed=False)
    assert replaced(run) == frozenset()
    assert len(list(counted(run))) == 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
def test_a_failed_try_is_replaced_exactly_where_the_same_question_comes_again(tries: list[tuple[str, bool]]) -> None:
    expected = {i for i, (name, ok) in enumerate(tries) if not ok and name in [later for later, _ in tries[i + 1 :]]}

    class Stored(RunDir):
        def manifest(self) -> dict[str, Any]:
            return {"resumed": [{}]}

        def journal(self, kind: str | None = None) -> list[dict[str, Any]]:
            return [{"query_id": name, "status": "ok" if ok else "error"} for name, ok in tries]

    assert replaced(Stored(Path())) == expected
