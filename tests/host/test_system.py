"""No fact of the host is worth a run: what the system does not tell is absent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from doubles.machines import NOTHING
from doubles.patience import wait_for
from doubles.sandbox import run_in

from ipw import system
from ipw.host import host_facts

ROOT = Path(__file__).parents[2]
IPW = [sys.executable, "-P", "-c", "from ipw.cli import main; raise SystemExit(main())"]
MEMINFO, STAT = (Path("/proc", name).read_bytes() if Path("/proc").is_dir() else b"" for name in ("meminfo", "stat"))
SANDBOXES: dict[str, dict[str, bytes | None]] = {
    "memory told with NULs behind it": {"/proc/meminfo": MEMINFO + bytes(300)},
    "memory told in part": {"/proc/meminfo": MEMINFO[:40]},
    "memory not told": {"/proc/meminfo": b""},
    "no time of boot": {"/proc/stat": re.sub(rb"btime.*\n", b"", STAT)},
    "no CPU time": {"/proc/stat": b""},
    "nothing of the CPU": {"/proc/cpuinfo": b"", "/sys/devices/system/cpu": None},
    "text that is none": {"/proc/cpuinfo": b"\xff\xfe\0model name: \xff\n" * 9, "/proc/meminfo": b"\xff" * 99},
    "no classes of devices": {"/sys/class": None},
}


def sandbox(folder: Path, *words: str, shown: dict[str, bytes | None], user: int | None = None, **env: str) -> str:
    environment = {**NOTHING, "IPW_POWER_SUPPLY": "", "PYTHONPATH": str(ROOT), **env}
    done = run_in(folder, [*IPW, *words], shown, user, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout if "--json" in words else done.stdout + done.stderr


@pytest.mark.parametrize("shown", SANDBOXES.values(), ids=SANDBOXES)
def test_a_system_that_hides_a_fact_is_measured_without_it(tmp_path: Path, shown: dict[str, bytes | None]) -> None:
    words = ("measure", "--idle", "0", "--json", "--out", str(tmp_path / "runs"), "--", "true")
    assert json.loads(sandbox(tmp_path, *words, shown=shown))["basis"] in {"estimate", None}


@pytest.mark.parametrize("user", [65534, 54321], ids=["nobody", "a user without an entry"])
def test_whoever_asks_gets_a_measurement(tmp_path: Path, user: int) -> None:
    words = ("measure", "--idle", "0", "--json", "--out", str(tmp_path / "runs"), "--", "true")
    told = sandbox(tmp_path, *words, shown={}, user=user, HOME="", XDG_CONFIG_HOME="", USER="", LOGNAME="")
    assert json.loads(told)["basis"] == "estimate"


def test_the_doctor_and_a_language_model_end_well_where_all_of_this_is_so(tmp_path: Path) -> None:
    """Takes seconds: it is the whole of a run, with its model and its page."""
    shown: dict[str, bytes | None] = {
        "/proc/meminfo": b"", "/proc/cpuinfo": b"", "/proc/stat": re.sub(rb"btime.*\n", b"", STAT), "/sys/class": None,
    }  # fmt: skip
    nobody: dict[str, Any] = {"user": 65534, "HOME": "", "XDG_CONFIG_HOME": ""}
    (tmp_path / "a").mkdir()
    assert "estimate/cpu" in sandbox(tmp_path / "a", "doctor", shown=shown, **nobody)
    (tmp_path / "b").mkdir()
    words = ("run", "lm", "--model", "dense", "--limit", "4", "--warmup", "1", "--idle", "0", "--sensors", "auto")
    told = sandbox(tmp_path / "b", *words, "--out", str(tmp_path / "runs"), shown=shown, **nobody)
    assert "report:" in told


ASKED: dict[str, Callable[[], Any]] = {
    "cpu_count": lambda: system.cpu_count(logical=False),
    "memory_bytes": system.memory_bytes,
    "busy_cpu_s": system.busy_cpu_s,
    "busy_share": lambda: system.busy_share(0.01),
    "on_mains": system.on_mains,
    "process_created_s": lambda: system.process_created_s(os.getpid()),
    "process_name": lambda: system.process_name(os.getpid()),
    "command_line": lambda: system.command_line(os.getpid()),
    "processes": lambda: list(system.processes()),
    "networks": system.networks,
    "await_end": lambda: system.await_end(2**30, 0.01),
}


@pytest.mark.parametrize("error", [RuntimeError("line 'btime' not found"), OSError(2, "no"), KeyError("MemTotal"),
                                   UnicodeDecodeError("utf-8", b"\xff", 0, 1, ""), psutil.AccessDenied(1)],
                         ids=lambda error: type(error).__name__)  # fmt: skip
@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_whatever_psutil_raises_is_absence(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any], error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    for name in (
        "cpu_count",
        "virtual_memory",
        "cpu_times",
        "cpu_percent",
        "sensors_battery",
        "Process",
        "pids",
        "net_if_addrs",
    ):
        monkeypatch.setattr(psutil, name, fail, raising=False)
    assert not ask()
    assert system.own_processes() == {os.getpid()}
    facts = host_facts()
    assert facts["memory_bytes"] is None
    assert facts["machine"]


def test_a_number_that_can_be_none_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda **_: None)
    assert system.cpu_count(logical=False) is None
    assert system.cpu_count() == os.cpu_count()


def test_psutil_is_asked_in_one_place_only() -> None:
    pattern = re.compile(r"^\s*(import|from) psutil\b", re.MULTILINE)
    asking = [path.name for path in (ROOT / "ipw").rglob("*.py") if pattern.search(path.read_text())]
    assert asking == ["system.py"]


def test_what_a_process_started_is_its_own() -> None:
    before_s = time.time()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as child:
        try:
            wait_for(lambda: {os.getpid(), child.pid} <= system.own_processes())
            began_s = system.process_created_s(child.pid)
            assert began_s is not None
            assert abs(began_s - before_s) < 60
        finally:
            child.kill()
