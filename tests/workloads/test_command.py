from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ipw.errors import UsageError
from ipw.workloads.command import run_command


@pytest.mark.parametrize(("script", "code"), [("pass", 0), ("raise SystemExit(7)", 7)])
def test_the_exit_code_is_the_commands_own(script: str, code: int) -> None:
    assert run_command([sys.executable, "-c", script]) == code


def test_a_command_that_a_signal_ended_is_told_as_shells_do() -> None:
    assert run_command([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 128 + 9


def test_a_command_that_is_not_there_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="cannot start"):
        run_command(["no-such-program-here"])


def test_arguments_are_never_read_by_a_shell() -> None:
    assert (
        run_command([sys.executable, "-c", "import sys; raise SystemExit(sys.argv[1] != '$(false); *')", "$(false); *"])
        == 0
    )


def test_a_signal_that_comes_before_the_command_is_started_reaches_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def late(*arguments: object, **options: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", late)
    assert run_command([sys.executable, "-c", "import time; time.sleep(60)"]) == 128 + signal.SIGTERM


def test_sigterm_reaches_the_command_and_its_end_is_waited_for() -> None:
    child = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(42)); print('up', flush=True); time.sleep(60)"
    )
    run = f"run_command([sys.executable, '-c', {child!r}])"
    code = f"import sys; from ipw.workloads.command import run_command; sys.exit({run})"
    outer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
    assert outer.stdout is not None
    assert outer.stdout.readline() == b"up\n"
    outer.send_signal(signal.SIGTERM)
    assert outer.wait(timeout=120) == 42
    outer.stdout.close()
