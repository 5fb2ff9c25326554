from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from doubles.openai_server import Behaviour, Request, Server, serving

from ipw.clock import now_ns
from ipw.errors import IpwError, OutageError, UsageError
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.scores import newest_scores
from ipw.workloads.base import Counters
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.plan import plan
from ipw.workloads.lm.run import run_lm
from ipw.workloads.lm.scored_again import score_run
from ipw.workloads.lm.servers.engines import serve


class Marks:
    """Marks spans in a journal, with no sensor beside it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    @contextmanager
    def span(self, name: str, phase: str) -> Iterator[None]:
        start_ns = now_ns()
        try:
            yield
        finally:
            self.journal.append("span", {"name": name, "phase": phase, "start_ns": start_ns, "end_ns": now_ns()})


def sums(folder: Path, count: int) -> str:
    """Write a data set of sums, the prompt of each being its own id."""
    path = folder / "sums.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"{i}+1", "prompt": f"{i}+1", "answer": i + 1}) + "\n" for i in range(count))
    )
    return str(path)


def right(request: Request) -> Behaviour:
    return Behaviour([str(int(request.prompt.removesuffix("+1")) + 1)])


def execute(run: RunDir, **options: Any) -> list[Counters]:
    told: list[Counters] = []
    parameters = Parameters(**({"warmup": 0} | options))
    planned = plan(parameters)
    with serve(parameters) as endpoint, Journal(run) as journal:
        run_lm(Marks(journal), journal, endpoint, planned, lambda counters: told.append(copy(counters)))
    return told


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "test")


def test_every_question_is_asked_once_and_judged(run: RunDir, tmp_path: Path) -> None:
    def behave(request: Request) -> Behaviour:
        return right(request) if request.prompt != "3+1" else Behaviour(["5"])

    with serving(behave) as server:
        told = execute(run, base_url=server.url, dataset=sums(tmp_path, 6))
    records = list(run.journal("query"))
    assert [record["query_id"] for record in records] == [f"{i}+1" for i in range(6)]
    assert [record["score"] for record in records] == [1, 1, 1, 0, 1, 1]
    assert records[3]["response"] == "5"
    assert records[3]["answer"] == "4"
    assert told[-1] == Counters(total=6, done=6, right=5.0, tokens=6, errors=0)
    assert [counters.done for counters in told] == [1, 2, 3, 4, 5, 6]


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]


def test_a_chat_is_asked_as_its_messages_and_every_alias_is_right_then_and_later(run: RunDir, tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"prompt": CHAT, "answer": ["four", "4"]}) + "\n")
    with serving(Behaviour(["4"])) as server:
        execute(run, base_url=server.url, dataset=str(path))
        assert [book.body["messages"] for book in server.books] == [CHAT]
    (record,) = run.journal("query")
    assert (record["answer"], record["aliases"], record["score"]) == ("four", ["4"], 1.0)
    run.write_manifest({})
    score_run(run, "contains")
    scores = newest_scores(run, 1)
    assert scores is not None
    assert scores[0].score.tolist() == [1.0]


def test_a_chat_is_not_asked_as_a_bare_prompt(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"prompt": CHAT, "answer": "4"}) + "\n")
    with pytest.raises(UsageError, match="chat messages cannot be asked by --api completions"):
        plan(Parameters(dataset=str(path), api="completions"))


def test_a_record_holds_what_the_tables_need(run: RunDir, tmp_path: Path) -> None:
    with serving(right) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 1))
    (record,) = run.journal("query")
    assert set(record) == {
        "kind", "query_id", "subject", "start_ns", "first_token_ns", "end_ns", "status", "error", "prompt_tokens",
        "completion_tokens", "cached_tokens", "tokens_source", "finish_reason", "response", "reasoning", "answer",
        "failure", "http_status", "retry_after_s", "score", "parsed", "concurrency", "last_token_ns", "itl_us",
        "itl_counts", "scheduled_ns", "logprob_sum", "logprob_tokens", "usage_doubt", "chunks", "tool_calls",
        "question",
    }  # fmt: skip
    assert record["question"] == "0+1"


def test_the_warm_up_is_kept_apart_and_outside_the_measured_window(run: RunDir, tmp_path: Path) -> None:
    with serving(right) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 3), warmup=4)
        assert [book.prompt for book in server.books][:4] == ["2+1", "1+1", "0+1", "2+1"]
    spans = {span["phase"]: (span["start_ns"], span["end_ns"]) for span in run.journal("span")}
    assert len(list(run.journal("warmup"))) == 4
    assert len(list(run.journal("query"))) == 3
    for kind, phase in (("warmup", "warmup"), ("query", "measure")):
        for record in run.journal(kind):
            assert spans[phase][0] <= record["start_ns"] <= record["end_ns"] <= spans[phase][1]
    assert spans["warmup"][1] <= spans["measure"][0]


def test_as_many_questions_are_in_flight_as_asked_for(run: RunDir, tmp_path: Path) -> None:
    flights: list[int] = []
    with serving(
        lambda request: Behaviour(["1", "2"], prefill_s=0.05, token_s=0.05, prompt_tokens=request.number),
        on_state=lambda _t, prefilling, decoding: flights.append(prefilling + decoding),
    ) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 12), concurrency=4)
    assert max(flights) == 4
    assert {record["concurrency"] for record in run.journal("query")} == {4}
    assert len(list(run.journal("query"))) == 12


def test_failures_are_counted_score_nothing_and_stop_nothing(run: RunDir, tmp_path: Path) -> None:
    kinds = [
        Behaviour(["1"]),
        Behaviour(["1"] * 3, fault="drop"),
        Behaviour(status=503),
        Behaviour(["1"] * 3, fault="garbage"),
        Behaviour(["1"] * 3, fault="stall"),
        Behaviour(fault="reset"),
        Behaviour(["1"]),
    ]
    with serving(lambda request: kinds[request.number]) as server:
        told = execute(run, base_url=server.url, dataset=sums(tmp_path, 7), stall_s=1, scorer="contains")
    states = [record["status"] for record in run.journal("query")]
    assert states == ["ok", "error", "error", "error", "timeout", "error", "ok"]
    assert [record["score"] for record in run.journal("query")][1:6] == [0.0] * 5
    assert told[-1].errors == 5


def test_a_server_that_dies_in_the_middle_ends_the_run_and_leaves_what_it_did_not_answer_open(
    run: RunDir, tmp_path: Path
) -> None:
    code = "from doubles.openai_server import main; main()"
    command = [sys.executable, "-c", code, "--token-s", "0.005", "--tokens", "4"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdin is not None
    url = process.stdout.readline().strip()
    threading.Timer(0.3, process.kill).start()
    with pytest.raises(OutageError, match=r"cannot be reached any more: the connection failed: connection refused"):
        execute(run, base_url=url, dataset=sums(tmp_path, 60), concurrency=2)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    records = list(run.journal("query"))
    assert 0 < len(records) < 60
    assert {record["status"] for record in records} == {"ok"}
    assert 1 <= len(list(run.journal("cut_off"))) <= 4


def test_a_server_that_refuses_every_warm_up_question_is_told_before_anything_is_measured(
    run: RunDir, tmp_path: Path
) -> None:
    with serving(Behaviour(status=404)) as server, pytest.raises(IpwError, match="HTTP 404: told to say 404") as caught:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 3), warmup=2)
    assert caught.value.exit_code == 5
    assert not list(run.journal("query"))


def test_a_warm_up_of_which_one_question_is_answered_goes_on(run: RunDir, tmp_path: Path) -> None:
    with serving(lambda request: Behaviour(status=503 if request.number == 0 else 200)) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 3), warmup=2)
    assert len(list(run.journal("query"))) == 3


CHILD = """
import sys
from pathlib import Path
from workloads.lm.test_run import execute
from ipw.runs.directory import RunDir
execute(RunDir(Path(sys.argv[1])), base_url=sys.argv[2], dataset=sys.argv[3], concurrency=2)
"""


def interrupted(run: RunDir, server: Server, dataset: str, number: int) -> subprocess.CompletedProcess[str]:
    """Run in a child process, and send it a signal while questions are in flight."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(run.path), server.url, dataset],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    while sum(book.end_ns is not None for book in server.books) < 5:
        time.sleep(0.01)
    child.send_signal(number)
    _, told = child.communicate(timeout=120)
    return subprocess.CompletedProcess([], child.returncode, "", told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_keeps_every_finished_question_and_none_that_was_in_flight(
    number: signal.Signals, run: RunDir, tmp_path: Path
) -> None:
    with serving(Behaviour(["1", "2"], prefill_s=0.02, token_s=0.02)) as server:
        result = interrupted(run, server, sums(tmp_path, 500), number)
    kept = list(run.journal("query"))
    assert 3 <= len(kept) < 500
    assert {record["status"] for record in kept} == {"ok"}
    if number == signal.SIGKILL:
        assert result.returncode == -number
    else:
        assert result.stderr.rstrip().endswith("KeyboardInterrupt")
        assert [span["phase"] for span in run.journal("span")] == ["warmup", "measure"]


def test_the_bundled_model_gets_most_bundled_questions_right(run: RunDir) -> None:
    told = execute(run, model="moe", limit=48, warmup=2, max_tokens=16)
    assert told[-1].errors == 0
    assert told[-1].right >= 36


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_log_probabilities_are_asked_for_only_on_demand_and_added_up(run: RunDir, tmp_path: Path, api: str) -> None:
    with serving(Behaviour(["1", "2"], logprob=-0.25)) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 1), api=api)
        execute(run, base_url=server.url, dataset=sums(tmp_path, 1), api=api, logprobs=True)
    without, with_them = run.journal("query")
    assert (without["logprob_sum"], without["logprob_tokens"]) == (None, None)
    assert (with_them["logprob_sum"], with_them["logprob_tokens"]) == (-0.5, 2)


def test_a_data_set_says_what_its_requests_hold_beside_the_prompt(run: RunDir) -> None:
    with serving() as server:
        execute(run, base_url=server.url, dataset="fixed:20,7", limit=1)
    assert {name: server.books[0].body[name] for name in ("max_tokens", "ignore_eos")} == {
        "max_tokens": 7,
        "ignore_eos": True,
    }
    (record,) = run.journal("query")
    assert (record["score"], record["parsed"]) == (None, None)
