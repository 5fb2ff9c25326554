"""`ipw measure` and `ipw.measure`, end to end, with a GPU whose true power is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from doubles.machines import NOTHING
from doubles.nvml import FakeNvml
from doubles.patience import undisturbed, wait_for

from ipw.runs.directory import RunDir
from ipw.runs.readings import RECORD

BURST = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from doubles.nvml import FakeNvml
fake = FakeNvml(Path({folder!r}))
for watts in (300.0, 80.0, 500.0):
    fake.set_power(0, watts)
    time.sleep(0.3)
fake.set_power(0, 60.0)
"""


def measure(options: Sequence[str], environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    bare = {k: v for k, v in os.environ.items() if k != "IPW_FAKE_NVML"} | NOTHING
    command = [sys.executable, "-m", "ipw.cli", "measure", *options]
    return subprocess.run(
        command, capture_output=True, text=True, env=bare | environment, cwd=cwd, timeout=120, check=False
    )


@pytest.fixture
def gpu(tmp_path: Path) -> FakeNvml:
    fake = FakeNvml.create(tmp_path / "nvml")
    fake.set_power(0, 60.0)
    return fake


WAITING = """
import pathlib, sys, time
pathlib.Path("began").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.01)
"""


def begun(options: Sequence[str], gpu: FakeNvml, folder: Path) -> subprocess.Popen[str]:
    """A measurement whose command has begun, and goes on until it is stopped or the file `go` is there."""
    bare = {k: v for k, v in os.environ.items() if k != "IPW_FAKE_NVML"} | NOTHING | gpu.environment()
    command = [sys.executable, "-m", "ipw.cli", "measure", "--json", *options, "--", sys.executable, "-c", WAITING]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=bare, cwd=folder, text=True)
    wait_for((folder / "began").exists, "the command")
    return process


def statuses(path: Path) -> set[int]:
    data = path.read_bytes()
    whole = len(data) - len(data) % RECORD.size
    return {status for *_, status, _ in RECORD.iter_unpack(data[:whole])}


def burst(gpu: FakeNvml) -> list[str]:
    return [sys.executable, "-c", BURST.format(tests=str(Path(__file__).parent), folder=str(gpu.folder))]


def test_a_commands_energy_is_what_the_gpu_truly_drew(gpu: FakeNvml, tmp_path: Path) -> None:
    def told() -> None:
        result = measure(["--json", "--idle", "0.5", "--", *burst(gpu)], gpu.environment(), tmp_path)
        answer = json.loads(result.stdout)
        assert result.returncode == answer["exit_code"] == 0
        window = next(s for s in RunDir(tmp_path / answer["run"]).journal("span") if s["phase"] == "measure")
        truth = gpu.energy_j(0, window["start_ns"], window["end_ns"])
        assert answer["energy_j"]["value"] == pytest.approx(truth, rel=0.08)
        assert answer["energy_j"]["low"] <= truth <= answer["energy_j"]["high"]
        idle_j = 60.0 * answer["duration_s"]
        assert answer["net_energy_j"]["value"] == pytest.approx(truth - idle_j, rel=0.12)
        assert (answer["basis"], answer["method"], answer["valid"]) == ("gpu", "counter", True)
        assert answer["channels"]["nvml/gpu0"] == pytest.approx(truth, rel=0.08)

    undisturbed(told)


def test_the_commands_exit_code_and_output_pass_through(tmp_path: Path) -> None:
    script = "print('hello'); raise SystemExit(3)"
    result = measure(["--idle", "0", "--", sys.executable, "-c", script], {}, tmp_path)
    assert result.returncode == 3
    assert result.stdout == "hello\n"


def test_under_json_nothing_else_is_on_stdout(tmp_path: Path) -> None:
    result = measure(["--json", "--idle", "0", "--", sys.executable, "-c", "print('hello')"], {}, tmp_path)
    assert set(json.loads(result.stdout)) >= {"energy_j", "net_energy_j", "power_w", "duration_s", "basis", "method"}
    assert "hello" in result.stderr


def test_without_a_sensor_every_joule_is_called_estimated(tmp_path: Path) -> None:
    result = measure(["--idle", "0.3", "--", "sleep", "0.3"], {}, tmp_path)
    energy_lines = [line for line in result.stderr.splitlines() if " J" in line or " W" in line]
    assert energy_lines
    assert all("(estimated)" in line for line in energy_lines)
    (run,) = (tmp_path / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["basis"], summary["method"]) == ("estimate", "model_estimate")
    assert "stimated" in (run / "report.html").read_text()


def test_a_named_sensor_that_cannot_be_read_gives_reasons_and_no_joules(tmp_path: Path) -> None:
    result = measure(["--json", "--idle", "0", "--sensors", "rapl", "--", "true"], {}, tmp_path)
    answer = json.loads(result.stdout)
    assert answer["energy_j"]["value"] is None
    assert "rapl" in answer["energy_j"]["reason"]
    assert answer["basis"] is None


def test_a_gpu_lost_midway_leaves_an_invalid_run_with_the_reason(gpu: FakeNvml, tmp_path: Path) -> None:
    with begun(["--idle", "0.2"], gpu, tmp_path) as process:
        gpu.fail(0, 0, 15)
        wait_for(lambda: {status for path in tmp_path.glob("runs/*/power.bin") for status in statuses(path)} > {0})
        (tmp_path / "go").touch()
        output, _ = process.communicate()
    answer = json.loads(output)
    assert process.returncode == 0
    assert not answer["valid"]
    assert any("lost" in check["detail"].lower() for check in answer["validity"])


def test_an_interrupted_command_is_measured_to_its_end(gpu: FakeNvml, tmp_path: Path) -> None:
    with begun(["--idle", "0"], gpu, tmp_path) as process:
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
    answer: dict[str, Any] = json.loads(output)
    assert process.returncode == answer["exit_code"] == 128 + signal.SIGTERM
    assert answer["energy_j"]["value"] == pytest.approx(60.0 * answer["duration_s"], rel=0.1)


def test_a_block_of_python_is_measured(gpu: FakeNvml, tmp_path: Path) -> None:
    script = """
import time, ipw
with ipw.measure("block", idle_s=0.2) as m:
    with m.span("inner", phase="forward"):
        time.sleep(0.5)
print(m.energy.low, m.energy.high, m.summary["metrics"]["duration_s"]["value"])
"""
    environment = dict(os.environ) | NOTHING | gpu.environment()
    printed = subprocess.check_output([sys.executable, "-c", script], env=environment, cwd=tmp_path, text=True)
    low_j, high_j, duration_s = map(float, printed.split())
    assert low_j * 0.98 <= 60.0 * duration_s <= high_j * 1.02, "a sampler that is held up says so by its interval"
