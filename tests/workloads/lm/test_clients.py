"""Several processes ask as one does: the same questions, in the same order, at the same moments, in the same books."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from doubles.openai_server import Behaviour, Request, Server, serving
from doubles.patience import wait_for
from workloads.lm.test_run import Marks, execute, right, sums

from ipw.errors import OutageError
from ipw.runs.arrivals_file import ArrivalsFile
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.workloads.lm.clients.how_many import processes_for
from ipw.workloads.lm.clients.pool import Pool
from ipw.workloads.lm.clients.way import Told
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.plan import plan
from ipw.workloads.lm.run import run_lm
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.lm.servers.engines import serve

TIMES = {"start_ns", "first_token_ns", "last_token_ns", "end_ns", "itl_us", "itl_counts", "scheduled_ns", "arrivals"}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "test")


def answers(run: RunDir) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in TIMES} for record in run.journal("query")]


def workers(parent: int) -> list[psutil.Process]:
    """List the processes that ask for another one; without those that have ended."""
    return [child for child in psutil.Process(parent).children(recursive=True) if "clients.worker" in words(child)]


def words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it ends just now
        return ""


def noted(run: RunDir, server: Server, dataset: str, **options: Any) -> dict[str, Any]:
    """Run, and return how hard the processes had to work."""
    told: list[Any] = []
    given: dict[str, Any] = {"warmup": 0, "base_url": server.url, "dataset": dataset}
    parameters = Parameters(**(given | options))
    with serve(parameters) as endpoint, Journal(run) as journal, ArrivalsFile(run, journal) as arrivals:
        planned = plan(parameters)
        run_lm(Marks(journal), journal, endpoint, planned, lambda _: None, arrivals_book=arrivals, note=told.append)
    return dict(told[0])


def mixed(request: Request) -> Behaviour:
    """Answer mostly, in several ways, and sometimes not."""
    number = int(request.prompt.removesuffix("+1"))
    if number % 7 == 3:
        return Behaviour(status=400)
    if number % 7 == 5:
        return Behaviour(["1", "2"], fault="error-chunk")
    return Behaviour([str(number + 1), "", " ✓"], reasoning=["hm"] if number % 2 else (), usage=number % 3 > 0)


def test_two_processes_one_at_a_time_write_the_same_books_as_one(tmp_path: Path) -> None:
    found = {}
    with serving(mixed) as server:
        for clients in (1, 2):
            run = RunDir.create(tmp_path, f"with-{clients}")
            facts = noted(run, server, sums(tmp_path, 15), clients=clients, logprobs=True)
            found[clients] = answers(run)
            kept = [record["arrivals"] for record in run.journal("query") if "arrivals" in record]
            assert kept == sorted(set(kept))
            assert len(facts["processes"]) == clients
    assert found[1] == found[2]
    assert [record["query_id"] for record in found[2]] == [f"{i}+1" for i in range(15)]
    assert [process["asked"] for process in facts["processes"]] == [8, 7]


def test_as_many_are_in_flight_as_asked_for_and_every_question_is_asked_once(run: RunDir, tmp_path: Path) -> None:
    flights: list[int] = []

    def behave(request: Request) -> Behaviour:
        return replace(right(request), prefill_s=0.02)

    with serving(behave, on_state=lambda _t, first, then: flights.append(first + then)) as server:
        facts = noted(run, server, sums(tmp_path, 40), clients=3, concurrency=6)
        asked = Counter(book.prompt for book in server.books)
    assert max(flights) <= 6
    assert asked == {f"{i}+1": 1 for i in range(40)}
    records = list(run.journal("query"))
    assert sorted(record["query_id"] for record in records) == sorted(asked)
    assert {record["score"] for record in records} == {1.0}
    assert {record["concurrency"] for record in records} == {6}
    assert sum(process["asked"] for process in facts["processes"]) == 40
    assert all(process["asked"] > 0 for process in facts["processes"])


def test_moments_are_on_one_clock_and_within_those_of_the_server(run: RunDir, tmp_path: Path) -> None:
    with serving(lambda request: replace(right(request), prefill_s=0.01)) as server:
        noted(run, server, sums(tmp_path, 12), clients=2, concurrency=4)
        books = {book.prompt: book for book in server.books}
    (window,) = (span for span in run.journal("span") if span["phase"] == "measure")
    for record in run.journal("query"):
        book = books[record["query_id"]]
        assert book.first_token_ns is not None
        assert window["start_ns"] <= record["start_ns"] <= book.received_ns
        assert book.first_token_ns <= record["first_token_ns"] <= record["end_ns"] <= window["end_ns"]


def test_arrivals_of_an_open_loop_are_drawn_as_with_one_process(tmp_path: Path) -> None:
    gaps = {}
    with serving(right) as server:
        for clients in (1, 2):
            run = RunDir.create(tmp_path, f"with-{clients}")
            noted(run, server, sums(tmp_path, 20), clients=clients, rate=200.0, arrival="poisson")
            due = {record["query_id"]: record["scheduled_ns"] for record in run.journal("query")}
            moments = [due[f"{i}+1"] for i in range(20)]
            gaps[clients] = [after - before for before, after in pairwise(moments)]
            assert all(record["start_ns"] >= record["scheduled_ns"] for record in run.journal("query"))
    assert gaps[2] == pytest.approx(gaps[1], abs=2)  # nanoseconds: the rest of a sum of floats


def test_conversations_go_on_with_their_own_answers(run: RunDir, tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps({"id": f"t{i}", "turns": ["one", "two"]}) + "\n" for i in range(6)))
    with serving(lambda request: Behaviour([f"said {request.prompt}"])) as server:
        noted(run, server, str(path), clients=2, concurrency=3)
        later = [book.body["messages"] for book in server.books if book.prompt == "two"]
    assert len(later) == 6
    assert {messages[1]["content"] for messages in later} == {"said one"}


def test_warm_up_and_retries_go_the_same_way(run: RunDir, tmp_path: Path) -> None:
    failed: set[str] = set()

    def behave(request: Request) -> Behaviour:
        if request.prompt == "2+1" and request.prompt not in failed:
            failed.add(request.prompt)
            return Behaviour(status=400)
        return right(request)

    with serving(behave) as server:
        noted(run, server, sums(tmp_path, 4), clients=2, retries=1)
    assert [record["status"] for record in run.journal("retry")] == ["ok"]


def test_a_key_goes_to_the_server_and_into_no_command_line_and_no_environment(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-1234567890")
    seen: list[str] = []

    def behave(request: Request) -> Behaviour:
        seen.extend(" ".join(each.cmdline()) + json.dumps(each.environ()) for each in workers(os.getpid()))
        return Behaviour(["sk-test-1234567890"])

    with serving(behave) as server:
        noted(run, server, sums(tmp_path, 3), clients=2)
        assert {book.authorization for book in server.books} == {"Bearer sk-test-1234567890"}
    assert seen
    assert not any("sk-test-1234567890" in each for each in seen)
    assert "sk-test-1234567890" not in (run.path / "journal.jsonl").read_text()


def ending(when: int, end: Callable[[int, list[psutil.Process]], None]) -> Callable[[Request], Behaviour]:
    """Answer slowly, and `end` processes that ask, given how many questions have come since `when` did."""
    lock = threading.Lock()
    asking: list[psutil.Process] = []

    def behave(request: Request) -> Behaviour:
        with lock:
            if request.number == when:
                asking.extend(workers(os.getpid()))
            if request.number >= when:
                end(request.number - when, asking)
        return replace(right(request), prefill_s=0.01)

    return behave


def test_the_death_of_one_process_fails_what_it_was_asking_and_the_others_go_on(run: RunDir, tmp_path: Path) -> None:
    def end(number: int, asking: list[psutil.Process]) -> None:
        if number == 0:
            asking[0].suspend()  # so that two of four questions stay with it
        elif number == 8:
            asking[0].kill()

    with serving(ending(12, end)) as server:
        facts = noted(run, server, sums(tmp_path, 40), clients=2, concurrency=4)
    records = list(run.journal("query"))
    assert Counter(record["query_id"] for record in records) == {f"{i}+1": 1 for i in range(40)}
    failed = [record for record in records if record["status"] != "ok"]
    assert len(failed) == 2
    assert {record["failure"] for record in failed} == {"client"}
    assert {record["error"] for record in failed} <= {
        f"process {number} of those that ask died: killed by signal 9 (SIGKILL)" for number in (1, 2)
    }
    died = [process for process in facts["processes"] if "died" in process]
    assert [(process["died"], process["lost"]) for process in died] == [("killed by signal 9 (SIGKILL)", len(failed))]


def test_the_death_of_all_processes_ends_the_run_as_the_loss_of_a_server_does(run: RunDir, tmp_path: Path) -> None:
    def end(number: int, asking: list[psutil.Process]) -> None:
        for process in asking if number == 0 else ():
            process.kill()

    with serving(ending(12, end)) as server, pytest.raises(OutageError) as caught:
        noted(run, server, sums(tmp_path, 40), clients=2, concurrency=4)
    assert caught.value.message == "every process that asks died: killed by signal 9 (SIGKILL)"
    assert caught.value.facts["signal"] == 9
    assert 0 < len(list(run.journal("query"))) < 40
    assert not workers(os.getpid())


def test_a_server_that_is_lost_ends_the_run_and_leaves_open_what_was_in_flight(run: RunDir, tmp_path: Path) -> None:
    made: list[Server] = []

    def behave(request: Request) -> Behaviour:
        if request.number == 20:
            made[0].die()
        return replace(right(request), token_s=0.01)

    with serving(behave) as server:
        made.append(server)
        with pytest.raises(OutageError, match="cannot be reached any more"):
            noted(run, server, sums(tmp_path, 60), clients=2, concurrency=4)
    assert {record["status"] for record in run.journal("query")} == {"ok"}
    assert list(run.journal("cut_off"))


CHILD = """
import sys
from pathlib import Path
from workloads.lm.test_run import execute
from ipw.runs.directory import RunDir
execute(RunDir(Path(sys.argv[1])), base_url=sys.argv[2], dataset=sys.argv[3], concurrency=4, clients=2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_run_that_is_ended_and_all_that_was_finished_is_kept(
    number: signal.Signals, run: RunDir, tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}

    def behave(request: Request) -> Behaviour:
        early = int(request.prompt.removesuffix("+1")) < 8
        return right(request) if early else Behaviour(["1"] * 5000, token_s=0.01)

    with serving(behave) as server:
        arguments = [str(run.path), server.url, sums(tmp_path, 500)]
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments], stderr=subprocess.PIPE, env=environment, start_new_session=True
        )
        wait_for(lambda: sum(book.completion_tokens >= 8 for book in server.books) >= 4)
        asking = workers(child.pid)
        os.killpg(child.pid, number)  # as a terminal does
        child.communicate(timeout=120)
        assert len(asking) == 2
        wait_for(lambda: not any(process.is_running() for process in asking))
    kept = list(run.journal("query"))
    assert {(record["query_id"], record["status"]) for record in kept} == {(f"{i}+1", "ok") for i in range(8)}
    if number != signal.SIGKILL:
        cut = list(run.journal("cut_off"))
        assert [record["error"] for record in cut] == ["cut off"] * 4
        assert all(record["completion_tokens"] > 0 and record["first_token_ns"] for record in cut)


def test_what_is_given_up_before_its_process_began_with_it_is_told_too() -> None:
    told: list[Told] = []

    async def give_up(endpoint: Endpoint) -> None:
        async with Pool(endpoint, 1) as pool:
            (process,) = workers(os.getpid())
            process.suspend()  # so that it finds both in its socket: the question, and that nobody waits for it
            asking = asyncio.create_task(pool.ask("0+1", Parameters().limits(), told.append))
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.sleep(0)
            process.resume()
            with pytest.raises(asyncio.CancelledError):
                await asking

    with serving(right) as server, serve(Parameters(base_url=server.url)) as endpoint:
        asyncio.run(give_up(endpoint))
    assert [each.answer.error for each in told] == ["cut off"]


# --- how many -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "processors", "expected"),
    [
        ({}, 64, 1),
        ({"concurrency": 64}, 64, 1),
        ({"concurrency": 160}, 64, 1),
        ({"concurrency": 161}, 64, 2),
        ({"concurrency": 1000}, 64, 7),
        ({"concurrency": 1000}, 4, 4),
        ({"concurrency": 1000}, 1, 1),
        ({"concurrency": 1000, "limit": 160}, 64, 1),
        ({"rate": 20.0}, 64, 1),
        ({"rate": 100.0}, 64, 4),
        ({"rate": 100.0, "dataset": "bundled", "limit": 600}, 64, 4),
        ({"rate": 100.0, "dataset": "bundled", "limit": 600, "max_tokens": 16}, 64, 1),
        ({"rate": 100.0, "dataset": "fixed:20,800"}, 64, 10),
        ({"rate": 1.0, "concurrency": 1000}, 64, 1),
        ({"rate": 100.0, "concurrency": 160}, 64, 1),
        ({"rate": 100.0, "limit": 100}, 64, 1),
        ({"clients": 3}, 1, 3),
        ({"clients": 1, "concurrency": 4000}, 64, 1),
    ],
)
def test_as_many_processes_ask_as_the_load_needs_and_the_machine_has_room_for(
    options: dict[str, Any], processors: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)), raising=False)
    given: dict[str, Any] = {"dataset": "fixed:20,256", "limit": 5000}
    assert processes_for(plan(Parameters(**(given | options)))) == expected


def test_a_small_run_starts_no_process(run: RunDir, tmp_path: Path) -> None:
    seen: list[int] = []

    def behave(request: Request) -> Behaviour:
        seen.append(len(workers(os.getpid())))
        return right(request)

    with serving(behave) as server:
        execute(run, base_url=server.url, dataset=sums(tmp_path, 3), concurrency=2)
    assert set(seen) == {0}
