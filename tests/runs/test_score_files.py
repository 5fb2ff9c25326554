"""Scorings beside the journal: which one counts, where one goes on, and what is no scoring."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipw.errors import UsageError
from ipw.runs.checks.digests import digest
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.scores import keep_digest, newest_scores, open_scores, score_files

EXACT = {"scorer": "exact"}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of three questions."""
    run = RunDir.create(tmp_path, "scored")
    run.write_manifest({"run_id": "r", "recorded": {"note": 1, "files": {"journal.jsonl": "x"}}})
    with Journal(run) as journal:
        for name in "abc":
            journal.append("query", {"query_id": name, "status": "ok"})
    return run


def scored(run: RunDir, *scores: float | None, facts: dict[str, Any] | None = None) -> Path:
    file = open_scores(run, facts or EXACT)
    for score in scores:
        file.append({"score": score, "parsed": score is not None})
    file.close()
    return file.path


def test_a_run_that_was_never_scored_has_no_scores(run: RunDir) -> None:
    assert score_files(run) == []
    assert newest_scores(run, 3) is None


def test_a_scoring_is_read_as_it_was_written_with_how_it_was_made(run: RunDir) -> None:
    path = scored(run, 0.5, None, 1.0, facts=EXACT | {"version": 2})
    found = newest_scores(run, 3)
    assert found is not None
    scores, facts = found
    np.testing.assert_array_equal(scores.score, [0.5, math.nan, 1.0])
    np.testing.assert_array_equal(scores.parsed, [1, 0, 1])
    assert facts == {"file": "scores-1.jsonl", "scorer": "exact", "version": 2}
    assert path.name == "scores-1.jsonl"


def test_what_was_interrupted_goes_on_in_its_file_and_says_how_much_is_done(run: RunDir) -> None:
    scored(run, 1.0)
    file = open_scores(run, EXACT)
    assert (file.path.name, file.done) == ("scores-1.jsonl", 1)
    file.append({"score": 0.0})
    file.flush()
    assert file.done == 2
    assert len(file.path.read_text().splitlines()) == 3
    file.append({"score": 0.25})
    file.close()
    found = newest_scores(run, 3)
    assert found is not None
    assert found[0].score.tolist() == [1.0, 0.0, 0.25]


def test_a_torn_line_is_scored_again(run: RunDir) -> None:
    path = scored(run, 1.0, 0.0)
    path.write_bytes(path.read_bytes() + b'{"score":')
    assert newest_scores(run, 3) is None
    file = open_scores(run, EXACT)
    assert file.done == 2
    file.append({"score": 0.5})
    file.close()
    found = newest_scores(run, 3)
    assert found is not None
    assert found[0].score.tolist() == [1.0, 0.0, 0.5]


def test_a_scoring_that_is_whole_or_of_another_kind_is_left_and_a_new_one_begun(run: RunDir) -> None:
    scored(run, 1.0, 1.0, 1.0)
    again = open_scores(run, EXACT)
    assert (again.path.name, again.done) == ("scores-2.jsonl", 0)
    again.close()
    other = open_scores(run, {"scorer": "contains"})
    assert other.path.name == "scores-3.jsonl"
    other.close()


def test_the_newest_whole_scoring_counts_and_ten_comes_after_nine(run: RunDir) -> None:
    for number, score in ((9, 0.25), (10, 0.75), (2, 0.5)):
        lines = [EXACT, *({"score": score} for _ in range(3))]
        (run.path / f"scores-{number}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (run.path / "scores-11.jsonl").write_text(json.dumps(EXACT) + "\n" + '{"score":1}\n')  # was interrupted
    assert [path.name for path in score_files(run)] == [f"scores-{i}.jsonl" for i in (2, 9, 10, 11)]
    found = newest_scores(run, 3)
    assert found is not None
    assert (found[0].score.tolist(), found[1]["file"]) == ([0.75] * 3, "scores-10.jsonl")
    assert newest_scores(run, 4) is None
    assert newest_scores(run, 0) is None


@pytest.mark.parametrize(("line", "number"), [('{"score":"x"}', 2), ("[]", 3), ("{", 4)])
def test_a_line_that_scores_nothing_is_told_by_its_number(run: RunDir, line: str, number: int) -> None:
    lines = [json.dumps(EXACT), *['{"score":1}'] * 3]
    lines[number - 1] = line
    (run.path / "scores-1.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=rf"scores-1\.jsonl: line {number} cannot be read"):
        newest_scores(run, 3)


def test_a_first_line_that_does_not_say_how_was_scored_is_told(run: RunDir) -> None:
    (run.path / "scores-1.jsonl").write_text("{}\n" + '{"score":1}\n' * 3)
    with pytest.raises(UsageError, match="its first line does not say how was scored"):
        newest_scores(run, 3)


def test_the_digest_of_a_scoring_joins_what_the_manifest_holds_already(run: RunDir) -> None:
    path = scored(run, 1.0, 1.0, 1.0)
    keep_digest(run, path)
    recorded = run.manifest()["recorded"]
    assert recorded == {"note": 1, "files": {"journal.jsonl": "x", "scores-1.jsonl": digest(path)}}
