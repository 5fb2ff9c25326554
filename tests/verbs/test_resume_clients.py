"""A run by several processes is resumed after the death of one of them, and of the one that wrote the books."""

from __future__ import annotations

import subprocess
from pathlib import Path

from doubles.openai_server import Server
from doubles.patience import wait_for
from verbs.test_resume import QUESTIONS, command, questions, server, table
from workloads.lm.test_clients import workers

from ipw.runs.directory import RunDir
from ipw.verbs.resume import resume

__all__ = ["questions", "server"]  # fixtures


def test_a_run_whose_processes_were_killed_one_by_one_is_finished_and_as_one_that_was_left_alone(
    server: Server,
    questions: Path,
    tmp_path: Path,
) -> None:
    child = subprocess.Popen(
        [*command(server, questions, tmp_path / "cut"), "--clients", "2"], stderr=subprocess.DEVNULL
    )
    wait_for(lambda: len(server.books) > QUESTIONS // 6)
    asking = workers(child.pid)
    asking[0].suspend()  # so that a question stays with it
    so_far = len(server.books)
    wait_for(lambda: len(server.books) > so_far + 10)
    asking[0].kill()
    (path,) = (tmp_path / "cut").iterdir()
    run = RunDir(path)
    wait_for(lambda: [each for each in run.journal("query") if each.get("failure") == "client"])
    so_far = len(server.books)
    wait_for(lambda: len(server.books) > so_far + QUESTIONS // 6)
    child.kill()
    child.wait()
    wait_for(lambda: not asking[1].is_running())
    lost = [each["query_id"] for each in run.journal("query") if each.get("failure") == "client"]
    assert resume(run=run.path, as_json=True, strict=False) == 0

    subprocess.run(command(server, questions, tmp_path / "whole"), check=True, stderr=subprocess.DEVNULL)
    (whole,) = (RunDir(path) for path in (tmp_path / "whole").iterdir())
    assert table(run) == table(whole)
    again = [each["status"] for each in run.journal("query") if each["query_id"] in lost]
    assert again == ["error"] * len(lost) + ["ok"] * len(lost)
    manifest, alone = run.manifest(), whole.manifest()
    assert manifest["arrivals"]["missing"] == 0
    assert (manifest["workload"]["parameters"]["clients"], alone["workload"]["parameters"]["clients"]) == (2, None)
    assert [len(part["processes"]) for part in manifest["client"]] == [2]  # the part that was killed told nothing
    assert [len(part["processes"]) for part in alone["client"]] == [1]
    summary = run.summary()
    assert summary is not None
    assert [check["ok"] for check in summary["validity"] if check["check"] == "record"] == [True]
    assert [check["check"] for check in summary["validity"] if check["check"].startswith("client")] == ["client"]
