"""The arrivals of a run: every chunk of every request, as the client saw it, whatever becomes of the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.openai_server import Behaviour, Request, serving
from test_merge import SECOND, two
from workloads.lm.test_run import Marks, sums

from ipw.attribution.queries.arrivals import read_arrivals
from ipw.attribution.queries.phases import Timing
from ipw.attribution.queries.tables import read_finished
from ipw.errors import UsageError
from ipw.pipeline import derive
from ipw.runs.arrivals import ARRIVALS, UNIT_NS, encoded
from ipw.runs.arrivals_file import ArrivalsFile
from ipw.runs.checks.record import Found, held
from ipw.runs.checks.survey import recorded
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.merge import merge_runs
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.plan import plan
from ipw.workloads.lm.run import run_lm
from ipw.workloads.lm.servers.engines import serve

Told = dict[str, list[tuple[int, int]]]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir.create(tmp_path, "test")
    made.write_manifest({"run_id": "test", "status": "running", "workload": {"kind": "lm"}, "sensors": []})
    return made


def execute(run: RunDir, **options: Any) -> None:
    parameters = Parameters(**({"warmup": 0} | options))
    with (
        serve(parameters) as endpoint,
        Journal(run) as journal,
        ArrivalsFile(run, journal) as arrivals,
    ):
        run_lm(Marks(journal), journal, endpoint, plan(parameters), lambda _: None, arrivals_book=arrivals)


def kept(run: RunDir) -> tuple[Told, dict[str, Any]]:
    """Time and tokens of every chunk, by the name of the query that counts; and what was read."""
    finished = read_finished(run)
    columns = zip(finished.timing, finished.others, strict=True)
    timing = Timing(*(np.concatenate(pair) for pair in columns))
    chunks, facts = read_arrivals(run, timing, finished.arrivals_at)
    found: Told = {}
    if chunks is not None:
        names = finished.query_id.to_pylist()
        t_ns = timing.start_ns[chunks.row] + chunks.since_ns
        for row, at, tokens in zip(chunks.row.tolist(), t_ns.tolist(), chunks.tokens.tolist(), strict=True):
            found.setdefault(names[row] if row < len(names) else f"other {row - len(names)}", []).append((at, tokens))
    return found, facts


def test_every_chunk_of_every_request_is_kept_at_its_moment(run: RunDir, tmp_path: Path) -> None:
    def behave(request: Request) -> Behaviour:
        return Behaviour(["a "] * (3 + request.number), ["hm "], prefill_s=0.01, token_s=0.004)

    with serving(behave) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 6), concurrency=3, warmup=1)
    found, facts = kept(run)
    assert len(found) == 7
    assert facts == {"requests": 7, "missing": 0, "chunks": sum(range(4, 11))}
    for record in run.journal("query"):
        t_ns = [at for at, _ in found[record["query_id"]]]
        assert len(t_ns) == record["chunks"]
        assert 0 <= record["first_token_ns"] - t_ns[0] < UNIT_NS
        assert 0 <= record["last_token_ns"] - t_ns[-1] < UNIT_NS
        assert t_ns == sorted(t_ns)


def test_a_run_takes_less_than_three_bytes_a_token(run: RunDir, tmp_path: Path) -> None:
    with serving(Behaviour(["a "] * 40, token_s=0.002)) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 8), concurrency=4)
    assert (run.path / ARRIVALS).stat().st_size < 2.5 * 8 * 40


def test_a_question_that_failed_on_the_way_keeps_what_had_come(run: RunDir, tmp_path: Path) -> None:
    with serving(Behaviour(["1"] * 5, fault="drop", fault_after=3)) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 1), retries=1)
    found, facts = kept(run)
    assert [len(chunks) for chunks in found.values()] == [3]
    assert facts["requests"] == 1
    (again,) = run.journal("retry")
    assert again["arrivals"] > 0


def test_an_answer_that_comes_at_once_has_no_arrivals(run: RunDir, tmp_path: Path) -> None:
    with serving(Behaviour(["1"] * 5, streamed=False)) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 2))
    assert kept(run) == ({}, {"requests": 0, "missing": 0, "chunks": 0})
    assert "arrivals" not in next(iter(run.journal("query")))


def chunk(text: str | None, completion: int | None = None, logprobs: int = 0) -> bytes:
    """A chunk of an answer, with the usage so far or with some log-probabilities."""
    choice: dict[str, Any] = {"index": 0, "delta": {} if text is None else {"content": text}}
    choice |= {"logprobs": {"content": [{"token": "t", "logprob": -0.1}] * logprobs}} if logprobs else {}
    usage = {} if completion is None else {"usage": {"prompt_tokens": 4, "completion_tokens": completion}}
    return b"data: " + json.dumps({"choices": [choice], **usage}).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("sent", "tokens"),
    [
        ([chunk("a", 1), chunk("b", 4), chunk("c", 6)], [1, 3, 2]),
        ([chunk(None, 0), chunk("a", 2), chunk("b", 2), chunk(None, 5)], [2, 3]),
        ([chunk("a"), chunk("b"), chunk("c", 6)], [1, 1, 1]),
        ([chunk("a b c", 7)], [7]),
        ([chunk("a", None, 2), chunk("b", None, 1)], [2, 1]),
        ([chunk("a", None, 2), chunk("b")], [1, 1]),
        ([chunk("a", 5), chunk("b", 3)], [5, 0]),
    ],
    ids=[
        "usage with every chunk", "usage before and behind the text too", "usage with the last one only", "all at once",
        "log-probabilities", "of some only", "usage that falls",
    ],
)  # fmt: skip
def test_a_chunk_has_the_tokens_that_the_server_told_with_it_or_one(
    run: RunDir, tmp_path: Path, sent: list[bytes], tokens: list[int]
) -> None:
    with serving(Behaviour(body=[*sent, b"data: [DONE]\n\n"])) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 1))
    found, _ = kept(run)
    assert [count for _, count in found["0+1"]] == tokens


CHILD = """
import sys
from pathlib import Path
from workloads.lm.test_arrivals import execute
from ipw.runs.directory import RunDir
execute(RunDir(Path(sys.argv[1])), base_url=sys.argv[2], dataset=sys.argv[3], concurrency=4)
"""


def test_a_killed_client_has_kept_the_arrivals_of_every_question_that_it_has_kept(run: RunDir, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    with serving(Behaviour(["1", "2", "3"], token_s=0.004)) as server:
        command = [sys.executable, "-c", CHILD, str(run.path), server.url, sums(tmp_path, 500)]
        child = subprocess.Popen(command, env=environment)
        while sum(book.end_ns is not None for book in server.books) < 30:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait(120)
    asked = list(run.journal("query"))
    found, facts = kept(run)
    assert len(asked) >= 25
    assert {name: len(chunks) for name, chunks in found.items()} == {record["query_id"]: 3 for record in asked}
    assert facts["missing"] == 0


def test_what_a_crash_cut_short_is_cut_off_and_told_and_the_next_block_stands_behind_the_last_whole_one(
    run: RunDir,
) -> None:
    whole = encoded(0, [SECOND, 2 * SECOND])
    (run.path / ARRIVALS).write_bytes(whole + whole[:-1])
    with Journal(run) as journal, ArrivalsFile(run, journal) as arrivals:
        assert arrivals.cut_bytes == len(whole) - 1
        assert arrivals.append(whole) == len(whole)
    assert (run.path / ARRIVALS).read_bytes() == whole + whole


def test_a_damaged_file_is_refused_in_one_line_and_stays_as_it_is(run: RunDir) -> None:
    damaged = bytearray(encoded(0, [SECOND, 2 * SECOND]))
    damaged[3] ^= 1
    (run.path / ARRIVALS).write_bytes(damaged)
    with Journal(run) as journal, pytest.raises(UsageError, match=r"arrivals\.bin cannot be read: its block at byte 0"):
        ArrivalsFile(run, journal)
    assert (run.path / ARRIVALS).read_bytes() == damaged


def with_arrivals(part: RunDir) -> RunDir:
    """Give every query of a run without arrivals two chunks of text, at its first token and at its end."""
    lines = [json.loads(line) for line in (part.path / "journal.jsonl").read_text().splitlines()]
    (part.path / "journal.jsonl").unlink()
    with Journal(part) as journal, ArrivalsFile(part, journal) as arrivals:
        for line in lines:
            kind = line.pop("kind")
            if kind == "query":
                stamps = [line["first_token_ns"], line["end_ns"]]
                line["arrivals"] = arrivals.append(encoded(line["start_ns"], stamps))
            journal.append(kind, line)
    return part


def test_merged_runs_keep_the_arrivals_of_all_parts_at_their_distances(tmp_path: Path) -> None:
    one, other = map(with_arrivals, two(tmp_path))
    (one.path / ARRIVALS).write_bytes((one.path / ARRIVALS).read_bytes() + encoded(0, [SECOND])[:-2])  # torn
    found, facts = kept(merge_runs([one, other], tmp_path / "out"))
    assert facts == {"requests": 40, "missing": 0, "chunks": 80}
    starts = {r["query_id"]: r["start_ns"] for r in RunDir(next((tmp_path / "out").iterdir())).journal("query")}
    for name, chunks in found.items():
        assert [t_ns - starts[name] for t_ns, _ in chunks] == [SECOND // 5, SECOND]


def test_a_part_without_arrivals_merges_with_one_that_has_them(tmp_path: Path) -> None:
    one, other = two(tmp_path)
    found, facts = kept(merge_runs([one, with_arrivals(other)], tmp_path / "out"))
    assert (len(found), facts["missing"]) == (30, 0)


def test_a_run_without_arrivals_is_derived_as_ever(tmp_path: Path) -> None:
    bare, _ = two(tmp_path / "bare")
    kept_, _ = two(tmp_path / "kept")
    assert derive(bare)["metrics"].keys() == derive(with_arrivals(kept_))["metrics"].keys()
    assert bare.manifest()["arrivals"] == {"requests": 0, "chunks": 0, "missing": 0}


def record(summary: dict[str, Any]) -> tuple[bool, str]:
    (check,) = [check for check in summary["validity"] if check["check"] == "record"]
    return check["ok"], check["detail"]


def test_arrivals_that_are_gone_cut_or_changed_are_told(tmp_path: Path) -> None:
    part = with_arrivals(two(tmp_path)[0])
    part.update_manifest(recorded=recorded(part, None))
    assert record(derive(part))[0]
    whole = (part.path / ARRIVALS).read_bytes()
    (part.path / ARRIVALS).write_bytes(whole[:-3])
    ok, told = record(derive(part))
    assert not ok
    assert told.startswith(
        "1 request is without the arrivals that the journal points at; arrivals.bin is not as it was"
    )
    assert "the arrivals of a request that was on its way were cut off after" in told
    (part.path / ARRIVALS).unlink()
    ok, told = record(derive(part))
    assert not ok
    assert "arrivals.bin is gone" in told
    (part.path / ARRIVALS).write_bytes(whole[:5] + bytes([whole[5] ^ 4]) + whole[6:])
    with pytest.raises(UsageError, match="is damaged"):
        derive(part)


def test_arrivals_of_another_run_are_told_and_not_taken(tmp_path: Path) -> None:
    part = with_arrivals(two(tmp_path)[0])
    blocks = [encoded(0, [SECOND // (4 if number == 3 else 5), SECOND]) for number in range(10)]
    (part.path / ARRIVALS).write_bytes(b"".join(blocks))
    assert record(derive(part)) == (False, "1 request is without the arrivals that the journal points at")
    assert part.manifest()["arrivals"] == {"requests": 9, "chunks": 18, "missing": 1}


def test_a_run_that_was_killed_says_what_it_lacks() -> None:
    found = Found(journal={}, lines={})
    assert held({"arrivals": {"missing": 2}}, found).errors == [
        "2 requests are without the arrivals that the journal points at"
    ]
    assert held({"arrivals": {"missing": 0, "torn_bytes": 9}}, found).told == [
        "the arrivals of a request that was on its way were cut off after 9 bytes"
    ]
