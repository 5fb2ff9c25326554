"""`ipw gateway` around programs that know nothing of it: what they get, what is kept, what is left when one dies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("aiohttp")

from doubles.machines import NOTHING
from doubles.openai_server import Behaviour, serving

from ipw.errors import UsageError
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL
from ipw.verbs.resume import stored_parameters

ASK = """
import json, os, sys, time, urllib.request
def ask(messages, where=os.environ["OPENAI_BASE_URL"], **headers):
    body = json.dumps({"model": "m", "messages": messages}).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-0123456789abcdef", **headers}
    request = urllib.request.Request(where + "/chat/completions", body, headers)
    return json.load(urllib.request.urlopen(request, timeout=60))["choices"][0]["message"]
"""
TWO_TURNS = (
    ASK
    + """
history = [{"role": "user", "content": sys.argv[1]}]
for more in ("", "and then?"):
    history += [{"role": "user", "content": more}] if more else []
    history.append(ask(history))
"""
)


@pytest.fixture
def answering() -> Iterator[str]:
    with serving(Behaviour(["one", " two"], streamed=False)) as server:
        yield server.url


def started(url: str, out: Path, command: list[str], *more: str, **environment: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "ipw.cli", "gateway", "--base-url", url, "--idle", "0", "--sensors", "estimate"]
    return subprocess.Popen(
        [*words, "--out", str(out), *more, "--", *command],
        env=os.environ | NOTHING | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def only_run(folder: Path) -> RunDir:
    (path,) = folder.iterdir()
    return RunDir.open(path)


def rows(run: RunDir, name: str) -> list[dict[str, Any]]:
    table = run.read_table(name)
    assert table is not None
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def test_a_program_is_measured_unchanged_by_turn_and_task(answering: str, tmp_path: Path) -> None:
    code, out, err = ended(started(answering, tmp_path / "runs", [sys.executable, "-c", TWO_TURNS, "hello"]))
    assert code == 0, err
    assert out == ""
    run = only_run(tmp_path / "runs")
    queries = rows(run, "queries")
    assert [(q["task"], q["conversation"], q["turn"], q["tool"], q["status"]) for q in queries] == [
        ("task-1", 1, 1, None, "ok"), ("task-1", 1, 2, None, "ok"),
    ]  # fmt: skip
    (task,) = rows(run, "tasks")
    assert (task["turns"], task["requests"], task["score"]) == (2, 2, None)
    manifest = run.manifest()
    assert (manifest["status"], manifest["exit_code"], manifest["model"]["name"]) == ("complete", 0, "m")
    for path in run.path.iterdir():
        assert b"sk-0123456789abcdef" not in path.read_bytes()


def test_the_commands_own_exit_code_and_output_come_back_and_scores_are_taken(answering: str, tmp_path: Path) -> None:
    scores = tmp_path / "scores.jsonl"
    program = (
        ASK
        + f"""
ask([{{"role": "user", "content": "a"}}], **{{"x-ipw-task": "A"}})
ask([{{"role": "user", "content": "b"}}], os.environ["IPW_GATEWAY_URL"] + "/t/B/v1")
open(os.environ["IPW_TASK_FILE"], "w").write("C")
ask([{{"role": "user", "content": "c"}}])
open({str(scores)!r}, "w").write('{{"task": "A", "score": 1}}\\n{{"task": "C", "score": 0.5}}\\n')
print("done")
sys.exit(7)
"""
    )
    code, out, err = ended(
        started(answering, tmp_path / "runs", [sys.executable, "-c", program], "--scores", str(scores))
    )
    assert (code, out) == (7, "done\n"), err
    assert [(task["task"], task["score"]) for task in rows(only_run(tmp_path / "runs"), "tasks")] == [
        ("A", 1.0), ("B", None), ("C", 0.5),
    ]  # fmt: skip


def wait_for(condition: Any) -> Any:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come")


SERVER = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.say({"data": []})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if b"slow" in body:
            time.sleep(600)
        message = {"role": "assistant", "content": "one"}
        self.say({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}})

    def say(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SLEEPER = (
    ASK
    + """
import subprocess, urllib.error
ask([{"role": "user", "content": "a"}])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid} ")
try:
    ask([{"role": "user", "content": "slow"}])
except urllib.error.HTTPError as error:
    print(error.code, flush=True)
"""
)


def written(path: Path) -> str:
    text = path.read_text() if path.is_file() else ""
    return text if text.endswith(" ") else ""


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("who", ["the command", "the gateway", "the server", "the keeper"])
def test_a_death_loses_nothing_that_was_finished_and_leaves_nobody_behind(who: str, tmp_path: Path) -> None:
    told = tmp_path / "pids"
    (tmp_path / "server.py").write_text(SERVER)
    server = f"{sys.executable} {tmp_path / 'server.py'} {{port}}"
    words = [sys.executable, "-m", "ipw.cli", "gateway", "--serve", server, "--idle", "0", "--sensors", "estimate"]
    process = subprocess.Popen(
        [*words, "--out", str(tmp_path / "runs"), "--", sys.executable, "-c", SLEEPER, str(told)],
        env=os.environ | NOTHING,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: written(told) or process.poll() is not None)
        assert process.poll() is None, ended(process)
        pids = [int(pid) for pid in written(told).split()]
        all_of_it = [each.pid for each in psutil.Process(process.pid).children(recursive=True)]
        time.sleep(0.2)
        if who == "the command":
            os.kill(pids[0], signal.SIGKILL)
        elif who == "the gateway":
            process.kill()
        elif who == "the keeper":
            os.kill(psutil.Process(pids[0]).ppid(), signal.SIGKILL)
        else:
            for pid in all_of_it:
                if _words(pid)[1:2] == [str(tmp_path / "server.py")]:
                    os.kill(pid, signal.SIGKILL)
        code, out, err = ended(process)
        wait_for(lambda: all(gone(pid) for pid in {*all_of_it, *pids}))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    run = only_run(tmp_path / "runs")
    lines = [json.loads(line) for line in (run.path / JOURNAL).read_text().splitlines()]
    finished = [line for line in lines if line["kind"] == "query" and line["status"] == "ok"]
    assert len(finished) == 1
    wanted = {"the command": 137, "the gateway": -9, "the server": 0, "the keeper": 137}
    assert code == wanted[who], err
    if who == "the server":
        assert out == "502\n"


def _words(pid: int) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(psutil.Process(pid).cmdline())
    return []


def test_without_a_command_it_serves_until_it_is_stopped(answering: str, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "ipw.cli",
        "gateway",
        "--base-url",
        answering,
        "--idle",
        "0",
        "--sensors",
        "estimate",
    ]
    process = subprocess.Popen(
        [*words, "--out", str(tmp_path / "runs")], env=os.environ | NOTHING, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    line = next(line for line in process.stderr if "gateway:" in line)
    url = line.split()[1]
    subprocess.run(
        [sys.executable, "-c", TWO_TURNS, "hi"], env=os.environ | {"OPENAI_BASE_URL": url}, check=True, timeout=60
    )
    process.terminate()
    process.communicate(timeout=100)
    assert process.returncode == 0
    run = only_run(tmp_path / "runs")
    assert (run.manifest()["status"], len(rows(run, "queries"))) == ("complete", 2)


def test_what_a_program_asked_is_not_resumed() -> None:
    manifest = {"workload": {"kind": "agent", "parameters": {"by": "gateway", "idle_s": 1.0}}}
    with pytest.raises(UsageError, match="cannot be asked again"):
        stored_parameters(manifest, Path("run"))
