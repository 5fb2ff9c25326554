"""What others use of a real GPU: a process that nobody here started, beside a run that computes and one that sleeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipw.pipeline import finish
from ipw.profilers.discovery import find
from ipw.runs.directory import RunDir
from ipw.workloads.command import measure_command

SECONDS = 14.0
WORK = """
import sys, time, torch
end, part = time.monotonic() + float(sys.argv[1]), float(sys.argv[2])
a = torch.randn(4096, 4096, device="cuda", dtype=torch.float16)
while time.monotonic() < end:
    began = time.monotonic()
    while time.monotonic() < began + 0.1 * part:
        torch.matmul(a, a)
        torch.cuda.synchronize()
    time.sleep(0.1 * (1 - part))
"""


@pytest.fixture
def neighbour() -> Iterator[int]:
    """A process of nobody here that computes half of the time."""
    orphan = ["sh", "-c", 'nohup "$0" -c "$1" 60 0.5 >/dev/null 2>&1 & echo $!', sys.executable, WORK]
    pid = int(subprocess.run(orphan, capture_output=True, check=True).stdout)
    yield pid
    os.kill(pid, signal.SIGKILL)


def used(folder: Path, *command: str) -> dict[str, object]:
    run, _ = measure_command([*command], "nvml", 1.0, folder, quiet=True)
    summary = finish(RunDir(run.path))
    found = {"load": summary["other_gpu_load"], "valid": summary["valid"]}
    found["checks"] = [
        c["detail"] for c in summary["validity"] if "GPU" in c["check"] or c["check"].startswith("other")
    ]
    print(json.dumps(found))
    return found


@pytest.mark.gpu
@pytest.mark.timeout(120)
def test_a_neighbour_on_a_real_gpu_is_told_with_its_share(
    neighbour: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPW_PROC", "/proc")
    (sensor,) = find("nvml")
    sensor.close()
    if not any(channel.status == "ok" for channel in sensor.channels):
        pytest.skip("no NVIDIA GPU")
    asleep = used(tmp_path, "sleep", str(SECONDS))["load"]
    at_work = used(tmp_path, sys.executable, "-c", WORK, str(SECONDS), "0.5")["load"]
    assert isinstance(asleep, dict)
    assert isinstance(at_work, dict)
    assert asleep["window"] > 0.25
    assert not asleep["own"]
    assert at_work["own"] > 0.15
    assert at_work["window"] > 0.15
