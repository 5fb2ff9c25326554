"""What is said of a record that does not hold, to the letter: counts, plurals, names, and from where on it is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipw.runs.checks.record import NEAR_NS, NO_DIGESTS, Found, Verdict, held, ids_digest

JOURNAL = {"bytes": 10, "sha256": "x"}
LM: dict[str, Any] = {"workload": {"kind": "lm"}, "status": "complete", "dataset": {"questions": 3}}


def found(*names: str, **changes: Any) -> Found:
    """Three questions of a second each in one window, all as it should be."""
    asked = names or ("a", "b", "c")
    start = np.arange(len(asked)) * 1_000_000_000
    given: dict[str, Any] = {
        "journal": JOURNAL, "lines": {"query": len(asked)}, "query_id": asked, "start_ns": start,
        "end_ns": start + 1_000_000_000, "windows": [(0, len(asked) * 1_000_000_000)],
    }  # fmt: skip
    return Found(**given | changes)


def said(manifest: dict[str, Any], what: Found) -> list[str]:
    return held(manifest, what).errors


def test_a_record_that_holds_says_nothing() -> None:
    assert held(LM, found()) == Verdict([], [])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"damaged": 1}, "1 line of the journal is not whole"),
        ({"damaged": 2}, "2 lines of the journal are not whole"),
        ({"rows": {"query": 2}}, "1 line of kind query cannot be read"),
        ({"rows": {"query": 5}}, "2 lines of kind query cannot be read"),
        ({"unknown": ["b", "a"]}, "the journal has lines of unknown kinds: a, b"),
        ({"unknown": list("edcba")}, "the journal has lines of unknown kinds: a, b, c and 2 more"),
        ({"unknown": ["x" * 50]}, f"the journal has lines of unknown kinds: {'x' * 40}"),
        ({"manifest_is_whole": False}, "the manifest is not as ipw wrote it: an entry was changed"),
        ({"altered": ["power.parquet was changed"]}, "power.parquet was changed"),
        ({"windows": []}, "the mark of the measured window is missing"),
    ],
)
def test_what_speaks_against_a_record_is_told(changes: dict[str, Any], told: str) -> None:
    assert said(LM, found(**changes)) == [told]


def test_rows_that_are_all_there_are_none_that_cannot_be_read() -> None:
    assert said(LM, found(rows={"query": 3, "span": 0})) == []


def test_a_run_that_never_ended_is_told_and_its_window_is_not_missed() -> None:
    running = LM | {"status": "running"}
    assert said(running, found(windows=[])) == ["the run never ended: it was killed, or the machine went down"]


@pytest.mark.parametrize(
    ("names", "status", "told"),
    [
        (("a", "b"), "complete", ["2 of 3 questions are in the journal"]),
        (("a", "b"), "interrupted", []),
        (("a", "b", "c", "d"), "complete", ["4 of 3 questions are in the journal"]),
        (("a", "b", "c", "d"), "interrupted", ["4 of 3 questions are in the journal"]),
        (("a", "b", "b"), "complete", ["1 question is there more than once: b"]),
        (("a", "a", "b", "b"), "complete",
         ["2 questions are there more than once: a, b", "4 of 3 questions are in the journal"]),
    ],
)  # fmt: skip
def test_as_many_questions_as_were_asked_each_once_are_in_a_journal(
    names: tuple[str, ...], status: str, told: list[str]
) -> None:
    assert said(LM | {"status": status}, found(*names)) == told


def test_where_nobody_wrote_how_many_were_asked_none_is_missed() -> None:
    assert said(LM | {"dataset": {}}, found("a")) == []
    assert said(LM | {"workload": {"kind": "command"}}, found("a")) == []


def test_other_questions_than_were_asked_are_told_by_the_digest_of_their_names_in_any_order() -> None:
    asked = LM | {"dataset": {"questions": 3, "ids_digest": ids_digest(["c", "a", "b"])}}
    assert said(asked, found()) == []
    assert said(asked, found("a", "b", "d")) == ["the questions in the journal are not those that were asked"]
    assert said(LM | {"dataset": {"questions": 3, "ids_digest": None}}, found("a", "b", "d")) == []


def test_parts_of_different_data_sets_may_share_names_as_often_as_there_are_parts() -> None:
    parts = LM | {"dataset": {"questions": 4}, "merged": ["x", "y"], "mismatched": ["dataset"]}
    assert said(parts, found("a", "a", "b", "b")) == []
    assert said(parts | {"dataset": {"questions": 3}}, found("a", "a", "a")) == [
        "1 question is there more than once: a"
    ]
    alike = LM | {"dataset": {"questions": 2}, "merged": ["x", "y"]}
    assert said(alike, found("a", "a")) == ["1 question is there more than once: a"]


@pytest.mark.parametrize(
    ("late_ns", "told"), [(NEAR_NS, []), (NEAR_NS + 1, ["1 question is outside the measured windows"])]
)
def test_a_question_may_end_or_begin_a_microsecond_outside_a_window(late_ns: int, told: list[str]) -> None:
    assert said(LM, found(windows=[(0, 3_000_000_000 - late_ns)])) == told
    assert said(LM, found(windows=[(late_ns, 3_000_000_000)])) == told


def test_questions_may_lie_in_any_of_several_windows_and_in_no_pause_between_them() -> None:
    second = 1_000_000_000
    assert said(LM, found(windows=[(0, second), (second, 3 * second)])) == []
    assert said(LM, found(windows=[(0, second), (2 * second, 3 * second)])) == [
        "1 question is outside the measured windows"
    ]
    assert said(LM, found(windows=[(5 * second, 6 * second)])) == ["3 questions are outside the measured windows"]
    assert said(LM | {"status": "interrupted"}, found(windows=[(5 * second, 6 * second)])) == []


def test_a_question_that_ended_before_it_began_is_told() -> None:
    start, end = np.array([5, 6, 7]), np.array([4, 6, 8])
    window = {"windows": [(0, 10)]}
    assert said(LM, found(start_ns=start, end_ns=end, **window)) == ["1 question ended before it began"]
    assert said(LM, found(start_ns=start, end_ns=end - 1, **window)) == ["2 questions ended before they began"]


def test_steps_of_a_method_are_one_after_the_other_from_0_on() -> None:
    train = {"workload": {"kind": "train"}, "status": "interrupted"}

    def steps(*which: tuple[str, int]) -> list[str]:
        return said(
            train, found("a", lines={}, query_id=(), start_ns=np.zeros(0, int), end_ns=np.zeros(0, int), steps=which)
        )

    assert steps(("m", 1), ("m", 0), ("n", 0), ("m", 2)) == []
    assert steps(("m", 0), ("m", 2)) == ["the steps of m are not one after the other: 2 of 3"]
    assert steps(("m", 0), ("m", 0)) == ["the steps of m are not one after the other: 2 of 1"]


def left(**recorded: Any) -> dict[str, Any]:
    return LM | {"recorded": {"journal": JOURNAL} | recorded}


def test_what_the_run_left_is_what_is_there() -> None:
    assert said(left(readings=5, readings_sha256="r"), found(readings=5, readings_sha256="r")) == []
    assert said(left(readings=5), found(readings=4)) == ["4 of 5 readings are there"]
    assert said(left(readings=5, readings_sha256="r"), found(readings=5, readings_sha256="s")) == [
        "the readings are not as the run left them"
    ]
    assert said(left(readings=None, readings_sha256=None), found(readings=9)) == []
    assert said(left(), found(journal={"bytes": 12, "sha256": "x"})) == [
        "the journal is not as the run left it: it has 12 bytes, and had 10"
    ]
    assert said(left(), found(journal={"bytes": 10, "sha256": "y"})) == [
        "the journal is not as the run left it: it has 10 bytes, and had 10"
    ]


@pytest.mark.parametrize(
    ("manifest", "changes", "told"),
    [
        (LM, {"lines": {"query": 3, "stall": 1}},
         ["the disk was full for a moment, once: what was in flight then was read late"]),
        (LM, {"lines": {"query": 3, "stall": 2}},
         ["the disk was full for a moment, 2 times: what was in flight then was read late"]),
        (LM, {"cut_bytes": 7}, ["the last reading was cut off after 7 bytes"]),
        (LM | {"recorded": {}}, {}, [NO_DIGESTS]),
        (left(), {}, []),
    ],
)  # fmt: skip
def test_what_a_reader_should_know_all_the_same_is_told(
    manifest: dict[str, Any], changes: dict[str, Any], told: list[str]
) -> None:
    verdict = held(manifest, found(**changes))
    assert (verdict.errors, verdict.told) == ([], told)
