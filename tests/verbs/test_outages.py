"""A server that is lost in the middle: the run ends, keeps what it has, says so, and is finished by `ipw resume`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from doubles.openai_server import Behaviour, Request, Server, serving
from doubles.patience import wait_for
from workloads.lm.servers.test_liveness import dying_at, number
from workloads.lm.test_run import sums

from ipw.errors import IpwError, OutageError
from ipw.gate.interleave import measure
from ipw.gate.interleave import plan as planned_pairs
from ipw.runs.directory import RunDir
from ipw.studies.cells import run_cell
from ipw.studies.runfile import Cell
from ipw.verbs.resume import resume
from ipw.workloads.lm.measure import measure_lm
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.series import measure_series

ROOT = Path(__file__).parents[2]
QUESTIONS, DIES_AT = 60, 36
KEPT = ("query_id", "status", "response", "score", "prompt_tokens", "completion_tokens")
SERVER = """
import os, sys
sys.path[:0] = {path!r}
sys.stdin = os.fdopen(os.pipe()[0])
from doubles.openai_server import main
main()
"""


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    return sums(tmp_path, QUESTIONS)


def behave(request: Request) -> Behaviour:
    """Answer as the question alone says: one in three is wrong."""
    said = number(request) + 1 if number(request) % 3 else 0
    return Behaviour([str(said)], token_s=0.002)


def dying(question: int, made: list[Server]) -> Callable[[Request], Behaviour]:
    dies = dying_at(question, made)
    return lambda request: dies(request) if number(request) == question else behave(request)


def ipw(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ipw.cli", *map(str, words)],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, check=False,
    )  # fmt: skip


def run_words(url: str, dataset: str, out: Path, *more: str) -> list[str]:
    asked = ["run", "lm", "--base-url", url, "--dataset", dataset, "--out", str(out), "--sensors", "estimate"]
    return [*asked, "--idle", "0.1", "--warmup", "2", *more]


def only(out: Path) -> RunDir:
    (path,) = (path for path in out.iterdir() if path.is_dir())
    return RunDir.open(path)


def table(run: RunDir) -> list[tuple[Any, ...]]:
    found = run.read_table("queries", KEPT)
    assert found is not None
    return sorted(tuple(row[name] for name in KEPT) for row in found.to_pylist())


Cut = tuple[RunDir, "subprocess.CompletedProcess[str]", Server]


@pytest.fixture(scope="module")
def cut_once(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    made: list[Server] = []
    folder = tmp_path_factory.mktemp("cut")
    with serving(dying(DIES_AT, made)) as server:
        made.append(server)
        told = ipw(*run_words(server.url, sums(folder, QUESTIONS), folder / "runs", "--concurrency", "2"))
    return only(folder / "runs"), told, server


@pytest.fixture
def cut(cut_once: Cut, tmp_path: Path) -> Cut:
    """A run whose server died at 60 %."""
    run, told, server = cut_once
    shutil.copytree(run.path, tmp_path / "cut")
    return RunDir.open(tmp_path / "cut"), told, server


def test_the_run_ends_with_what_it_has_and_says_so(cut: Cut) -> None:
    run, told, _ = cut
    assert told.returncode == 5
    assert "cannot be reached any more: the connection failed: connection refused" in told.stderr
    assert "try: ipw resume /" in told.stderr
    manifest, summary = run.manifest(), run.summary()
    assert summary is not None
    done = summary["metrics"]["queries"]["value"]
    assert DIES_AT - 2 <= done < QUESTIONS
    assert manifest["progress"] == {"finished": done, "of": QUESTIONS}
    assert f"{done} of {QUESTIONS} questions are done" in told.stderr
    assert (manifest["status"], manifest["outage"]["kind"]) == ("interrupted", "unreachable")
    assert manifest["outage"]["t_ns"] - manifest["outage"]["last_answer_ns"] < 25e9
    assert summary["valid"] is False
    assert summary["metrics"]["errors"]["value"] == 0
    (check,) = (check for check in summary["validity"] if check["check"] == "outage")
    assert (check["ok"], check["level"]) == (False, "error")


def test_finished_against_the_server_that_came_back_it_is_the_run_that_was_left_alone(
    cut: Cut, dataset: str, tmp_path: Path
) -> None:
    run, _, before = cut
    answered = {record["query_id"] for record in run.journal("query")}
    port = int(before.url.removesuffix("/v1").rpartition(":")[2])
    with serving(behave, port=port) as after:
        assert resume(run=run.path, as_json=True, strict=True) == 0
        asked = Counter(entry.prompt for entry in after.books[2:])  # behind the warm-up
        assert ipw(*run_words(after.url, dataset, tmp_path / "whole")).returncode == 0
    whole = only(tmp_path / "whole")
    assert table(run) == table(whole)
    summary, expected = run.summary(), whole.summary()
    assert summary is not None
    assert expected is not None
    for name in ("accuracy", "errors", "queries"):
        assert summary["metrics"][name]["value"] == expected["metrics"][name]["value"]
    assert set(asked) == {f"{i}+1" for i in range(QUESTIONS)} - answered
    assert set(asked.values()) == {1}
    manifest = run.manifest()
    assert "outage" not in manifest
    assert manifest["progress"] == {"finished": QUESTIONS, "of": QUESTIONS}
    (part,) = manifest["resumed"]
    assert (part["status"], part["outage"]["kind"]) == ("interrupted", "unreachable")
    (check,) = (check for check in summary["validity"] if check["check"] == "resumed")
    assert part["outage"]["told"] in check["detail"]
    parts = ("attributed_j", "failed_tries_j", "idle_j", "unattributed_j")
    attribution = manifest["attribution"]
    assert attribution["measured_j"] == pytest.approx(sum(attribution[part] for part in parts), rel=1e-6)
    energies = run.read_table("queries", ["energy_j"])
    assert energies is not None
    assert sum(energies["energy_j"].to_pylist()) == pytest.approx(attribution["attributed_j"])


def test_finished_against_a_server_that_is_not_back_it_stays_as_it_was(cut: Cut) -> None:
    run, _, before = cut
    stored = run.manifest(), run.summary()
    with pytest.raises(IpwError, match="no server at"):
        resume(run=run.path, as_json=True, strict=False)
    assert (run.manifest(), run.summary()) == stored
    port = int(before.url.removesuffix("/v1").rpartition(":")[2])
    with serving(Behaviour(status=500), port=port):
        assert resume(run=run.path, as_json=True, strict=False) == 5
    assert run.manifest()["outage"]["kind"] == "failing"
    summary = run.summary()
    assert summary is not None
    assert summary["valid"] is False
    assert summary["metrics"]["accuracy"] == (stored[1] or {})["metrics"]["accuracy"]
    with serving(behave, port=port):
        assert resume(run=run.path, as_json=True, strict=True) == 0
    assert len(table(run)) == QUESTIONS


def test_a_run_of_which_nothing_was_answered_is_an_error_and_no_table(dataset: str, tmp_path: Path) -> None:
    with serving(Behaviour(status=500)) as server:
        told = ipw(*run_words(server.url, dataset, tmp_path / "out", "--warmup", "0", "--json"))
    assert told.returncode == 5
    assert "answers no question: HTTP 500: told to say 500" in told.stderr
    assert "Traceback" not in told.stderr
    assert json.loads(told.stdout)["exit_code"] == 5
    assert only(tmp_path / "out").manifest()["outage"]["kind"] == "failing"


def test_the_machine_s_answer_has_the_numbers_and_the_error(dataset: str, tmp_path: Path) -> None:
    made: list[Server] = []
    with serving(dying(DIES_AT, made)) as server:
        made.append(server)
        told = ipw(*run_words(server.url, dataset, tmp_path / "out", "--json"))
    answer = json.loads(told.stdout)
    assert (told.returncode, answer["exit_code"], answer["valid"]) == (5, 5, False)
    assert answer["hint"] == f"ipw resume {answer['run']}"
    assert answer["metrics"]["queries"]["value"] >= DIES_AT - 2


# --- what is asked again --------------------------------------------------------------------------------------------


def failed_both_ways(folder: Path, dataset: str) -> tuple[RunDir, Server]:
    """A whole run in which one question failed on its way, one by the server's own fault, and one in its answer."""

    def once(request: Request) -> Behaviour:
        refused = Behaviour(status=400, body=[b'{"error": "too long"}'])
        faults = {7: Behaviour(fault="reset"), 8: Behaviour(["1"], fault="error-chunk"), 9: refused}
        return faults.get(number(request), behave(request))

    with serving(once) as server:
        parameters = Parameters(base_url=server.url, dataset=dataset, warmup=0)
        run, _ = measure_lm(parameters, "estimate", 0.0, folder)
    return run, server


ASKED_AGAIN: Any = [("transport", {"7+1", "8+1"}), ("all", {"7+1", "8+1", "9+1"}), ("none", set())]


@pytest.mark.parametrize(("which", "asked"), ASKED_AGAIN)
def test_failed_questions_are_asked_again_as_is_asked_for(
    which: str, asked: set[str], dataset: str, tmp_path: Path
) -> None:
    run, before = failed_both_ways(tmp_path / "runs", dataset)
    port = int(before.url.removesuffix("/v1").rpartition(":")[2])
    with serving(behave, port=port) as after:
        if asked:
            assert resume(run=run.path, as_json=True, strict=False, retry_failed=which) == 0
        else:
            with pytest.raises(IpwError, match="nothing is left to ask"):
                resume(run=run.path, as_json=True, strict=False, retry_failed=which)
        assert {entry.prompt for entry in after.books} == asked
    if asked:
        summary = run.summary()
        assert summary is not None
        assert summary["metrics"]["queries"]["value"] == QUESTIONS
        assert summary["metrics"]["errors"]["value"] == 3 - len(asked)


def test_questions_of_an_open_loop_are_asked_again_at_its_rate_and_not_at_their_old_moments(
    dataset: str, tmp_path: Path
) -> None:
    with serving(lambda r: Behaviour(fault="reset") if number(r) in {0, 59} else behave(r)) as server:
        parameters = Parameters(base_url=server.url, dataset=dataset, warmup=0, rate=30.0, arrival="constant")
        run, _ = measure_lm(parameters, "estimate", 0.0, tmp_path)
    port = int(server.url.removesuffix("/v1").rpartition(":")[2])
    with serving(behave, port=port):
        assert resume(run=run.path, as_json=True, strict=False) == 0
    first, last = [record for record in run.journal("query") if record["status"] == "ok"][-2:]
    assert (first["query_id"], last["query_id"]) == ("0+1", "59+1")
    assert last["scheduled_ns"] - first["scheduled_ns"] == pytest.approx(1e9 / 30, rel=1e-6)


# --- servers of ours ------------------------------------------------------------------------------------------------


def served(tmp_path: Path) -> str:
    script = tmp_path / "server.py"
    script.write_text(SERVER.format(path=[str(ROOT / "tests"), str(ROOT)]))
    return f"{shlex.quote(sys.executable)} {script} --port {{port}} --right --prefill-s 0.05"


def killed_later(mark: str, out: Path, answers: int) -> threading.Thread:
    """Kill what has this on its command line once a run below `out` has so many answers."""

    def kill() -> None:
        while sum(path.read_bytes().count(b'{"kind":"query"') for path in out.glob("*/journal.jsonl")) < answers:
            time.sleep(0.01)
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or [])
            if mark in words and "server_keeper" not in words:
                process.send_signal(signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_server_that_was_started_for_the_run_is_told_with_its_signal_and_started_again_to_finish(
    dataset: str, tmp_path: Path
) -> None:
    parameters = Parameters(serve=served(tmp_path), dataset=dataset, warmup=0)
    killer = killed_later(str(tmp_path / "server.py"), tmp_path / "runs", 10)
    run, interrupted = measure_lm(parameters, "estimate", 0.0, tmp_path / "runs")
    killer.join()
    outage = run.manifest()["outage"]
    assert not interrupted
    assert (outage["kind"], outage["signal"], outage["exit_code"]) == ("died", 9, None)
    assert outage["told"] == "the server died: killed by signal 9 (SIGKILL)"
    assert outage["t_ns"] - outage["last_answer_ns"] < 25e9
    assert resume(run=run.path, as_json=True, strict=False) == 0
    assert len(table(run)) == QUESTIONS


def test_an_engines_child_that_is_killed_is_told_and_started_again_to_the_same_answers(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra 'llamacpp' is not installed")
    parameters = Parameters(model="dense", limit=80, warmup=1, max_tokens=16)
    killer = killed_later("ipw.workloads.lm.servers.llamacpp_server", tmp_path / "cut", 30)
    run, _ = measure_lm(parameters, "estimate", 0.0, tmp_path / "cut")
    killer.join()
    outage = run.manifest()["outage"]
    assert (outage["kind"], outage["signal"]) == ("died", 9)
    assert outage["told"].startswith("llama.cpp's server of ")
    assert resume(run=run.path, as_json=True, strict=False) == 0
    whole, _ = measure_lm(parameters, "estimate", 0.0, tmp_path / "whole")
    from ipw.pipeline import derive

    assert derive(whole)["metrics"]["accuracy"] == (run.summary() or {})["metrics"]["accuracy"]
    assert table(run) == table(whole)


# --- many runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
def test_a_series_says_which_run_lost_its_server_and_asks_no_dead_one(
    restart: bool, dataset: str, tmp_path: Path
) -> None:
    parameters = Parameters(serve=served(tmp_path), dataset=dataset, limit=40, warmup=0)
    killer = killed_later(str(tmp_path / "server.py"), tmp_path / "runs", 5)
    series = measure_series(parameters, [1, 2], 1, "estimate", 0.0, tmp_path / "runs", restart=restart)
    killer.join()
    error = series.error()
    assert error is not None
    assert error.message.startswith("run 1 of 2: the server died: killed by signal 9 (SIGKILL); ")
    assert error.hint == f"ipw resume {series.runs[0]}"
    assert len(series.runs) == (2 if restart else 1)
    assert error.message.endswith("40 questions are done" if restart else "1 more run was not begun")
    if restart:
        assert series.runs[1].manifest()["status"] == "complete"


def test_a_series_whose_server_is_gone_between_two_runs_keeps_what_it_has(dataset: str, tmp_path: Path) -> None:
    asked = [0]
    made: list[Server] = []

    def dies(request: Request) -> Behaviour:
        asked[0] += 1
        if asked[0] == QUESTIONS + 1:
            made[0].die()
        return behave(request)

    with serving(dies) as server:
        made.append(server)
        told = ipw(*run_words(server.url, dataset, tmp_path / "out", "--warmup", "0", "--repeat", "3"))
    assert told.returncode == 5
    assert "run 2 of 3: " in told.stderr
    assert "1 more run was not begun" in told.stderr
    assert len(list((tmp_path / "out").glob("*-series.html"))) == 1


def test_a_cell_of_a_study_fails_with_its_run_to_go_on_with(dataset: str, tmp_path: Path) -> None:
    made: list[Server] = []
    with serving(dying(DIES_AT, made)) as server:
        made.append(server)
        options = {"base_url": server.url, "dataset": dataset, "warmup": 0, "sensors": "estimate", "idle_s": 0.0}
        with pytest.raises(OutageError, match="cannot be reached any more") as caught:
            run_cell(Cell("cell", "lm", options), tmp_path / "out")
    run = only(tmp_path / "out")
    assert caught.value.hint == f"ipw resume {run}"
    assert (run.summary() or {})["valid"] is False


def test_a_gate_says_which_arm_of_which_pair_lost_its_server(dataset: str, tmp_path: Path) -> None:
    made: list[Server] = []
    with serving(behave) as well, serving(dying(DIES_AT, made)) as server:
        made.append(server)
        common = {"dataset": dataset, "warmup": 0, "sensors": "estimate", "idle_s": 0.0}
        arms = {
            "base": Cell("base", "lm", {"base_url": well.url, **common}),
            "candidate": Cell("candidate", "lm", {"base_url": server.url, **common}),
        }
        pairs = measure(arms, planned_pairs(1, 1), tmp_path / "out", before_each=lambda: None)  # type: ignore[arg-type]
        with pytest.raises(OutageError, match=r"^the candidate, in pair 1: the server at .* cannot be reached"):
            next(pairs)


def test_after_ctrl_c_the_manifest_says_how_far_the_run_came(dataset: str, tmp_path: Path) -> None:
    with serving(lambda request: replace(behave(request), prefill_s=600.0 * (request.number >= 12))) as server:
        child = subprocess.Popen(
            [sys.executable, "-m", "ipw.cli", *map(str, run_words(server.url, dataset, tmp_path / "out"))],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
        wait_for(lambda: len(server.books) > 12)  # of which the last is never answered
        child.send_signal(signal.SIGINT)
        assert child.wait(200) == 130
    run = only(tmp_path / "out")
    manifest = run.manifest()
    assert manifest["status"] == "interrupted"
    assert manifest["progress"] == {"finished": len(list(run.journal("query"))), "of": QUESTIONS}
    assert len(list(run.journal("cut_off"))) == 1
