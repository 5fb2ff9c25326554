from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.runs.checks.record import Found, held, ids_digest

NAMES = [f"q{i}" for i in range(12)]
SECOND = 1_000_000_000
NOT_AS_LEFT = "the journal is not as the run left it"
JOURNAL = {"bytes": 5000, "sha256": "aa"}
MANIFEST: dict[str, Any] = {
    "status": "complete",
    "workload": {"kind": "lm"},
    "dataset": {"questions": 12, "ids_digest": ids_digest(NAMES)},
    "recorded": {"journal": JOURNAL, "readings": 400},
}


def found(**changes: Any) -> Found:
    names = changes.get("query_id", NAMES)
    start = np.arange(len(names), dtype=np.int64) * SECOND
    whole = Found(
        journal=JOURNAL, lines={"query": 12, "span": 3}, windows=[(0, 12 * SECOND)], rows={"query": 12},
        query_id=NAMES, start_ns=start, end_ns=start + SECOND // 2, readings=400,
    )  # fmt: skip
    return dataclasses.replace(whole, **changes)


def errors(manifest: Mapping[str, Any], what: Found) -> list[str]:
    return held(manifest, what).errors


def test_a_whole_record_is_held() -> None:
    assert held(MANIFEST, found()) == ([], [])


def test_an_old_manifest_is_held_to_what_it_says() -> None:
    old = {"status": "complete", "workload": {"kind": "lm"}, "dataset": {"questions": 12}}
    assert held(old, found(journal={"bytes": 1, "sha256": "bb"}, readings=1)) == ([], [])
    assert errors(old, found(query_id=NAMES[:11]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"damaged": 1}, "1 line of the journal is not whole"),
        ({"damaged": 3}, "3 lines of the journal are not whole"),
        ({"rows": {"query": 11}}, "1 line of kind query cannot be read"),
        ({"unknown": {"poem"}}, "the journal has lines of unknown kinds: poem"),
        ({"journal": {"bytes": 4000, "sha256": "bb"}}, f"{NOT_AS_LEFT}: it has 4000 bytes, and had 5000"),
        ({"journal": {"bytes": 5000, "sha256": "bb"}}, f"{NOT_AS_LEFT}: it has 5000 bytes, and had 5000"),
        ({"query_id": NAMES[:8]}, "8 of 12 questions are in the journal"),
        ({"query_id": [*NAMES, "q12"]}, "13 of 12 questions are in the journal"),
        ({"query_id": [*NAMES[:11], "q0"]}, "1 question is there more than once: q0"),
        ({"query_id": [*NAMES[:11], "q99"]}, "the questions in the journal are not those that were asked"),
        ({"unknown": {"a", "b", "c", "d", "e"}}, "the journal has lines of unknown kinds: a, b, c and 2 more"),
        ({"windows": []}, "the mark of the measured window is missing"),
        ({"windows": [(0, 6 * SECOND)]}, "6 questions are outside the measured windows"),
        ({"end_ns": np.full(12, -1)}, "12 questions ended before they began"),
        ({"readings": 399}, "399 of 400 readings are there"),
        ({"readings": 401}, "401 of 400 readings are there"),
    ],
)  # fmt: skip
def test_what_contradicts_the_manifest_is_an_error(changes: dict[str, Any], told: str) -> None:
    what = found(**{name: value for name, value in changes.items() if name == "query_id"})
    assert told in errors(MANIFEST, dataclasses.replace(what, **changes))


@pytest.mark.parametrize(
    ("status", "is_error"), [("complete", True), ("invalid", True), ("running", True), ("interrupted", False)]
)
def test_fewer_questions_than_planned_are_what_an_interrupted_run_has(status: str, is_error: bool) -> None:
    assert bool(errors(MANIFEST | {"status": status}, found(query_id=NAMES[:8]))) == is_error


def test_a_run_that_never_ended_is_told_whatever_it_measured() -> None:
    for kind in ("lm", "command", "train", "routing"):
        told = errors({"status": "running", "workload": {"kind": kind}}, found())
        assert told == ["the run never ended: it was killed, or the machine went down"]


def test_parts_of_different_data_sets_may_share_names() -> None:
    twice, manifest = [*NAMES, *NAMES], MANIFEST | {"dataset": {"questions": 24}}
    merged = manifest | {"merged": [{}, {}]}
    what = found(query_id=twice, rows={}, windows=[(0, 99 * SECOND)])
    assert errors(merged | {"mismatched": True}, what) == []
    assert errors(merged, what)
    assert errors(manifest | {"mismatched": True}, what)


@pytest.mark.parametrize("steps", [[0, 1, 3], [1, 2, 3], [0, 1, 1], [0, 2]])
def test_steps_of_training_follow_one_another(steps: list[int]) -> None:
    manifest = {"status": "complete", "workload": {"kind": "train"}}
    whole = found(query_id=(), rows={}, steps=[("a", 0), *(("b", step) for step in range(9))])
    assert errors(manifest, whole) == []
    assert (
        "the steps of a are not one after the other"
        in errors(manifest, dataclasses.replace(whole, steps=[("a", step) for step in steps]))[0]
    )


def test_a_disk_that_was_full_for_a_moment_is_told() -> None:
    verdict = held(MANIFEST, found(lines={"query": 12, "stall": 2}))
    assert verdict == ([], ["the disk was full for a moment, 2 times: what was in flight then was read late"])


def test_a_reading_that_was_cut_off_is_told() -> None:
    assert held(MANIFEST, found(cut_bytes=7)) == ([], ["the last reading was cut off after 7 bytes"])


@given(st.permutations(NAMES))
def test_the_order_in_which_questions_were_answered_means_nothing(names: list[str]) -> None:
    assert errors(MANIFEST, found(query_id=names)) == []


@given(st.sets(st.sampled_from(range(12)), min_size=1), st.booleans())
def test_no_choice_of_questions_can_be_left_out_or_put_in_twice(chosen: set[int], twice: bool) -> None:
    times = 2 if twice else 0
    kept = [name for i, name in enumerate(NAMES) for _ in range(times if i in chosen else 1)]
    assert errors(MANIFEST | {"recorded": None}, found(query_id=kept, rows={}, windows=[(0, 99 * SECOND)]))


@given(st.text(), st.text())
def test_names_that_could_run_into_one_another_do_not(a: str, b: str) -> None:
    assert (ids_digest([a, b]) == ids_digest([a + b])) is False
    assert ids_digest([a, b]) == ids_digest([b, a])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: (
            st.lists(x) | st.dictionaries(st.sampled_from([*MANIFEST, "journal", "readings", "kind", "merged"]), x)
        ),
        max_leaves=8,
    )
)
def test_a_manifest_may_have_been_written_by_anybody(manifest: Any) -> None:
    held(manifest if isinstance(manifest, dict) else {"recorded": manifest, "dataset": manifest}, found())
