"""The loop of an agent: tools by the OpenAI protocol, limits, what is kept, and what goes on after a cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from doubles.openai_server import Behaviour, Request, serving
from workloads.lm.test_run import Marks

from ipw.errors import UsageError
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.workloads.agents.asked import Asked
from ipw.workloads.agents.loop.loop import Loop
from ipw.workloads.agents.loop.parameters import AgentParameters
from ipw.workloads.agents.loop.plan import plan_agent
from ipw.workloads.agents.reading.sent import read_chat
from ipw.workloads.agents.structure import structure
from ipw.workloads.agents.tables import beginning_of
from ipw.workloads.agents.task_scores import read_task_scores
from ipw.workloads.lm.run import run_lm
from ipw.workloads.lm.scored_again import score_run
from ipw.workloads.lm.servers.engines import serve


def event(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


def calling(*calls: tuple[str, dict[str, Any] | str], ids: bool = True) -> Behaviour:
    """An answer that asks for tools, in pieces."""
    parts = []
    for number, (name, given) in enumerate(calls):
        text = given if isinstance(given, str) else json.dumps(given)
        named = {"id": f"id-{time.monotonic_ns()}-{number}"} if ids else {}
        parts.append(event(tool_calls=[{"index": number, **named, "function": {"name": name, "arguments": ""}}]))
        parts += [
            event(tool_calls=[{"index": number, "function": {"arguments": piece}}]) for piece in (text[:5], text[5:])
        ]
    end: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    end["usage"] = {"completion_tokens": 9, "prompt_tokens": 3}
    return Behaviour(body=[*parts, b"data: " + json.dumps(end).encode() + b"\n\n", b"data: [DONE]\n\n"])


def uses_the_calculator(request: Request) -> Behaviour:
    """Be a model that has the product computed, where it may."""
    messages = request.body["messages"]
    last = messages[-1]
    if last["role"] == "tool":
        return Behaviour([last["content"]])
    if "tools" not in request.body:
        return Behaviour(["0"])
    return calling(("calculator", {"expression": last["content"]}))


def tasks(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


PRODUCTS: list[dict[str, Any]] = [
    {"id": f"p{i}", "prompt": f"{i}7*3", "answer": str((10 * i + 7) * 3)} for i in range(1, 5)
]


def execute(run: RunDir, url: str, dataset: str, **options: Any) -> list[dict[str, Any]]:
    given: dict[str, Any] = {"warmup": 0, "tools": "calculator"} | options
    parameters = AgentParameters(base_url=url, dataset=dataset, **given)
    planned = plan_agent(parameters)
    with serve(parameters) as endpoint, Journal(run) as journal:
        doing = lambda asker: Loop(asker, planned, journal, 0).do  # noqa: E731
        run_lm(Marks(journal), journal, endpoint, planned.lm, lambda _: None, doing=doing)
    return list(run.journal("query"))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "agent")


def test_a_task_goes_on_with_the_results_of_its_tools_until_there_is_an_answer(run: RunDir, tmp_path: Path) -> None:
    with serving(uses_the_calculator) as server:
        records = execute(run, server.url, tasks(tmp_path, *PRODUCTS))
        sent = [book.body for book in server.books]
    assert [(r["query_id"], r["final"], r["score"]) for r in records][:4] == [
        ("p1/1", False, None), ("p1/2", True, 1.0), ("p2/1", False, None), ("p2/2", True, 1.0)
    ]  # fmt: skip
    second = sent[1]["messages"]
    assert [message["role"] for message in second] == ["user", "assistant", "tool"]
    assert second[1]["tool_calls"][0]["id"] == second[2]["tool_call_id"]
    assert second[1]["tool_calls"][0]["function"] == {"name": "calculator", "arguments": '{"expression": "17*3"}'}
    assert second[2]["content"] == "51"
    assert sent[0]["tools"][0]["function"]["name"] == "calculator"


def test_turns_tools_and_tasks_are_told_from_the_journal_alone(run: RunDir, tmp_path: Path) -> None:
    with serving(uses_the_calculator) as server:
        records = execute(run, server.url, tasks(tmp_path, *PRODUCTS), concurrency=3)
    found = structure([Asked.from_record(record) for record in records])
    assert set(found.tasks) == {"p1", "p2", "p3", "p4"}
    asked = [{"role": "user", "content": PRODUCTS[0]["prompt"]}]
    assert beginning_of(found.asked[0].messages) == beginning_of(read_chat({"messages": asked}).messages)
    assert [call.name for call in found.calls] == ["calculator"] * 4
    assert all(call.gap is not None and call.failed is False for call in found.calls)
    spans = [span for span in run.journal("span") if span["phase"] == "tool"]
    assert sorted((span["task"], span["turn"], span["result"]) for span in spans) == [
        ("p1", 1, "51"), ("p2", 1, "81"), ("p3", 1, "111"), ("p4", 1, "141")
    ]  # fmt: skip
    turns = sorted((task, place.turn) for task, place in zip(found.tasks, found.places, strict=True))
    assert turns == [(f"p{i}", turn) for i in range(1, 5) for turn in (1, 2)]


@pytest.mark.parametrize(
    ("options", "told", "requests"),
    [
        ({"max_turns": 3}, "3 requests", 3),
        ({"task_tokens": 20}, "20 tokens", 3),
        ({"task_timeout_s": 1e-9}, "1e-09 s", 1),
    ],
)
def test_a_model_that_never_answers_ends_at_a_limit_and_is_wrong(
    options: dict[str, Any], told: str, requests: int, run: RunDir, tmp_path: Path
) -> None:
    def behave(request: Request) -> Behaviour:
        return calling(("calculator", {"expression": "1+1"}))

    with serving(behave) as server:
        records = execute(run, server.url, tasks(tmp_path, PRODUCTS[0]), **options)
    assert len(records) == requests
    assert (records[-1]["final"], records[-1]["stopped"], records[-1]["score"]) == (True, told, 0.0)


def test_a_limit_of_tokens_is_what_the_server_is_told(run: RunDir, tmp_path: Path) -> None:
    with serving(uses_the_calculator) as server:
        execute(run, server.url, tasks(tmp_path, PRODUCTS[0]), task_tokens=30)
        assert [book.body["max_tokens"] for book in server.books] == [30, 21]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("system", {"command": "touch here"}), "there is no tool 'system'; there are calculator"),
        (("calculator", "{'expression': 1}"), "not JSON"),
        (("calculator", {"expression": 12}), "'expression' must be of the type string"),
        (("calculator", {"expression": "__import__('os').getcwd()"}), "only whole numbers"),
        (("calculator", {"expression": "1", "file": "x"}), "must not have 'file'"),
    ],
)
def test_a_call_of_anything_else_is_answered_with_words(
    call: tuple[str, Any], told: str, run: RunDir, tmp_path: Path
) -> None:
    def behave(request: Request) -> Behaviour:
        return Behaviour(["51"]) if request.body["messages"][-1]["role"] == "tool" else calling(call)

    with serving(behave) as server:
        records = execute(run, server.url, tasks(tmp_path, PRODUCTS[0]))
        result = server.books[1].body["messages"][-1]["content"]
    assert result.startswith("Error: ")
    assert told in result
    assert records[-1]["score"] == 1.0


def test_several_calls_at_once_each_get_their_result_also_without_ids(run: RunDir, tmp_path: Path) -> None:
    def behave(request: Request) -> Behaviour:
        messages = request.body["messages"]
        if messages[-1]["role"] == "tool":
            results = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
            return Behaviour([" ".join(results[call["id"]] for call in messages[1]["tool_calls"])])
        both = [("calculator", {"expression": text}) for text in ("1+1", "2+2")]
        return calling(*both, ids=False)

    with serving(behave) as server:
        records = execute(run, server.url, tasks(tmp_path, {"id": "two", "prompt": "?", "answer": "2 4"}))
    assert records[-1]["score"] == 1.0


def test_turns_of_a_user_each_have_a_loop_of_their_own(run: RunDir, tmp_path: Path) -> None:
    talk = {"id": "talk", "turns": ["2*3", "4*5"], "answers": ["6", "20"]}
    with serving(uses_the_calculator) as server:
        records = execute(run, server.url, tasks(tmp_path, talk))
        assert len(server.books[-1].body["messages"]) == 7
    assert [(r["query_id"], r["question_id"], r["final"], r["score"]) for r in records] == [
        ("talk/1", "talk/1", False, None), ("talk/2", "talk/1", True, 1.0),
        ("talk/3", "talk/2", False, None), ("talk/4", "talk/2", True, 1.0),
    ]  # fmt: skip


def test_a_task_may_name_its_tools(run: RunDir, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [PRODUCTS[0] | {"tools": []}, PRODUCTS[1] | {"tools": ["calculator"]}, PRODUCTS[2]]
    with serving(uses_the_calculator) as server:
        execute(run, server.url, tasks(tmp_path, *rows))
        offered = {book.body["messages"][0]["content"]: "tools" in book.body for book in server.books}
    assert offered == {"17*3": False, "27*3": True, "37*3": True}
    with pytest.raises(UsageError, match="names the tool 'search', which is not declared"):
        plan_agent(AgentParameters(dataset=tasks(tmp_path, PRODUCTS[0] | {"tools": ["search"]})))


# --- whole runs, as processes ----------------------------------------------------------------------------------------


def ipw(*words: str) -> list[str]:
    return [sys.executable, "-m", "ipw.cli", *words]


def started(url: str, folder: Path, dataset: str, *more: str) -> subprocess.Popen[bytes]:
    where = ("--base-url", url, "--dataset", dataset, "--out", str(folder / "runs"))
    quick = ("--sensors", "estimate", "--idle", "0", "--warmup", "0")
    return subprocess.Popen(
        ipw("run", "agent", *where, *quick, *more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
    )


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_loop_leaves_no_orphan_and_what_had_finished_and_goes_on(tmp_path: Path) -> None:
    hangs = {"id": "hang", "prompt": "hang", "answer": "done", "tools": ["own_tools:sleeps"]}
    calculator = [row | {"tools": ["calculator"]} for row in PRODUCTS]
    late = False

    def behave(request: Request) -> Behaviour:
        if request.body["messages"][0]["content"] != "hang":
            return uses_the_calculator(request)
        return Behaviour(["done"]) if late else calling(("sleeps", {"folder": str(tmp_path)}))

    with serving(behave) as server:
        dataset = tasks(tmp_path, *calculator[:2], hangs, *calculator[2:])
        loop = started(server.url, tmp_path, dataset)
        wait_for((tmp_path / "pids").exists)
        wait_for(lambda: len((tmp_path / "pids").read_text().split()) == 2)
        family = psutil.Process(loop.pid).children(recursive=True)
        assert len(family) >= 3  # the sampler, the child that keeps, the tool and what it started
        loop.send_signal(signal.SIGKILL)
        loop.wait()
        wait_for(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family))
        (path,) = (tmp_path / "runs").iterdir()
        kept = [record["query_id"] for record in RunDir.open(path).journal("query")]
        assert kept == ["p1/1", "p1/2", "p2/1", "p2/2", "hang/1"]
        asked, late = len(server.books), True
        done = subprocess.run(
            ipw("resume", str(path), "--json"), check=False, capture_output=True, cwd=Path(__file__).parent
        )
        assert done.returncode == 0, done.stderr.decode()
        assert len(server.books) - asked == 1 + 4  # the task that hung begins anew; finished ones do not
    summary = json.loads(done.stdout)
    rows = RunDir.open(path).read_table("tasks")
    assert rows is not None
    scores = dict(zip(rows["task"].to_pylist(), rows["score"].to_pylist(), strict=True))
    assert scores == dict.fromkeys(["p1", "p2", "hang", "p3", "p4"], 1.0)
    assert (summary["questions"]["asked"], summary["metrics"]["accuracy"]["value"]) == (5, 1.0)
    record = next(check for check in summary["validity"] if check["check"] == "record")
    assert record["ok"], record["detail"]


def test_no_key_of_the_server_stands_in_a_run(tmp_path: Path) -> None:
    key = "sk-thiskeymustneverbeonadisk123456"
    with serving(uses_the_calculator) as server:
        os.environ["OPENAI_API_KEY"] = key
        try:
            loop = started(server.url, tmp_path, tasks(tmp_path, PRODUCTS[0]), "--tools", "calculator")
            assert loop.wait() == 0
        finally:
            del os.environ["OPENAI_API_KEY"]
        assert server.books[-1].authorization == f"Bearer {key}"
    files = [file for file in (tmp_path / "runs").rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if key.encode() in file.read_bytes()]


def test_a_task_has_the_score_that_was_given_later(run: RunDir, tmp_path: Path) -> None:
    def behave(request: Request) -> Behaviour:
        answer = uses_the_calculator(request)
        return Behaviour(["it is ", request.body["messages"][-1]["content"]]) if answer.body is None else answer

    dataset = tasks(tmp_path, *PRODUCTS[:2])
    with serving(behave) as server:
        records = execute(run, server.url, dataset)
        parameters = AgentParameters(base_url=server.url, dataset=dataset).as_dict()
    run.write_manifest({"workload": {"kind": "agent", "parameters": parameters}})
    assert [record["score"] for record in records] == [None, 0.0, None, 0.0]
    assert read_task_scores(run) == {"p1": 0.0, "p2": 0.0}
    score_run(run, "number")
    assert read_task_scores(run) == {"p1": 1.0, "p2": 1.0}
