"""What became of the questions: every question is counted once, and what lacks an answer is told before any number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.made_runs import make_run, write_journal

from ipw.metrics.accounting import Questions, account, commonest, questions_of
from ipw.metrics.accounting_text import account_line, account_notes, first_line, marks, shortfall, unfinished
from ipw.metrics.outcomes import NUMBERS, TEXTS, Outcomes, load_outcomes
from ipw.metrics.summary import stored_summary, summarize
from ipw.runs.directory import RunDir

Record = dict[str, Any]
RIGHT: Record = {"status": "ok", "score": 1.0, "response": "4", "finish_reason": "stop", "tokens_source": "usage"}
EMPTY: Record = RIGHT | {"score": 0.0, "response": " \n"}
CUT: Record = RIGHT | {"score": 0.0, "response": "let me see", "finish_reason": "length"}
THINKING: Record = CUT | {"response": "", "reasoning": "let me see"}
REFUSED: Record = {"status": "error", "error": "the connection failed: connection refused", "response": ""}
LATE: Record = {"status": "timeout", "error": "no whole answer within 5 s", "response": "half of"}


def outcomes(records: Sequence[Record]) -> Outcomes:
    def texts(name: str) -> Any:
        return np.array([record.get(name) or "" for record in records], np.object_)

    def numbers(name: str) -> Any:
        values = [record.get(name) for record in records]
        return np.array([np.nan if value is None else float(value) for value in values])

    blank = np.array([not str(record.get("response", "x")).strip() for record in records], bool)
    thinking = np.array([bool(record.get("reasoning")) for record in records], bool)
    kept = {name: texts(name) for name in TEXTS} | {name: numbers(name) for name in NUMBERS}
    usual = np.array(["" for _ in records], np.object_)
    return Outcomes(**kept, blank=blank, thinking=thinking, usual=usual)


def manifest(scorer: str | None = "exact", planned: int | None = None, **parameters: Any) -> dict[str, Any]:
    return {
        "dataset": {"scorer": scorer, "questions": planned},
        "workload": {"kind": "lm", "parameters": {"max_tokens": 512, "dataset": "q.jsonl"} | parameters},
    }


def told(records: Sequence[Record], facts: Mapping[str, Any] | None = None) -> Questions:
    return account(outcomes(records), facts or manifest())


def test_every_question_is_counted_once() -> None:
    found = told([RIGHT] * 5 + [EMPTY] * 2 + [CUT] * 3 + [THINKING] * 2 + [REFUSED] * 4 + [LATE])
    assert (found.asked, found.answered, found.failed) == (17, 12, 5)
    assert (found.empty, found.cut, found.cut_thinking) == (2, 5, 2)
    assert found.without_answer == 12
    assert (found.failed_because, found.failed_because_count) == (REFUSED["error"], 4)
    assert (found.tokens_by_usage, found.tokens_counted) == (12, 0)


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([RIGHT] * 453 + [REFUSED] * 267, "267 of 720 questions failed: connection refused"),
        ([REFUSED] * 3, "3 of 3 questions failed: connection refused"),
        ([RIGHT] * 5 + [REFUSED] * 3 + [LATE], "4 of 9 questions failed, 3 of them: connection refused"),
        ([EMPTY] * 78 + [RIGHT] * 2, "78 of 80 answers are empty"),
        ([CUT] * 2, "2 of 2 answers were cut at max-tokens 512"),
        ([THINKING] * 2, "2 of 2 answers were cut at max-tokens 512, 2 of them while the model still thought"),
    ],
)
def test_what_lacks_an_answer_is_said_in_a_sentence(records: list[Record], says: str) -> None:
    assert shortfall(told(records)) == says


@pytest.mark.parametrize("bad", [REFUSED, LATE, EMPTY, CUT, THINKING])
@pytest.mark.parametrize(
    ("count", "first", "invalid"), [(0, False, False), (2, False, False), (3, True, False), (11, True, True)]
)
def test_above_one_percent_it_is_said_first_and_above_five_the_run_is_not_valid(
    bad: Record, count: int, first: bool, invalid: bool
) -> None:
    found = told([RIGHT] * (200 - count) + [bad] * count)
    assert (found.told_first, found.invalid) == (first, invalid)


def test_kinds_of_failure_add_up() -> None:
    found = told([RIGHT] * 93 + [REFUSED] * 3 + [EMPTY] * 2 + [CUT] * 2)
    assert found.invalid


@pytest.mark.parametrize(("percent", "invalid"), [(0.0, True), (4.9, True), (5.0, False), (100.0, False)])
def test_the_threshold_is_an_option_of_the_run(percent: float, invalid: bool) -> None:
    facts = manifest(max_failed_percent=percent)
    assert told([RIGHT] * 95 + [REFUSED] * 5, facts).invalid == invalid


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        (manifest(), True),
        (manifest(max_tokens=1), True),  # a word cut off is a wrong answer
        (manifest("none"), False),
        (manifest("none", dataset="fixed:64,16"), False),
        (manifest(max_tokens=1, logprobs=True), False),
        (manifest(max_tokens=2, logprobs=True), True),
        (manifest("choice", max_tokens=1), False),  # a letter is one token
        (manifest("choice"), True),
    ],
)
def test_a_cut_answer_is_no_fault_where_its_length_was_asked_for(facts: dict[str, Any], fault: bool) -> None:
    found = told([CUT] * 10, facts)
    assert (found.cut, found.invalid, found.told_first) == (10, fault, fault)
    assert ("as asked" in account_line(found)) == (not fault)


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "max_tokens", "model_length", "max_output_tokens"])
def test_every_dialect_of_cut_off_is_known(reason: str) -> None:
    assert told([CUT | {"finish_reason": reason}]).cut == 1


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "content_filter", "eos_token", ""])
def test_other_ends_are_no_cut(reason: str) -> None:
    assert told([CUT | {"finish_reason": reason}]).cut == 0


@pytest.mark.parametrize(("reason", "tokens", "cut"), [("", 512, 1), ("", 511, 0), ("", None, 0), ("stop", 512, 0)])
def test_a_server_that_gives_no_reason_cut_an_answer_of_all_its_tokens(
    reason: str, tokens: int | None, cut: int
) -> None:
    assert told([CUT | {"finish_reason": reason, "completion_tokens": tokens}]).cut == cut


def test_reasons_that_differ_in_identities_alone_are_one() -> None:
    reasons = [f"HTTP 500: request req-{i}f2 died after 0.{i} s" for i in range(5)] + ["HTTP 503: busy"] * 3
    assert commonest(reasons) == ("HTTP 500: request req-0f2 died after 0.0 s", 5)
    assert commonest(["HTTP 500: no", "HTTP 429: no", "HTTP 429: no"]) == ("HTTP 429: no", 2)
    assert commonest([""]) == ("no reason was told", 1)
    assert commonest([]) == (None, 0)


def test_answers_that_nobody_scored_say_why() -> None:
    unscored = [RIGHT | {"score": None}] * 3
    judge = manifest("judge") | {"scoring_reason": "the judge fails: HTTP 400: context"}
    assert told(unscored, judge).unscored_because == "the judge fails: HTTP 400: context"
    assert "--judge-url" in str(told(unscored, manifest("judge")).unscored_because)
    assert told(unscored, manifest("none")).unscored_because == "nothing can be right in this data set"
    assert told([RIGHT], judge).unscored_because is None


def test_the_newest_scorer_is_the_one_that_is_named() -> None:
    facts = manifest("exact") | {"scoring": {"scorer": "contains"}}
    assert told([RIGHT], facts).scorer == "contains"


def test_the_line_tells_all_of_it() -> None:
    records = [RIGHT | {"parsed": True}] * 2 + [RIGHT | {"parsed": False, "tokens_source": "counted"}] + [REFUSED]
    line = account_line(told(records, manifest("number", planned=720)))
    assert line == (
        "4 of 720 asked · 3 answered · 1 failed (connection refused) · 0 empty · 0 cut at max-tokens 512 · "
        "1 not understood by the scorer · scorer number · tokens of 2 from usage, of 1 counted"
    )


def test_runs_of_which_the_same_is_said_share_a_line() -> None:
    good, bad = ({"questions": told(records).as_dict()} for records in ([RIGHT] * 2, [RIGHT, REFUSED]))
    assert next(account_notes([("a", good), ("b", good)])).startswith("Each: 2 asked")
    lines = list(account_notes([("a", good), ("b", bad), ("c", good)]))
    assert [line.partition(":")[0] for line in lines] == ["a, c", "b"]
    assert list(account_notes([("old", {"metrics": {}})])) == []


@pytest.mark.parametrize(
    ("status", "asked", "says"),
    [
        ("interrupted", 289, "interrupted after 289 of 720"),
        ("interrupted", 720, "interrupted after 720 of 720"),
        ("running", 289, "not ended after 289 of 720"),
        ("invalid", 0, "stopped after 0 of 720"),
        ("complete", 720, None),
        ("complete", 700, "ended after 700 of 720"),
        (None, 720, None),
    ],
)
def test_a_run_that_was_not_finished_says_where_it_stopped(status: str | None, asked: int, says: str | None) -> None:
    questions = told([RIGHT] * asked, manifest(planned=720)).as_dict()
    assert unfinished({"status": status, "questions": questions}) == says


def test_an_interrupted_run_of_another_workload_says_that_alone() -> None:
    assert unfinished({"status": "interrupted"}) == "interrupted"
    assert unfinished({"status": "complete"}) is None
    assert unfinished({"status": "imported"}) is None


@pytest.mark.parametrize("stored", [None, 7, [], {}, {"asked": "many"}, {"asked": True}])
def test_a_record_of_strange_shape_is_none(stored: object) -> None:
    summary = {"questions": stored, "valid": True}
    assert questions_of(summary) is None
    assert first_line(summary) is None
    assert marks(summary) == []


@given(st.lists(st.sampled_from([RIGHT, EMPTY, CUT, THINKING, REFUSED, LATE]), max_size=40))
def test_the_record_adds_up_and_survives_being_stored(records: list[Record]) -> None:
    found = told(records)
    assert found.asked == found.answered + found.failed == len(records)
    assert found.empty + found.cut <= found.answered
    assert found.cut_thinking <= found.cut
    assert found.failed_because_count <= found.failed
    assert questions_of({"questions": found.as_dict()}) == found
    assert found.told_first or not found.invalid
    assert bool(shortfall(found)) == bool(found.without_answer)


# --- in a run -------------------------------------------------------------------------------------------------------


def test_a_run_of_which_too_many_questions_failed_is_not_valid_and_says_so(tmp_path: Path) -> None:
    summary = summarize(make_run(tmp_path, scores=[1.0] * 453 + [None] * 267))
    assert not summary["valid"]
    check = next(check for check in summary["validity"] if check["check"] == "questions")
    assert check["level"] == "error"
    assert check["detail"].startswith("267 of 720 questions failed: the server hung up")
    assert first_line(summary) == "267 of 720 questions failed: the server hung up"


def test_a_few_failures_are_a_warning_and_the_run_is_valid(tmp_path: Path) -> None:
    summary = summarize(make_run(tmp_path, scores=[1.0] * 97 + [None] * 3))
    assert summary["valid"]
    assert next(c for c in summary["validity"] if c["check"] == "questions")["level"] == "warning"
    assert marks(summary) == ["3.0 % failed"]


def test_the_journal_tells_the_same_as_the_tables(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"kind": "query", "query_id": f"q{i}"} | dict(record)
        for i, record in enumerate([RIGHT, EMPTY, CUT, THINKING, REFUSED, LATE, RIGHT | {"parsed": False}])
    ]
    columns = {name: [record.get(name) for record in records] for name in set().union(*records) - {"kind"}}
    columns["finish_reason"] = [record.get("finish_reason") for record in records]
    stored = make_run(tmp_path, "run-table", scores=[1.0] * len(records), columns=columns)
    crashed = make_run(tmp_path, "run-journal")
    (crashed.path / "queries.parquet").unlink()
    write_journal(crashed, records)
    tables, journal = (account(load_outcomes(run), manifest()) for run in (stored, crashed))
    assert tables == journal
    assert (tables.failed, tables.empty, tables.cut, tables.cut_thinking, tables.unparsed) == (2, 1, 2, 1, 1)


def test_logprobs_that_were_asked_for_and_did_not_come_are_told(tmp_path: Path) -> None:
    workload = {"kind": "lm", "parameters": {"dataset": "bundled", "logprobs": True}}
    run = make_run(tmp_path, manifest={"workload": workload})
    summary = summarize(run)
    check = next(check for check in summary["validity"] if check["check"] == "log-probabilities")
    assert not check["ok"]
    assert check["detail"] == "the server sent them for 0 of 120 answers"
    assert summary["metrics"]["perplexity"]["reason"] == "the server sent no log-probabilities"


def test_a_server_whose_count_of_tokens_cannot_be_is_told(tmp_path: Path) -> None:
    doubts = [f"usage tells {i} tokens of an answer in {90 + i} chunks" for i in range(20)] + [None] * 80
    run = make_run(tmp_path, scores=[1.0] * 100, columns={"usage_doubt": doubts, "tokens_source": ["counted"] * 100})
    summary = summarize(run)
    check = next(check for check in summary["validity"] if check["check"] == "token counts")
    assert (check["ok"], check["level"]) == (False, "warning")
    assert check["detail"] == (
        "of 20 of 100 answers the server's count is doubtful: usage tells 0 tokens of an answer in 90 chunks"
    )
    assert summary["questions"]["tokens_counted"] == 100


def named(run: RunDir, name: str) -> Any:
    return next((check for check in summarize(run)["validity"] if check["check"] == name), None)


def test_one_text_to_every_question_is_told_unless_it_is_right(tmp_path: Path) -> None:
    busy = {"response": [" We are busy.\n"] * 19 + ["4"]}
    check = named(make_run(tmp_path, "a", scores=[0.0] * 19 + [1.0], columns=busy), "answers alike")
    assert (check["ok"], check["detail"]) == (False, "19 of 20 answers are one and the same, 'We are busy.'")
    assert named(make_run(tmp_path, "right", scores=[1.0] * 20, columns=busy), "answers alike") is None
    letters = {"response": ["A"] * 15 + ["B"] * 5}
    assert named(make_run(tmp_path, "letters", scores=[0.0] * 20, columns=letters), "answers alike") is None
    assert named(make_run(tmp_path, "few", scores=[0.0] * 9, columns={"response": ["no"] * 9}), "answers alike") is None
    cut = make_run(tmp_path, "journal", scores=[0.0] * 20, columns={"response": ["no"] * 20})
    (cut.path / "queries.parquet").unlink()
    write_journal(
        cut, [RIGHT | {"kind": "query", "query_id": f"q{i}", "score": 0.0, "response": " no"} for i in range(20)]
    )
    assert set(load_outcomes(cut).usual) == {"no"}


def test_answers_that_end_without_a_reason_where_others_have_one_are_told(tmp_path: Path) -> None:
    def reasons(name: str, *given: str | None) -> Any:
        run = make_run(tmp_path, name, scores=[1.0] * len(given), columns={"finish_reason": list(given)})
        return named(run, "reasons to finish")

    check = reasons("some", *["stop"] * 15, *[None] * 5)
    assert (check["ok"], check["level"]) == (False, "warning")
    assert check["detail"].startswith("5 of 20 answers ended without one, and may be broken off")
    assert reasons("all", *["stop"] * 20) is None
    assert reasons("none", *[None] * 20) is None


def test_what_may_mend_a_failure_stands_beside_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, scores=[1.0] * 5 + [None] * 5)
    run.update_manifest(progress={"finished": 10, "of": 10, "remedy": "set OPENAI_API_KEY to the server's key"})
    assert "failed: the server hung up; try: set OPENAI_API_KEY to" in named(run, "questions")["detail"]
    whole = make_run(tmp_path, "whole")
    whole.update_manifest(progress={"finished": 120, "of": 120, "remedy": "set OPENAI_API_KEY"})
    assert "try" not in named(whole, "questions")["detail"]


def test_a_scorer_that_understands_few_answers_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, scores=[0.0] * 5, columns={"parsed": [False] * 5})
    run.update_manifest(dataset={"scorer": "choice", "questions": 5})
    check = next(c for c in summarize(run)["validity"] if c["check"] == "answers understood")
    assert (check["ok"], check["level"]) == (False, "warning")
    assert check["detail"] == "in 5 of 5 answers the scorer choice found nothing to judge"
    assert first_line(summarize(run)) == check["detail"]


def test_answers_that_were_cut_are_told_as_cut_and_not_as_misunderstood() -> None:
    cut = told([THINKING | {"parsed": False}] * 10, manifest("choice"))
    assert (cut.unparsed, cut.not_understood) == (10, 0)
    few = told([RIGHT | {"parsed": False}] * 5 + [RIGHT | {"parsed": True}] * 95, manifest("choice"))
    assert (few.unparsed, few.not_understood) == (5, 0)


def test_a_judge_that_failed_is_told_with_its_reason(tmp_path: Path) -> None:
    run = make_run(tmp_path, columns={"score": [None] * 120})
    run.update_manifest(dataset={"scorer": "judge"}, scoring_reason="the judge fails: HTTP 400: too long")
    check = next(c for c in summarize(run)["validity"] if c["check"] == "scores")
    assert not check["ok"]
    assert "the judge fails: HTTP 400: too long" in check["detail"]


def test_a_summary_of_an_earlier_version_is_completed_from_its_tables(tmp_path: Path) -> None:
    run = make_run(tmp_path, scores=[1.0] * 10 + [None] * 10)
    summary = summarize(run)
    old = {name: value for name, value in summary.items() if name not in {"questions", "status"}}
    old |= {"valid": True, "validity": [c for c in summary["validity"] if c["check"] != "questions"]}
    run.write_summary(old)
    found = stored_summary(run)
    assert found is not None
    assert (found["questions"]["failed"], found["valid"], found["status"]) == (10, False, "complete")
    run.write_summary(summary | {"questions": {"asked": 20}})
    again = stored_summary(run)
    assert again is not None
    assert again["questions"] == summary["questions"]
    assert again["validity"] == summary["validity"]
    run.write_summary(old)
    (run.path / "queries.parquet").write_bytes(b"PAR1 and then nothing")
    assert stored_summary(run) == old
