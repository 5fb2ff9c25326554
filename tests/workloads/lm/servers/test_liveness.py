"""What ends a run, and what does not: servers that die, hang, fail, are busy, or are there again after a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles.openai_server import Behaviour, Request, Server, serving
from workloads.lm.http.test_client import LIMITS, answer
from workloads.lm.test_run import Marks, execute, right, sums

from ipw.clock import now_ns
from ipw.errors import OutageError
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.workloads.lm.http.reply import Answer
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.plan import plan
from ipw.workloads.lm.run import run_lm
from ipw.workloads.lm.servers import liveness
from ipw.workloads.lm.servers.engines import serve
from ipw.workloads.lm.servers.liveness import FEW, Liveness, Tried, sign_of
from ipw.workloads.lm.servers.outage import Outage, death_of

QUESTIONS = 60


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "test")


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    return sums(tmp_path, QUESTIONS)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "PATIENCE_S", 0.3)
    monkeypatch.setattr(liveness, "BUSY_S", 0.8)


def number(request: Request) -> int:
    return int(request.prompt.removesuffix("+1"))


def from_question(first: int, how: Behaviour) -> Callable[[Request], Behaviour]:
    """Answer until the first time that this question comes, and then behave so whatever comes."""
    reached = [False]

    def behave(request: Request) -> Behaviour:
        reached[0] = reached[0] or number(request) == first
        return how if reached[0] else right(request)

    return behave


def lost(run: RunDir, **options: Any) -> OutageError:
    with pytest.raises(OutageError) as caught:
        execute(run, **options)
    return caught.value


def ids(run: RunDir, kind: str) -> list[str]:
    return [str(record["query_id"]) for record in run.journal(kind)]


# --- a question that fails is no outage -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        Behaviour(fault="reset"),
        Behaviour(["1", "2"], fault="drop"),
        Behaviour(["1", "2"], fault="stall"),
        Behaviour(status=500),
        Behaviour(status=503),
        Behaviour(status=429),
        Behaviour(status=400),
    ],
)
def test_one_failure_is_a_failed_question_and_costs_no_other(how: Behaviour, run: RunDir, dataset: str) -> None:
    with serving(lambda request: how if number(request) == 7 else right(request)) as server:
        told = execute(run, base_url=server.url, dataset=dataset, limit=20, stall_s=1 if how.fault == "stall" else 60)
        assert len(server.books) == 20
    assert (told[-1].done, told[-1].errors) == (20, 1)
    (failed,) = (record for record in run.journal("query") if record["status"] != "ok")
    assert failed["query_id"] == "7+1"


def test_questions_that_a_server_fails_at_in_a_row_are_its_answers_to_them(run: RunDir, dataset: str) -> None:
    with serving(lambda request: Behaviour(status=500) if 20 <= number(request) < 30 else right(request)) as server:
        told = execute(run, base_url=server.url, dataset=dataset)
    assert (told[-1].done, told[-1].errors) == (QUESTIONS, 10)
    assert len(list(run.journal("probe"))) > 0
    assert sorted(ids(run, "query"), key=lambda name: int(name[:-2])) == [f"{i}+1" for i in range(QUESTIONS)]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_server_that_is_back_within_a_moment_is_gone_on_with(
    concurrency: int, run: RunDir, dataset: str, hurried: None
) -> None:
    down: list[float] = []

    def behave(request: Request) -> Behaviour:
        if not down and number(request) == 20:
            down.append(time.monotonic())
        return Behaviour(fault="reset") if down and time.monotonic() < down[0] + 0.15 else right(request)

    with serving(behave) as server:
        told = execute(run, base_url=server.url, dataset=dataset, concurrency=concurrency)
    assert told[-1].done == QUESTIONS
    assert 1 <= told[-1].errors <= (FEW + 1) * concurrency


def test_connections_that_are_refused_while_others_are_answered_are_a_load_that_is_too_high(
    run: RunDir, dataset: str, hurried: None
) -> None:
    streaming = [0]

    def behave(request: Request) -> Behaviour:
        return Behaviour(["1"] * 20, token_s=0.02) if streaming[0] < 4 else Behaviour(fault="reset")

    def count(_t_ns: int, prefilling: int, decoding: int) -> None:
        streaming[0] = prefilling + decoding

    with serving(behave, on_state=count) as server:
        told = execute(run, base_url=server.url, dataset=dataset, limit=30, concurrency=8)
    assert told[-1].done == 30
    assert 0 < told[-1].errors < 30


# --- a server that turns questions away is there --------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_turns_questions_away_for_a_while_is_waited_for(
    status: int, run: RunDir, dataset: str, hurried: None
) -> None:
    busy: list[float] = []

    def behave(request: Request) -> Behaviour:
        if not busy and number(request) == 20:
            busy.append(time.monotonic())
        return Behaviour(status=status) if busy and time.monotonic() < busy[0] + 0.3 else right(request)

    with serving(behave) as server:
        told = execute(run, base_url=server.url, dataset=dataset)
    assert told[-1].done == QUESTIONS
    assert told[-1].errors <= FEW


def test_a_server_that_says_how_long_is_left_alone_for_as_long(run: RunDir, dataset: str) -> None:
    refused: list[float] = []

    def behave(request: Request) -> Behaviour:
        if number(request) >= 20 and (not refused or time.monotonic() < refused[0] + 1):
            refused.append(time.monotonic())
            return Behaviour(status=429, headers={"Retry-After": "1"})
        return right(request)

    with serving(behave) as server:
        told = execute(run, base_url=server.url, dataset=dataset)
    assert told[-1].done == QUESTIONS
    assert len(refused) <= FEW + 1


def test_a_server_that_turns_all_away_for_good_ends_the_run_and_the_questions_are_open(
    run: RunDir, dataset: str, hurried: None
) -> None:
    with serving(from_question(20, Behaviour(status=503))) as server:
        error = lost(run, base_url=server.url, dataset=dataset)
    assert "turns every question away: HTTP 503: told to say 503" in error.message
    assert error.facts["kind"] == "busy"
    assert ids(run, "query") == [f"{i}+1" for i in range(20)]
    assert ids(run, "cut_off") == ["20+1", "21+1", "22+1"]


def test_a_server_that_asks_for_an_hour_is_not_waited_for(
    run: RunDir, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "BUSY_S", 200.0)
    began = time.monotonic()
    with serving(from_question(5, Behaviour(status=429, headers={"Retry-After": "3600"}))) as server:
        assert lost(run, base_url=server.url, dataset=dataset).facts["kind"] == "busy"
    assert time.monotonic() - began < liveness.BUSY_S


# --- a server that is lost ------------------------------------------------------------------------------------------


def dying_at(question: int, made: list[Server]) -> Callable[[Request], Behaviour]:
    def behave(request: Request) -> Behaviour:
        if number(request) == question:
            made[0].die()
            return Behaviour(fault="no-headers")
        return replace(right(request), token_s=0.002)

    return behave


@pytest.mark.parametrize("load", [{}, {"concurrency": 8}, {"concurrency": 24}, {"rate": 300.0}])
def test_a_server_that_dies_ends_the_run_and_all_that_it_did_not_answer_is_open(
    load: dict[str, Any], run: RunDir, dataset: str
) -> None:
    made: list[Server] = []
    with serving(dying_at(40, made)) as server:
        made.append(server)
        error = lost(run, base_url=server.url, dataset=dataset, **load)
    assert "cannot be reached any more: the connection failed: connection refused" in error.message
    last = max(record["end_ns"] for record in run.journal("query"))
    assert error.facts["last_answer_ns"] == last
    assert last <= error.facts["t_ns"]
    assert {record["status"] for record in run.journal("query")} == {"ok"}
    assert not set(ids(run, "query")) & set(ids(run, "cut_off"))
    assert "40+1" in ids(run, "cut_off")


@pytest.mark.parametrize("concurrency", [1, 4, 64])
@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_server_that_fails_at_everything_ends_the_run_after_a_few(
    status: int, concurrency: int, run: RunDir, dataset: str, hurried: None
) -> None:
    with serving(from_question(30, Behaviour(status=status))) as server:
        error = lost(run, base_url=server.url, dataset=dataset, concurrency=concurrency)
    assert f"answers no question: HTTP {status}" in error.message
    assert len(ids(run, "cut_off")) <= FEW * concurrency
    assert {record["status"] for record in run.journal("query")} == {"ok"}


def test_a_server_that_hangs_ends_the_run_after_a_few_timeouts(run: RunDir, dataset: str) -> None:
    with serving(from_question(9, Behaviour(fault="no-headers"))) as server:
        error = lost(run, base_url=server.url, dataset=dataset, timeout_s=0.8)
    assert "does not answer: no whole answer within 0.8 s" in error.message
    assert ids(run, "cut_off") == ["9+1", "10+1", "11+1"]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_end_of_a_process_of_ours_is_seen_at_once_and_what_was_in_flight_is_open(
    concurrency: int, run: RunDir, dataset: str
) -> None:
    def behave(request: Request) -> Behaviour:
        return right(request) if number(request) < 5 else Behaviour(["1"] * 500, token_s=0.05)

    seen_ns: list[int] = []

    def ended() -> Outage | None:
        """It dies a while after it has begun to answer so many questions at length, and is seen to by who asks then."""
        if sum(book.first_token_ns is not None and int(book.prompt[:-2]) >= 5 for book in server.books) < concurrency:
            return None
        seen_ns.append(now_ns())
        return death_of("the engine", -9) if seen_ns[-1] > seen_ns[0] + 400_000_000 else None

    parameters = Parameters(dataset=dataset, warmup=0, concurrency=concurrency)
    with (
        serving(behave) as server,
        serve(replace(parameters, base_url=server.url)) as endpoint,
        Journal(run) as journal,
    ):
        watched = replace(endpoint, ended=ended)
        with pytest.raises(OutageError, match=r"^the engine died: killed by signal 9 \(SIGKILL\)$") as caught:
            run_lm(Marks(journal), journal, watched, plan(parameters), lambda _: None)
    assert caught.value.facts["signal"] == 9
    assert caught.value.facts["t_ns"] - seen_ns[0] < 20e9  # the answers take 25 s
    cut = list(run.journal("cut_off"))
    assert len(cut) == concurrency
    assert all(record["first_token_ns"] and record["completion_tokens"] > 0 for record in cut)
    (window,) = (span for span in run.journal("span") if span["phase"] == "measure")
    assert all(window["start_ns"] <= record["start_ns"] <= record["end_ns"] <= window["end_ns"] for record in cut)


def test_a_server_that_shuts_down_in_good_order_answers_what_it_has_and_is_asked_no_more(
    run: RunDir, dataset: str
) -> None:
    made: list[Server] = []

    def behave(request: Request) -> Behaviour:
        if number(request) == 20:
            made[0].listener.close()
        return Behaviour(["1"] * 10, token_s=0.02 * (1 + number(request) % 4), keep_alive=False)

    with serving(behave) as server:
        made.append(server)
        error = lost(run, base_url=server.url, dataset=dataset, concurrency=4)
    assert error.facts["kind"] == "unreachable"
    assert {record["status"] for record in run.journal("query")} == {"ok"}
    assert 20 <= len(ids(run, "query")) <= 24
    assert len(ids(run, "cut_off")) <= 4


def test_a_server_that_does_one_thing_at_a_time_is_waited_for_while_it_does(hurried: None) -> None:
    """One question fails, another is on its way, and nobody else is let in before that is answered."""
    failed, later = answer(Behaviour(fault="reset")), answer(Behaviour(["1"]))
    kept: list[bool] = []
    done = [False]

    async def present() -> str | None:
        await asyncio.sleep(0.05)
        return None if done[0] else "nothing answers"

    async def ask(_number: int, _timeout_s: float) -> Answer:
        raise AssertionError("one failure is no reason to ask more")

    async def scenario() -> None:
        watched = Liveness(
            "it",
            Tried(present, ask, waiting=lambda: not done[0], heard_ns=lambda: 0, ended=None),
            timeout_s=60,
            stall_s=60,
        )
        watched.take(failed, kept.append)
        watch = asyncio.create_task(watched.watch())
        await asyncio.sleep(3 * liveness.PATIENCE_S)
        assert not watch.done()
        done[0] = True
        await watched.calm()
        watched.take(later, kept.append)
        watch.cancel()

    asyncio.run(scenario())
    assert kept == [True, True]


def test_a_question_of_which_nothing_is_heard_is_not_waited_for_for_ever(
    hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a machine is gone and what forwards to it is not: connections stay up, and nobody is let in."""
    monkeypatch.setattr(liveness, "QUIET_S", 0.6)
    failed = answer(Behaviour(fault="reset"))

    async def present() -> str | None:
        return "connection refused"

    async def ask(_number: int, _timeout_s: float) -> Answer:
        raise AssertionError("nobody is there to be asked")

    async def scenario() -> None:
        tried = Tried(present, ask, waiting=lambda: True, heard_ns=lambda: 0, ended=None)
        watched = Liveness("it", tried, timeout_s=60, stall_s=60)
        watched.take(failed, lambda _counts: None)
        async with asyncio.timeout(20):
            await watched.watch()

    with pytest.raises(OutageError, match="it cannot be reached any more: connection refused"):
        asyncio.run(scenario())


# --- the warm-up ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [Behaviour(fault="no-headers"), Behaviour(["1", "2"], fault="stall")])
def test_a_server_that_hangs_costs_one_timeout_of_the_warm_up(how: Behaviour, run: RunDir, dataset: str) -> None:
    with serving(how) as server:
        error = lost(run, base_url=server.url, dataset=dataset, warmup=8, timeout_s=0.4, stall_s=0.2)
        assert len(server.books) == 1
    assert error.exit_code == 5
    assert "does not answer" in error.message
    assert "--timeout" in (error.hint or "")


def test_a_server_that_loads_its_model_is_waited_for_in_the_warm_up(run: RunDir, dataset: str) -> None:
    until = time.monotonic() + 0.5
    with serving(lambda r: Behaviour(status=503) if time.monotonic() < until else right(r)) as server:
        told = execute(run, base_url=server.url, dataset=dataset, warmup=4, limit=10)
    assert (told[-1].done, told[-1].errors) == (10, 0)


def test_a_server_that_dies_in_the_warm_up_is_told_as_that(run: RunDir, dataset: str) -> None:
    made: list[Server] = []
    with serving(dying_at(58, made)) as server:
        made.append(server)
        error = lost(run, base_url=server.url, dataset=dataset, warmup=8)
    assert "cannot be reached any more" in error.message
    assert not list(run.journal("query"))


# --- what an answer says of the server ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "sign"),
    [
        (Behaviour(["1"]), "life"),
        (Behaviour(status=400), "life"),
        (Behaviour(["1", "2"], fault="error-chunk"), "life"),
        (Behaviour(status=500), "failing"),
        (Behaviour(status=504), "failing"),
        (Behaviour(status=503), "busy"),
        (Behaviour(status=429), "busy"),
        (Behaviour(status=502, headers={"Retry-After": "5"}), "busy"),
        (Behaviour(fault="reset"), "unreachable"),
        (Behaviour(["1", "2"], fault="drop"), "unreachable"),
        (Behaviour(fault="not-http"), "unreachable"),
        (Behaviour(fault="no-headers"), "silent"),
        (Behaviour(["1", "2"], fault="stall"), "silent"),
        (Behaviour(["1"] * 1000, token_s=0.01), "life"),
    ],
)
def test_an_answer_says_whether_anybody_is_there(how: Behaviour, sign: str) -> None:
    takes_long = how.fault in {"no-headers", "stall"} or len(how.tokens) == 1000
    limits = replace(LIMITS, timeout_s=0.4, stall_s=0.2) if takes_long else LIMITS
    assert sign_of(answer(how, limits=limits), stall_s=0.2) == sign
