"""Conversations of several user turns: each is answered in its place, with the model's own answers before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from doubles.openai_server import Behaviour, Request, serving
from workloads.lm.test_run import Marks

from ipw.errors import UsageError
from ipw.metrics.summary import summarize
from ipw.runs.directory import RunDir
from ipw.workloads.lm.conversation import NOT_ASKED
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.plan import plan
from ipw.workloads.lm.run import run_lm
from ipw.workloads.lm.servers.engines import serve
from ipw.workloads.texts.datasets import load
from ipw.workloads.texts.questions import together

from ipw.runs.journal import Journal  # isort: skip


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}
SUMS = {"id": "sums", "messages": [SYSTEM, user("1+1"), said("2"), user("2+2"), said("4"), user("3+3")], "answer": "6"}


def rows(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "talk.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_every_turn_of_the_user_is_a_question_and_the_assistants_text_is_what_is_right_there(tmp_path: Path) -> None:
    questions = load(rows(tmp_path, SUMS)).questions
    assert [(q.id, q.task, q.turn, q.answer) for q in questions] == [
        ("sums/1", "sums", 1, "2"), ("sums/2", "sums", 2, "4"), ("sums/3", "sums", 3, "6")
    ]  # fmt: skip
    assert [q.messages for q in questions] == [(SYSTEM, user("1+1")), (user("2+2"),), (user("3+3"),)]


@pytest.mark.parametrize(
    ("row", "graded", "answers"),
    [
        ({"messages": [user("a"), user("b")]}, [False, False], ["", ""]),
        ({"messages": [user("a"), user("b")], "answer": "B"}, [False, True], ["", "B"]),
        ({"messages": [user("a"), user("b")], "answers": ["A", "B"]}, [True, True], ["A", "B"]),
        ({"messages": [user("a"), user("b")], "answers": ["A", None]}, [True, False], ["A", ""]),
        ({"messages": [user("a"), user("b")], "answer": [["A", "aa"], "B"]}, [True, True], ["A", "B"]),
        ({"turns": ["a", "b"]}, [False, False], ["", ""]),
        ({"messages": json.dumps([user("a"), said("A"), user("b")])}, [True, False], ["A", ""]),
        ({"messages": [said("Hello!"), user("a"), said("A"), user("b"), said("B")]}, [True, True], ["A", "B"]),
        ({"messages": [user("a")], "answer": ["A", "aa"]}, [True], ["A"]),
    ],
)
def test_answers_stand_in_any_of_the_usual_places(
    row: dict[str, Any], graded: list[bool], answers: list[str], tmp_path: Path
) -> None:
    questions = load(rows(tmp_path, row)).questions
    assert [question.graded for question in questions] == graded
    assert [question.answer for question in questions] == answers


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": [SYSTEM]}, "without one of the user"),
        ({"messages": [user("a"), SYSTEM]}, "never answered"),
        ({"messages": [user("a"), said("A"), said("B"), user("b")]}, "two answers of the assistant in a row"),
        ({"messages": [user("a"), user("b")], "answers": ["A"]}, "2 turns of the user with a list of 1 answers"),
        ({"messages": [user("a"), user("b")], "choices": ["x", "y"], "answer": "x"}, "choices beside a conversation"),
    ],
)
def test_what_is_no_conversation_is_refused_in_words(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        load(rows(tmp_path, row))


def test_a_limit_and_a_shard_take_whole_conversations(tmp_path: Path) -> None:
    talks = [{"id": name, "turns": ["a", "b"]} for name in "pqrs"]
    path = rows(tmp_path, *talks)
    assert [q.id for q in load(path, limit=2).questions] == ["p/1", "p/2", "q/1", "q/2"]
    assert [q.id for q in plan(Parameters(dataset=path, shard="2/2")).dataset.questions] == ["q/1", "q/2", "s/1", "s/2"]
    assert [len(each) for each in together(load(path).questions)] == [2, 2, 2, 2]


def test_conversations_may_stand_in_a_column_of_another_name(tmp_path: Path) -> None:
    path = rows(tmp_path, {"dialog": [user("a"), said("A"), user("b")], "prompt": "a summary", "answer": "B"})
    questions = load(path, columns="messages=dialog").questions
    assert [(q.prompt, q.answer) for q in questions] == [("user: a", "A"), ("user: a\n\nuser: b", "B")]
    assert [q.prompt for q in load(path).questions] == ["a summary"]


def test_conversations_of_a_parquet_file_are_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["t"], "messages": [SUMS["messages"]], "answer": ["6"]}), tmp_path / "talk.parquet")
    questions = load(str(tmp_path / "talk.parquet")).questions
    assert [(q.id, q.answer) for q in questions] == [("t/1", "2"), ("t/2", "4"), ("t/3", "6")]


def test_a_scorer_needs_answers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no answers to score by 'exact'"):
        plan(Parameters(dataset=rows(tmp_path, {"turns": ["a", "b"]}), scorer="exact"))


def adds(request: Request) -> Behaviour:
    a, b = request.body["messages"][-1]["content"].split("+")
    return Behaviour([str(int(a) + int(b))])


def execute(run: RunDir, path: str, url: str, said_before: dict[str, str] | None = None, **options: Any) -> None:
    parameters = Parameters(dataset=path, base_url=url, **({"warmup": 0} | options))
    planned = plan(parameters)
    with serve(parameters) as endpoint, Journal(run) as journal:
        finished = set(said_before or ())
        run_lm(Marks(journal), journal, endpoint, planned, lambda _: None, finished, said=said_before)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "test")


def test_a_turn_is_asked_with_what_the_model_itself_said_before(run: RunDir, tmp_path: Path) -> None:
    def behave(request: Request) -> Behaviour:
        return Behaviour(["5"]) if request.number == 1 else adds(request)

    with serving(behave) as server:
        execute(run, rows(tmp_path, SUMS), server.url)
        last = server.books[-1].body["messages"]
    assert last == [SYSTEM, user("1+1"), said("2"), user("2+2"), said("5"), user("3+3")]
    records = list(run.journal("query"))
    assert [(r["task"], r["turn"], r["score"]) for r in records] == [
        ("sums", 1, 1.0), ("sums", 2, 0.0), ("sums", 3, 1.0)
    ]  # fmt: skip


def test_the_turns_after_one_that_failed_are_not_asked_and_fail_with_it(run: RunDir, tmp_path: Path) -> None:
    def behave(request: Request) -> Behaviour:
        return Behaviour(status=400) if request.prompt.endswith("2+2") else adds(request)

    with serving(behave) as server:
        execute(run, rows(tmp_path, SUMS), server.url)
        assert len(server.books) == 2
    records = list(run.journal("query"))
    assert [(record["status"], record["failure"]) for record in records] == [
        ("ok", None), ("error", "answer"), ("error", "answer")
    ]  # fmt: skip
    assert records[-1]["error"] == NOT_ASKED


def test_a_conversation_goes_on_where_it_was_cut_with_what_was_answered(run: RunDir, tmp_path: Path) -> None:
    with serving(adds) as server:
        execute(run, rows(tmp_path, SUMS), server.url, {"sums/1": "two"})
        assert [book.body["messages"][-1]["content"] for book in server.books] == ["2+2", "3+3"]
        assert server.books[0].body["messages"] == [SYSTEM, user("1+1"), said("two"), user("2+2")]


def test_conversations_in_flight_do_not_mix(run: RunDir, tmp_path: Path) -> None:
    talks = [{"id": str(i), "turns": [f"{i}+{i}", f"{i}+1"]} for i in range(8)]
    with serving(adds) as server:
        execute(run, rows(tmp_path, *talks), server.url, concurrency=4)
        seconds = [book.body["messages"] for book in server.books if len(book.body["messages"]) == 3]
    assert len(seconds) == 8
    for first, answer, _ in seconds:
        a, b = first["content"].split("+")
        assert answer == said(str(int(a) + int(b)))


def test_turns_that_nobody_can_score_are_in_the_joules_and_not_in_the_accuracy(run: RunDir, tmp_path: Path) -> None:
    talk = {"id": "t", "turns": ["1+1", "2+2"], "answer": "4"}
    with serving(adds) as server:
        execute(run, rows(tmp_path, talk), server.url)
    run.write_manifest(
        {"schema_version": 2, "run_id": "r", "status": "complete", "turns": True, "sensors": [], "anchors": [],
         "workload": {"kind": "lm", "parameters": {}}, "dataset": {"questions": 2, "scorer": "exact"}}
    )  # fmt: skip
    summary = summarize(run)
    assert summary["metrics"]["accuracy"]["value"] == 1.0
    assert summary["metrics"]["accuracy"]["n"] == 1
    assert "1 of 2 turns are left out" in summary["metrics"]["accuracy"]["reason"]
    assert summary["questions"]["unscored"] == 0
    assert {turn: found["queries"]["value"] for turn, found in summary["by_turn"].items()} == {"1": 1, "2": 1}
