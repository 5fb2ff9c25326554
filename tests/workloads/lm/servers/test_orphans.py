"""Nothing outlives a run: not after SIGKILL of the client, the keeper or its guard, in any order, at any moment."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from doubles.patience import wait_for
from workloads.lm.servers.test_served import HELPER, SERVER, TESTS, family

from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.servers.engines import serve

CLIENT = """
import sys, time
from ipw.workloads.lm.servers.engines import serve
from ipw.workloads.lm.parameters import Parameters
with serve(Parameters(**eval(sys.argv[1]))) as endpoint:
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))


@pytest.fixture
def command(tmp_path: Path) -> str:
    script = tmp_path / "server.py"
    script.write_text(SERVER.format(helper=HELPER))
    return f"{shlex.quote(sys.executable)} {script} {{port}} {tmp_path}"


def client(**parameters: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, repr(parameters)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def keepers(parent: int) -> list[psutil.Process]:
    """The keeper, and then its guard."""
    found = [p for p in psutil.Process(parent).children(recursive=True) if "server_keeper" in " ".join(p.cmdline())]
    return sorted(found, key=lambda p: p.create_time())


@pytest.mark.parametrize("killed", [["keeper"], ["keeper", "guard"], ["guard", "keeper"]])
def test_the_death_of_the_keeper_ends_the_server_and_all_that_it_started_and_is_told(
    killed: Sequence[str], command: str, tmp_path: Path
) -> None:
    with serve(Parameters(serve=command)) as endpoint:
        keeper, guard = keepers(os.getpid())
        for name in killed:
            {"keeper": keeper, "guard": guard}[name].kill()
        assert endpoint.ended is not None
        wait_for(lambda: endpoint.ended is not None and endpoint.ended() is not None)
        death = endpoint.ended()
        assert death is not None
        assert death.how == "was ended, since its keeper died: killed by signal 9 (SIGKILL)"
    assert not family(tmp_path)


def test_the_death_of_the_guard_alone_changes_nothing(command: str, tmp_path: Path) -> None:
    with serve(Parameters(serve=command)) as endpoint:
        keepers(os.getpid())[1].kill()
        time.sleep(0.1)
        assert endpoint.ended is not None
        assert endpoint.ended() is None
        assert len(family(tmp_path)) == 2
    assert not family(tmp_path)


@pytest.mark.parametrize("order", [("client", "keeper"), ("keeper", "client")])
def test_the_deaths_of_client_and_keeper_end_the_server(order: Sequence[str], command: str, tmp_path: Path) -> None:
    parent = client(serve=command)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    processes = {"client": psutil.Process(parent.pid), "keeper": keepers(parent.pid)[0]}
    for name in order:
        processes[name].kill()
    parent.communicate()
    wait_for(lambda: not family(tmp_path))


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.1])
def test_a_client_that_is_killed_while_the_server_starts_leaves_nothing(
    after_s: float, command: str, tmp_path: Path
) -> None:
    parent = client(serve=command)
    wait_for(lambda: bool(keepers(parent.pid)))
    time.sleep(after_s)
    parent.kill()
    parent.communicate()
    wait_for(lambda: not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in _words(p)])


def _words(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or [])


def test_a_server_that_ignores_sigterm_is_killed_by_the_guard_when_all_others_are_dead(tmp_path: Path) -> None:
    keep = tmp_path / "keep.py"
    keep.write_text(
        "import sys; from ipw.workloads.lm.servers import server_keeper as k; k.GRACE_S = 0.2\n"
        "sys.exit(k.main(sys.argv[1:]))"
    )
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    keeper = subprocess.Popen(
        [sys.executable, str(keep), sys.executable, "-c", stubborn, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert keeper.stderr is not None
    assert keeper.stderr.readline() == b"up\n"
    keeper.send_signal(signal.SIGKILL)
    keeper.communicate(timeout=120)
    wait_for(lambda: not family(tmp_path))


def test_an_engines_child_ends_with_a_client_that_is_killed_also_while_it_loads(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra 'llamacpp' is not installed")
    parent = client(model="dense")
    found: list[psutil.Process] = []

    def started() -> bool:
        found[:] = [p for p in psutil.Process(parent.pid).children() if "llamacpp_server" in " ".join(p.cmdline())]
        return bool(found)

    wait_for(started)
    parent.kill()
    parent.communicate()
    wait_for(lambda: not found[0].is_running())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_process_that_keeps_pythons_lock_ends_with_its_parent_too() -> None:
    holding = (
        "import ctypes; from ipw.workloads.lm.servers.parent_death import end_with_parent; end_with_parent(); "
        "print('holding', flush=True); ctypes.PyDLL(None).sleep(60)"
    )
    starting = (
        "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
        "stdin=subprocess.PIPE); print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", starting, holding], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    lines = [parent.stdout.readline(), parent.stdout.readline()]
    child = psutil.Process(int(next(line for line in lines if line.strip().isdigit())))
    parent.kill()
    wait_for(lambda: not child.is_running())
    parent.communicate()
