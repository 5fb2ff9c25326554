from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubles.openai_server import Behaviour, Request, serving

from ipw.errors import UsageError
from ipw.metrics.validity.record import record_faults
from ipw.pipeline import derive
from ipw.runs.checks.record import NO_DIGESTS
from ipw.runs.checks.survey import recorded, survey_raw
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL
from ipw.runs.readings import RECORD
from ipw.workloads.lm.scored_again import score_run

QUESTIONS = 12
Lines = list[bytes]


def answer(request: Request) -> Behaviour:
    return Behaviour([request.prompt], token_s=0.002, prefill_s=0.002)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve questions, of which a third were answered wrongly."""
    folder = tmp_path_factory.mktemp("measured")
    rows = [{"id": f"q{i}", "prompt": f"say {i}", "answer": f"say {i}" if i % 3 else "no"} for i in range(QUESTIONS)]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(answer) as server:
        command = ["run", "lm", "--base-url", server.url, "--dataset", str(folder / "q.jsonl"), "--warmup", "1"]
        command += ["--idle", "0.2", "--sensors", "estimate", "--out", str(folder / "runs")]
        subprocess.run([sys.executable, "-m", "ipw.cli", *command], check=True, capture_output=True)
    (run,) = (folder / "runs").iterdir()
    return run


@pytest.fixture
def run(measured: Path, tmp_path: Path) -> RunDir:
    return RunDir(Path(shutil.copytree(measured, tmp_path / "run")))


def alter(run: RunDir, change: Callable[[Lines], Lines]) -> None:
    path = run.path / JOURNAL
    path.write_bytes(b"\n".join(change(path.read_bytes().split(b"\n"))))


def is_query(line: bytes) -> bool:
    return line.startswith(b'{"kind":"query"')


def is_wrong(line: bytes) -> bool:
    return is_query(line) and b'"score":0' in line


def torn(line: bytes) -> Lines:
    return [line[:40]]


def torn_begin(line: bytes) -> Lines:
    return [line[40:]]


def gone(_: bytes) -> Lines:
    return []


def twice(line: bytes) -> Lines:
    return [line, line]


def glued(line: bytes) -> Lines:
    return [line[: len(line) // 2] + line]


def zeros(line: bytes) -> Lines:
    return [line[:30] + bytes(60) + line[90:]]


def emptied(_: bytes) -> Lines:
    return [b""]


def nameless(line: bytes) -> Lines:
    return [line.replace(b'"query_id":"q', b'"query_ix":"q')]


def renamed(line: bytes) -> Lines:
    return [line.replace(b'"query_id":"q', b'"query_id":"p')]


def timeless(line: bytes) -> Lines:
    return [line.replace(b'"start_ns":', b'"begin_ns":')]


def elsewhere(line: bytes) -> Lines:
    record = json.loads(line)
    return [json.dumps(record | {"end_ns": record["end_ns"] + 10**12}, separators=(",", ":")).encode()]


def of_another_kind(line: bytes) -> Lines:
    return [line.replace(b'"kind":"query"', b'"kind":"quest"')]


DAMAGES = [
    torn,
    torn_begin,
    gone,
    twice,
    glued,
    zeros,
    emptied,
    nameless,
    renamed,
    timeless,
    elsewhere,
    of_another_kind,
]


def some(seed: int) -> Callable[[bytes], bool]:
    drawn = random.Random(seed)
    return lambda line: is_query(line) and drawn.random() < 0.4


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "which", [is_wrong, lambda line: is_query(line) and not is_wrong(line), some(1), some(2)],
    ids=["wrong answers", "right answers", "some", "others"],
)  # fmt: skip
def test_a_journal_with_answers_torn_gone_or_there_twice_is_never_believed(
    run: RunDir, damage: Callable[[bytes], Lines], which: Callable[[bytes], bool]
) -> None:
    run.update_manifest(recorded=None)  # as an older version left it
    alter(run, lambda lines: [each for line in lines for each in (damage(line) if which(line) else [line])])
    summary = derive(run)
    assert record_faults(summary)
    assert not summary["valid"]


@pytest.mark.parametrize("status", ["complete", "interrupted"])
def test_an_answer_that_was_made_right_afterwards_is_told(run: RunDir, status: str) -> None:
    run.update_manifest(status=status)
    alter(run, lambda lines: [line.replace(b'"score":0', b'"score":1') for line in lines])
    summary = derive(run)
    assert summary["metrics"]["accuracy"]["value"] == 1.0
    assert not summary["valid"]
    assert "the journal is not as the run left it" in record_faults(summary)[0]


def test_answers_torn_from_an_interrupted_run_are_told(run: RunDir) -> None:
    run.update_manifest(status="interrupted")
    alter(run, lambda lines: [line[:40] if is_wrong(line) else line for line in lines])
    assert not derive(run)["valid"]


def test_the_run_as_it_is_can_be_believed_again_and_again(run: RunDir) -> None:
    for _ in range(2):
        summary = derive(run)
        (record,) = [check for check in summary["validity"] if check["check"] == "record"]
        assert record["ok"], record
        assert f"{QUESTIONS} questions" in record["detail"]


@pytest.mark.parametrize("cut", [1, 23, 24, 24 * 3 + 5])
def test_readings_that_are_gone_are_told(run: RunDir, cut: int) -> None:
    readings = run.readings().tobytes()
    (run.path / "power.parquet").unlink()
    (run.path / "power.bin").write_bytes(readings[: len(readings) - cut])
    assert any("readings are there" in fault for fault in record_faults(derive(run)))


@pytest.mark.parametrize("field", ["t_ns", "value", "status", "uncertainty_ns"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_reading_that_was_changed_is_told(run: RunDir, field: str, packed: bool) -> None:
    readings = run.readings().copy()
    readings[field][len(readings) // 2] += 1
    (run.path / "power.parquet").unlink()
    (run.path / "power.bin").write_bytes(readings.tobytes())
    if packed:
        run.pack_readings()
    assert record_faults(derive(run)) == ["the readings are not as the run left them"]


def test_a_manifest_in_which_a_measured_fact_was_changed_is_told(run: RunDir) -> None:
    path = run.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sensors"][0]["gain_rel"] = 0.001
    path.write_text(json.dumps(manifest))
    told = "the manifest is not as ipw wrote it: an entry was changed"
    for _ in range(2):
        summary = derive(run)
        assert (record_faults(summary), summary["valid"]) == ([told], False)


def test_the_scores_of_a_question_that_were_changed_later_are_told(run: RunDir) -> None:
    score_run(run, "exact")
    assert record_faults(derive(run)) == []
    path = run.path / "scores-1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"score":0.0', b'"score":1.0'))
    summary = derive(run)
    assert summary["metrics"]["accuracy"]["value"] == 1.0
    assert record_faults(summary) == ["scores-1.jsonl is not as it was written"]


def test_scores_that_are_gone_are_told(run: RunDir) -> None:
    score_run(run, "exact")
    (run.path / "scores-1.jsonl").unlink()
    assert record_faults(derive(run)) == ["scores-1.jsonl is gone"]


@pytest.mark.parametrize("line", [b"{", b"[]", b"{}", b'{"query_id":"q1","score":"1"}'])
def test_a_score_that_cannot_be_read_is_refused_and_scored_again(run: RunDir, line: bytes) -> None:
    score_run(run, "exact")
    path = run.path / "scores-1.jsonl"
    rows = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*rows[:2], line, *rows[3:]]) + b"\n")
    with pytest.raises(UsageError, match="line 3 cannot be read"):
        derive(run)
    score_run(run, "exact")
    assert record_faults(derive(run)) == ["scores-1.jsonl is not as it was written"]


def test_a_torn_reading_behind_the_last_whole_one_is_told_and_costs_nothing(run: RunDir) -> None:
    readings = run.readings().tobytes()
    (run.path / "power.parquet").unlink()
    (run.path / "power.bin").write_bytes(readings + bytes(RECORD.size - 1))
    summary = derive(run)
    (record,) = [check for check in summary["validity"] if check["check"] == "record"]
    assert (record["ok"], record["level"]) == (False, "warning")
    assert record["detail"] == f"the last reading was cut off after {RECORD.size - 1} bytes"


def test_the_mark_of_the_window_that_is_gone_is_told(run: RunDir) -> None:
    run.update_manifest(recorded=None)
    alter(run, lambda lines: [line for line in lines if b'"phase":"measure"' not in line])
    assert "the mark of the measured window is missing" in record_faults(derive(run))[0]


def test_a_journal_that_is_gone_is_told(run: RunDir) -> None:
    run.update_manifest(recorded=None)
    (run.path / JOURNAL).unlink()
    assert f"0 of {QUESTIONS} questions are in the journal" in record_faults(derive(run))[0]


def test_many_lines_are_counted_like_few(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    import ipw.runs.checks.survey as module

    def counts() -> tuple[Any, ...]:
        found = module.survey_raw(run)
        return found.journal, dict(found.lines), found.damaged, found.windows

    whole = counts()
    for block in (1, 50, 1000):
        monkeypatch.setattr(module, "BLOCK", block)
        assert counts() == whole


def test_a_question_that_failed_and_was_asked_again_by_resume_counts_once(run: RunDir) -> None:
    run.update_manifest(recorded=None, resumed=[{"status": "interrupted"}])

    def failed_first(line: bytes) -> Lines:
        return [json.dumps(json.loads(line) | {"status": "error"}, separators=(",", ":")).encode(), line]

    alter(run, lambda lines: [each for line in lines for each in (failed_first(line) if is_wrong(line) else [line])])
    summary = derive(run)
    (record,) = [check for check in summary["validity"] if check["check"] == "record"]
    assert record["detail"].startswith(NO_DIGESTS)
    assert summary["metrics"]["queries"]["value"] == QUESTIONS


def test_the_check_counts_questions_and_not_tries(run: RunDir) -> None:
    def failed_first(line: bytes) -> Lines:
        return [json.dumps(json.loads(line) | {"status": "error"}, separators=(",", ":")).encode(), line]

    alter(run, lambda lines: [each for line in lines for each in (failed_first(line) if is_wrong(line) else [line])])
    run.update_manifest(resumed=[{"status": "interrupted"}])
    run.update_manifest(recorded=recorded(run, None))
    (record,) = [check for check in derive(run)["validity"] if check["check"] == "record"]
    assert record["ok"]
    assert record["detail"].startswith(f"{QUESTIONS} questions and ")


@pytest.mark.parametrize("name", [b"start_ns", b"end_ns"])
@pytest.mark.parametrize("kind", [b'"kind":"warmup"', b'"kind":"query"'])
def test_a_question_without_a_moment_is_told_and_left_out(run: RunDir, kind: bytes, name: bytes) -> None:
    other = name.replace(b"_ns", b"_sn")
    alter(run, lambda lines: [line.replace(name, other, 1) if kind in line else line for line in lines])
    assert any("the journal is not as the run left it" in fault for fault in record_faults(derive(run)))


@pytest.mark.parametrize("name", [b"query_id", b"start_ns", b"end_ns"])
def test_of_what_was_read_raw_a_question_without_a_name_or_a_moment_is_none(run: RunDir, name: bytes) -> None:
    whole = survey_raw(run)
    first = next(line for line in (run.path / JOURNAL).read_bytes().splitlines() if b'"kind":"query"' in line)
    alter(run, lambda lines: [line.replace(name, b"another", 1) if line.rstrip() == first else line for line in lines])
    found = survey_raw(run)
    assert len(found.query_id) == len(found.start_ns) == len(found.end_ns) == len(whole.query_id) - 1


def test_journals_of_other_ranks_are_looked_at_and_are_not_the_runs_own(run: RunDir) -> None:
    import ipw.runs.checks.survey as module

    before = module.survey_raw(run)
    other = run.path / "journal-rank1.jsonl"
    other.write_bytes(b'{"kind":"span","rank":1,"phase":"step","start_ns":1,"end_ns":2}\n{"kind":"spa')
    after = module.survey_raw(run)
    assert after.journal == before.journal
    assert (after.lines["span"], after.damaged) == (before.lines["span"] + 1, 1)
