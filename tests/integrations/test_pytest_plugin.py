from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from doubles.machines import recording

from ipw.integrations import pytest as plugin

WORK = """
import time  # what a recording draws, it draws while one sleeps as well

def work(n):
    time.sleep(0.01)
    return sum(range(n))

def test_call(energy):
    assert energy(work, 20000) == work(20000)

def test_block(energy):
    for _ in range(3):
        with energy:
            time.sleep(0.5)

def test_without():
    pass
"""


INSTALLED = any(point.value == "ipw.integrations.pytest" for point in entry_points(group="pytest11"))


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with ExitStack() as stack:
        environment = os.environ | recording(folder / "machine", stack)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--ipw-sensors", "replay", *arguments]
        command[3:3] = [] if INSTALLED else ["-p", "ipw.integrations.pytest"]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "test_work.py").write_text(WORK)
    return tmp_path


def kept(project: Path) -> Path:
    """What a run that drew a tenth would have kept."""
    path = project / ".ipw" / "energy" / "small.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"basis": "package", "energy_j": [1e-6] * 5, "duration_s": [1e-7] * 5, "reason": None}
    tests = {"test_work.py::test_call": entry, "test_work.py::test_block": entry | {"basis": "gpu"}}
    path.write_text(json.dumps({"schema_version": 1, "tests": tests}))
    return path


def test_calls_and_blocks_are_measured_kept_and_without_a_limit_only_compared(project: Path) -> None:
    kept(project)
    result = pytest_in(project, "--ipw-save", "first", "--ipw-compare", "small")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search("test_work.py::test_call: energy_j: .* regressed", result.stdout)
    content = json.loads((project / ".ipw" / "energy" / "first.json").read_text())
    assert set(content["tests"]) == {"test_work.py::test_call", "test_work.py::test_block"}
    call, block = content["tests"].values()
    assert 5 <= len(call["duration_s"]) <= 15
    assert 2 <= len(call["energy_j"]) <= 15  # a stall of the machine may cost a round
    assert 2 <= len(block["energy_j"]) <= 3
    assert min(block["energy_j"]) > 0.5 * 40 * 0.9  # the recording draws 40 W
    assert 0 < median(call["energy_j"]) < min(block["energy_j"])  # one of them may have been held up


def test_a_test_that_draws_surely_more_than_was_kept_fails_and_so_does_one_of_another_basis(project: Path) -> None:
    kept(project)
    result = pytest_in(project, "--ipw-compare", "small", "--ipw-fail=energy_j:5%")
    assert result.returncode == 1
    assert "margin 5 %: regressed" in result.stdout
    assert "kept in basis gpu, measured in basis package" in result.stdout
    assert "errors" in result.stdout.splitlines()[-1]


ROUNDS = """
import time

def test_once(energy):
    with energy:
        time.sleep(0.1)

def test_loop(energy):
    for _ in energy:
        time.sleep(0.05)
"""


def test_one_round_is_said_to_be_unable_to_fail_and_a_loop_takes_as_many_as_it_needs(project: Path) -> None:
    (project / "test_work.py").write_text(ROUNDS)
    entry = {"basis": "package", "energy_j": [1e-6] * 5, "duration_s": [1e-7] * 5, "reason": None}
    tests = {"test_work.py::test_once": entry, "test_work.py::test_loop": entry}
    kept(project).write_text(json.dumps({"schema_version": 1, "tests": tests}))
    result = pytest_in(project, "--ipw-save", "now", "--ipw-compare", "small", "--ipw-fail=duration_s:5%")
    assert "test_once: measured: one round shows no spread, so a limit on it can never fail" in result.stdout
    assert "test_once: kept: one round" in result.stdout
    assert "for _ in energy:" in result.stdout
    assert re.search(r"test_loop: duration_s: .* regressed", result.stdout)
    assert not re.search(r"test_once: duration_s: .* regressed", result.stdout)
    assert result.returncode == 1
    told = json.loads((project / ".ipw" / "energy" / "now.json").read_text())["tests"]
    assert len(told["test_work.py::test_once"]["duration_s"]) == 1
    assert len(told["test_work.py::test_loop"]["duration_s"]) == 5, "five rounds decide a change so large"


def test_rounds_go_on_until_they_decide_and_a_busy_machine_decides_nothing() -> None:
    def told(*seconds: float) -> dict[str, Any]:
        return {"basis": "gpu", "energy_j": None, "duration_s": list(seconds), "reason": "no sensor"}

    noisy, worse = told(1.0, 1.3, 0.8, 1.1, 0.9), [1.1, 1.4, 1.0, 1.6, 1.2]
    assert plugin._judged("duration_s", noisy, told(*worse), 0.05)[0] == "inconclusive"
    assert "in 15 rounds" in plugin._judged("duration_s", noisy, told(*worse * 3), 0.05)[1]
    steady, surely = told(*[1.0] * 5), told(*[1.3] * 10)
    assert plugin._judged("duration_s", steady, surely, 0.05)[0] == "regressed"
    busy = surely | {"disturbed": "others used 1.9 of 2 CPUs in the window"}
    verdict, text = plugin._judged("duration_s", steady, busy, 0.05)
    assert verdict == "inconclusive"
    assert text.endswith("since the machine was busy: others used 1.9 of 2 CPUs in the window")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ipw-fail=energy_j:5%"],
        ["--ipw-compare", "nothing", "--ipw-fail=energy_j:5%"],
        ["--ipw-compare", "small", "--ipw-fail=joules:5%"],
        ["--ipw-compare", "small", "--ipw-fail=energy_j:-5%"],
        ["--ipw-save", "../elsewhere"],
    ],
)
def test_options_that_make_no_sense_stop_the_session(arguments: list[str], project: Path) -> None:
    kept(project)
    result = pytest_in(project, *arguments)
    assert result.returncode == 4
    assert "Traceback" not in result.stderr


def test_loading_the_plugin_loads_nothing_heavy() -> None:
    heavy = {"numpy", "pandas", "torch", "pynvml", "pyarrow", "rich", "psutil", "click"}
    code = f"import sys, pytest, ipw.integrations.pytest; print(*set(sys.modules) & {heavy!r})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""
