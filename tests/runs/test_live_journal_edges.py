"""Where a run is, from its journal as it grows: counts, rates over ten seconds, and tries that were asked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipw.clock import now_ns
from ipw.runs.live.journal import LiveJournal, Standing

S, HOUR_S = 1_000_000_000, 3600


class Growing:
    """A journal that grows, and what is shown of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.live = LiveJournal(path)
        self.now = now_ns() + HOUR_S * S  # so that no pause of the machine is silence

    def add(self, *records: dict[str, Any]) -> Standing:
        """Write records as a run does; where it is then."""
        lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in records]
        with self.path.open("a") as file:
            file.writelines(lines)
        return self.live.standing()

    def query(self, name: str, ago_s: float = 0.0, status: str = "ok", **more: Any) -> dict[str, Any]:
        """A question that ended so many seconds ago."""
        end_ns = self.now - round(ago_s * S)
        return {"kind": "query", "query_id": name, "status": status, "start_ns": end_ns - S, "end_ns": end_ns} | more


@pytest.fixture
def grow(tmp_path: Path) -> Growing:
    """An empty one."""
    return Growing(tmp_path / "journal.jsonl")


def test_a_run_that_has_written_nothing_is_nowhere(grow: Growing) -> None:
    assert grow.live.standing() == Standing(0, 0, None, None, None, None, None)


def test_units_and_tokens_a_second_are_those_between_the_recent_ends(grow: Growing) -> None:
    found = grow.add(
        grow.query("a", 6, completion_tokens=100), grow.query("b", 4, completion_tokens=30), grow.query("c", 2)
    )
    assert (found.done, found.errors) == (3, 0)
    assert found.units_per_s == pytest.approx(2 / 4)
    assert found.tokens_per_s == pytest.approx(30 / 4)  # those of the first came before
    assert grow.add(grow.query("d", 1, completion_tokens=20)).tokens_per_s == pytest.approx(50 / 5)


def test_one_unit_has_no_rate_nor_have_two_that_end_at_once(grow: Growing) -> None:
    assert grow.add(grow.query("a", 3)).units_per_s is None
    found = grow.add(grow.query("b", 3))
    assert (found.done, found.units_per_s, found.tokens_per_s) == (2, None, None)


def test_what_ended_more_than_ten_seconds_before_the_last_is_no_longer_recent(grow: Growing) -> None:
    found = grow.add(grow.query("a", 30), grow.query("b", 11), grow.query("c", 1), grow.query("d", 1))
    assert found.units_per_s == pytest.approx(2 / 10)
    assert grow.add(grow.query("e", 0.5)).units_per_s == pytest.approx(2 / 0.5)


def test_in_silence_there_is_no_rate(grow: Growing) -> None:
    found = grow.add(grow.query("a", HOUR_S + 20), grow.query("b", HOUR_S + 11))
    assert (found.done, found.units_per_s) == (2, None)


def test_accuracy_is_the_mean_of_what_was_scored(grow: Growing) -> None:
    found = grow.add(grow.query("a", score=1.0), grow.query("b", score=0.5), grow.query("c"))
    assert (found.done, found.accuracy) == (3, 0.75)


def test_of_several_tries_of_a_question_the_last_one_counts(grow: Growing) -> None:
    failed = grow.add(grow.query("a", status="error", score=0.0), grow.query("b", score=1.0))
    assert (failed.done, failed.errors, failed.accuracy) == (2, 1, 0.5)
    again = grow.add(grow.query("a", status="error", score=0.0))
    assert (again.done, again.errors, again.accuracy) == (2, 1, 0.5)
    right = grow.add(grow.query("a", score=1.0))
    assert (right.done, right.errors, right.accuracy) == (2, 0, 1.0)
    other = grow.add(grow.query("c", status="error"), grow.query("c", score=0.0))
    assert (other.done, other.errors) == (3, 0)
    assert other.accuracy == pytest.approx(2 / 3)
    assert grow.add(grow.query("a", score=1.0)).done == 4  # of what did not fail, none is another try


def test_the_loss_is_the_last_steps_and_the_phase_is_measured_once_units_end_and_else_that_of_the_last_span(
    grow: Growing,
) -> None:
    step = {"kind": "step", "method": "m", "step": 1, "start_ns": grow.now - S, "end_ns": grow.now, "tokens": 7}
    span = {"kind": "span", "name": "idle before", "phase": "idle", "start_ns": 1, "end_ns": 2}
    assert grow.add(span).phase == "idle"
    found = grow.add(step | {"loss": 2.5}, step | {"loss": 2, "step": 2})
    assert (found.done, found.loss, found.phase) == (2, 2.0, "measure")
    assert grow.add(span).phase == "idle"


def test_half_a_line_waits_for_its_other_half(grow: Growing) -> None:
    grow.add(grow.query("a"))
    whole = (json.dumps(grow.query("b"), separators=(",", ":")) + "\n").encode()
    for part, done in ((whole[:20], 1), (whole[20:], 2)):
        with grow.path.open("ab") as file:
            file.write(part)
        assert grow.live.standing().done == done
