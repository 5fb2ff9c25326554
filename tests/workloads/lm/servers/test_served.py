"""`--serve`: servers that are started for a run. The stand-in is a real process with a child of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from doubles.patience import wait_for

from ipw.errors import IpwError, UsageError
from ipw.variables import OPENAI_KEY
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.servers.engines import serve
from ipw.workloads.lm.servers.served import model_of_command

TESTS = Path(__file__).parents[3]
HELPER = "import time; time.sleep(600)"
SERVER = """
import subprocess, sys, os, time
subprocess.Popen([sys.executable, "-c", {helper!r}, "--mark", sys.argv[2]])
time.sleep(0.2)
sys.argv = ["server", "--port", sys.argv[1], "--right"]
from doubles import openai_server
from doubles.patience import wait_for
sys.stdin = os.fdopen(os.pipe()[0])
openai_server.main()
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))


@pytest.fixture
def command(tmp_path: Path) -> str:
    script = tmp_path / "serv er.py"
    script.write_text(SERVER.format(helper=HELPER))
    return f"{shlex.quote(sys.executable)} '{script}' {{port}} {tmp_path}"


def family(mark: Path) -> list[psutil.Process]:
    """The server and its helper, by what only they have on their command lines."""
    return [p for p in psutil.process_iter(["cmdline"]) if str(mark) in (p.info["cmdline"] or []) and _runs(p)]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE) and "server_keeper" not in " ".join(process.cmdline())
    except psutil.Error:
        return False


def test_a_server_is_started_on_a_free_port_and_ended_with_all_that_it_started(command: str, tmp_path: Path) -> None:
    with serve(Parameters(serve=command)) as endpoint:
        assert endpoint.model == "stand-in"
        assert endpoint.place.local
        assert endpoint.ended is not None
        assert endpoint.ended() is None
        assert endpoint.pid is not None
        assert len(family(tmp_path)) == 2
    assert not family(tmp_path)


def test_a_server_that_dies_meanwhile_is_told(command: str) -> None:
    with serve(Parameters(serve=command)) as endpoint:
        assert endpoint.pid is not None
        assert endpoint.ended is not None
        os.kill(endpoint.pid, signal.SIGKILL)
        death = wait_for(endpoint.ended)
        assert (death.told, death.signal) == ("the server died: killed by signal 9 (SIGKILL)", 9)


def test_a_server_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = tmp_path / "keep.py"
    keeper.write_text(
        "import sys; from ipw.workloads.lm.servers import server_keeper as k; k.GRACE_S = k.ORPHANS_S = 0.2\n"
        "sys.exit(k.main(sys.argv[1:]))"
    )
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, str(keeper), sys.executable, "-c", stubborn, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stderr is not None
    assert child.stderr.readline() == b"up\n"
    child.communicate(timeout=120)
    assert child.returncode == 128 + signal.SIGKILL
    assert not family(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_however_ipw_does(number: signal.Signals, command: str, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\nfrom ipw.workloads.lm.servers.engines import serve\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "from ipw.workloads.lm.parameters import Parameters\n"
        "with serve(Parameters(serve=sys.argv[1])): print('ready', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    parent.send_signal(number)
    parent.wait(120)
    parent.stdout.close()
    wait_for(lambda: not family(tmp_path))


def test_a_server_that_ends_before_it_is_ready_is_told_with_its_last_words_and_without_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    code = (
        "import os; print('loading', flush=True); "
        "raise SystemExit('\\x1b[31mno memory for ' + os.environ['OPENAI_API_KEY'])"
    )
    with (
        pytest.raises(IpwError, match=r"ended before it was ready, exit code 1: loading \| .*no memory") as caught,
        serve(Parameters(serve=f"{sys.executable} -c {shlex.quote(code)} {{port}}")),
    ):
        pass
    assert "0123456789" not in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.exit_code == 5


def test_a_server_that_is_not_ready_in_time_is_told_and_ended(tmp_path: Path) -> None:
    sleeping = f"{sys.executable} -c {shlex.quote(HELPER)} {{port}} {tmp_path}"
    with (
        pytest.raises(IpwError, match=r"is not ready after 0\.3 s") as caught,
        serve(Parameters(serve=sleeping, serve_timeout_s=0.3)),
    ):
        pass
    assert "--serve-timeout" in (caught.value.hint or "")
    assert not family(tmp_path)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-program-here {port}", "cannot start no-such-program-here"),
        ("'unbalanced {port}", "cannot be read"),
        (" ", "is empty"),
        ("server --port 80", "does not say where"),
    ],
)
def test_a_command_that_cannot_be_is_wrong_usage(command: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught, serve(Parameters(serve=command)):
        pass
    assert caught.value.hint


def test_a_key_in_the_command_is_refused_since_the_command_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    with pytest.raises(UsageError, match="would be stored") as caught, serve(Parameters(serve="x --key sk-0123456789")):
        pass
    assert "0123456789" not in caught.value.message


def test_other_engines_start_their_own_server() -> None:
    with (
        pytest.raises(UsageError, match="starts its own server"),
        serve(Parameters(serve="x {port}", engine="llamacpp")),
    ):
        pass


def test_the_name_that_is_not_served_is_refused_after_the_server_was_ended(command: str, tmp_path: Path) -> None:
    with pytest.raises(IpwError, match="has no model 'other'"), serve(Parameters(serve=command, model="other")):
        pass
    assert not family(tmp_path)
    assert OPENAI_KEY not in os.environ


def test_a_server_that_ends_by_itself_is_told_with_its_exit_code_and_its_last_words(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(
        "import os, sys, threading; from doubles import openai_server; sys.stdin = os.fdopen(os.pipe()[0])\n"
        "def crash(): print('CUDA error: out of \\x1b[31mmemory', flush=True); os._exit(3)\n"
        "threading.Timer(1.5, crash).start(); openai_server.main()\n"
    )
    with serve(Parameters(serve=f"{shlex.quote(sys.executable)} {script} --port {{port}}")) as endpoint:
        ended = endpoint.ended
        assert ended is not None
        wait_for(lambda: ended() is not None)
        outage = ended()
    assert outage is not None
    assert (outage.exit_code, outage.signal) == (3, None)
    assert outage.told.startswith("the server died: exit code 3: ")
    assert outage.told.endswith("CUDA error: out of  [31mmemory")
    assert outage.told.isprintable()


@pytest.mark.parametrize(
    ("command", "model"),
    [
        ("transformers serve /models/tiny --port {port}", "/models/tiny"),
        ("vllm serve Qwen/Qwen3-8B --port {port}", "Qwen/Qwen3-8B"),
        ("python -m sglang.launch_server --model-path Qwen/Qwen3-8B --port {port}", "Qwen/Qwen3-8B"),
        ("llama-server -m 'a b.gguf' --port {port}", "a b.gguf"),
        ("serve-it --model=x --port {port}", "x"),
        ("serve-it --port {port} --model=x", "x"),
        ("serve --port {port}", None),
        ("serve {port}", None),
        ("go --model --port {port}", None),
        ("'", None),
        (None, None),
    ],
)
def test_a_server_that_lists_no_model_is_named_by_its_command(command: str | None, model: str | None) -> None:
    assert model_of_command(command) == model
