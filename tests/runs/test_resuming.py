"""A run that was cut short goes on as it began: what is finished, what is asked again, and what is not the same run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ipw.clock import boot_id
from ipw.errors import IpwError, UsageError
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.journal_lines import JOURNAL
from ipw.runs.resume.resuming import asked_now, check_ended, check_same, close, continued, process_facts, settled
from ipw.system import process_created_s


def made(folder: Path, *rows: dict[str, Any], status: str = "interrupted") -> RunDir:
    """A run with these queries, each of ten moments."""
    run = RunDir.create(folder, "run")
    run.write_manifest({"status": status, "workload": {"kind": "lm"}})
    with Journal(run) as journal:
        for number, row in enumerate(rows):
            journal.append("query", {"start_ns": 100 * number, "end_ns": 100 * number + 10} | row)
    return run


OK: dict[str, Any] = {"query_id": "good", "status": "ok"}
REFUSED: dict[str, Any] = {"query_id": "refused", "status": "error", "failure": "answer"}
CUT: dict[str, Any] = {"query_id": "cut", "status": "error", "failure": "transport"}
OLD: dict[str, Any] = {"query_id": "old", "status": "timeout"}


@pytest.mark.parametrize(
    ("retry", "kept"),
    [("none", {"good", "refused", "cut", "old"}), ("transport", {"good", "refused"}), ("all", {"good"})],
)
def test_what_was_answered_is_settled_and_what_failed_as_is_asked_for(
    tmp_path: Path, retry: str, kept: set[str]
) -> None:
    assert settled(made(tmp_path, OK, REFUSED, CUT, OLD), retry) == kept


def test_of_several_tries_the_last_counts_unless_one_was_answered(tmp_path: Path) -> None:
    again = REFUSED | {"failure": "transport"}
    assert settled(made(tmp_path / "a", REFUSED, again), "transport") == set()
    assert settled(made(tmp_path / "b", again, REFUSED), "transport") == {"refused"}
    answered = CUT | {"status": "ok"}
    assert settled(made(tmp_path / "c", CUT, answered, CUT), "all") == {"cut"}


def test_a_task_is_settled_by_its_last_request_under_the_name_of_its_question(tmp_path: Path) -> None:
    first = {"query_id": "t/1", "question_id": "t", "status": "ok", "final": False}
    assert settled(made(tmp_path / "a", first), "none") == set()
    assert settled(made(tmp_path / "b", first, first | {"query_id": "t/2", "final": True}), "none") == {"t"}


def test_what_is_asked_now_is_told(tmp_path: Path) -> None:
    run = made(tmp_path, OK, REFUSED, CUT, CUT)
    assert (
        asked_now(run, 1200, {"good"})
        == "1 of 1,200 questions are done: 1,199 are asked, 2 of them again, since they failed"
    )
    assert asked_now(run, 3, {"good", "refused", "cut"}) == "3 of 3 questions are done: 0 are asked"


def test_a_run_of_which_nothing_is_left_is_called_complete_once(tmp_path: Path) -> None:
    run = made(tmp_path, OK, CUT)
    close(run, Path("a run"))
    manifest = run.manifest()
    assert manifest["status"] == "complete"
    assert manifest["recorded"]["journal"]["bytes"] == (run.path / JOURNAL).stat().st_size
    with pytest.raises(UsageError, match="is complete: nothing is left to ask") as told:
        close(run, Path("a run"))
    assert told.value.hint == "ipw resume 'a run' --retry-failed all, since 1 questions failed"
    whole = made(tmp_path / "whole", OK, status="complete")
    with pytest.raises(UsageError) as told:
        close(whole, Path("whole"))
    assert told.value.hint == "ipw report whole"


def test_the_next_part_remembers_how_the_one_before_ended_and_forgets_what_was_derived_from_it() -> None:
    before = {
        "status": "interrupted", "status_reason": "killed", "ended_ns": 7, "sampler": {"cpu_s": 1}, "progress": 3,
        "attribution": {"j": 1}, "attribution_reason": "x", "model": {"name": "m"}, "workload": {"kind": "lm", "a": 1},
        "server": {"url": "u", "ended": "killed by SIGKILL"}, "resumed": [{"status": "earlier"}],
    }  # fmt: skip
    now = {"workload": {"a": 2, "b": 3}, "server": {"url": "v"}, "model": {"name": "other"}}
    found = continued(before, now)
    assert found["resumed"] == [
        {"status": "earlier"},
        {
            "status": "interrupted", "status_reason": "killed", "ended_ns": 7, "sampler": {"cpu_s": 1}, "progress": 3,
            "server": {"url": "u", "ended": "killed by SIGKILL"},
        },
    ]  # fmt: skip
    assert found["server"] == {"url": "v"}
    assert found["workload"] == {"kind": "lm", "a": 2, "b": 3}
    assert found["model"] == {"name": "m"}  # as it began
    assert found["process"]["pid"] == os.getpid()
    assert found.keys() == {"status", "model", "workload", "server", "resumed", "process"}
    assert continued({"status": "interrupted"}, {})["resumed"] == [{"status": "interrupted"}]


def test_a_run_goes_on_while_its_process_is_there_and_no_other_has_its_number() -> None:
    parent, began_s = os.getppid(), process_created_s(os.getppid())
    assert began_s is not None
    manifest: dict[str, Any] = {"status": "running", **process_facts()}
    check_ended(manifest, Path("run"))  # this very process takes it up again
    for created_s, goes_on in ((began_s, True), (began_s + 0.9, True), (began_s + 1.1, False), (began_s - 1.1, False)):
        manifest["process"] |= {"pid": parent, "created_s": created_s}
        if goes_on:
            with pytest.raises(UsageError, match=f"still goes on, as process {parent}"):
                check_ended(manifest, Path("run"))
            check_ended(manifest | {"status": "interrupted"}, Path("run"))
        else:
            check_ended(manifest, Path("run"))


def test_a_run_of_another_boot_has_no_common_time() -> None:
    for process in ({}, {"boot_id": "another"}, {"boot_id": f"{boot_id()}x"}):
        with pytest.raises(IpwError, match="the machine was started anew"):
            check_ended({"status": "interrupted", "process": process}, Path("run"))


def test_another_model_data_set_or_scorer_is_not_the_run_that_began() -> None:
    began: dict[str, Any] = {
        "model": {"digest": "a", "gone": 1},
        "dataset": {"digest": "d", "scorer": "exact", "path": "here"},
    }
    check_same(
        began, {"model": {"digest": "a", "new": 2}, "dataset": began["dataset"] | {"path": "there"}}, Path("run")
    )
    with pytest.raises(UsageError, match="the model is not the one that run began with: its digest was a, and is b"):
        check_same(began, {"model": {"digest": "b"}, "dataset": began["dataset"]}, Path("run"))
    for name, said in (("scorer", "scorer"), ("digest", "digest"), ("questions_digest", "questions digest")):
        with pytest.raises(UsageError, match=f"the dataset is not the one .* its {said} was .*, and is new"):
            check_same(began, {"dataset": began["dataset"] | {name: "new"}}, Path("run"))
