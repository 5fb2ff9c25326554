"""A sensor of another package that breaks every promise is told, and takes neither the run nor others with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from doubles.machines import NOTHING
from doubles.powercap import Powercap

from ipw.profilers.discovery import choose_basis, close, find
from ipw.profilers.losses import losses

ROOT = Path(__file__).parents[2]
WELL = """
from ipw.profilers.base import Channel, Reading, SensorError
class Sensor:
    channels = [Channel(name="lab/gpu0", kind="power", scope="gpu", method="integrated_power", unit="W")]
    def read(self, index): return Reading(__import__("time").monotonic_ns(), 40.0, 0)
    def close(self): pass
"""
AGAIN = WELL + "\nclass Sensor(Sensor):\n    "
BROKEN = {
    "the module does not import": "import no_such_module",
    "the module ends the program": "import sys; sys.exit(3)",
    "opening raises": AGAIN + "def __init__(self): raise KeyError('odd')",
    "opening ends the program": AGAIN + "def __init__(self): raise SystemExit('no licence')",
    "there are no channels": "class Sensor: pass",
    "channels are something else": AGAIN + "channels = ['a', 'b']",
    "a fact of a channel is no JSON": AGAIN + "channels = [Channel(name='lab/a', kind='power', scope=object())]",
    "it is no sensor at all": "def Sensor(): return None",
}


def install(folder: Path, code: str) -> None:
    (folder / "lab.py").write_text(code + "\n")
    installed = folder / "lab-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[ipw.sensors]\nlab = lab:Sensor\n")


def ipw(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = "from ipw.cli import main; raise SystemExit(main())"
    environment = os.environ | NOTHING | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    environment["IPW_POWERCAP"] = str(folder / "powercap")
    command = [sys.executable, "-P", "-c", code, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def measure(folder: Path) -> dict[str, Any]:
    tree = Powercap(folder / "powercap")
    tree.zone("intel-rapl:0", "package-0")
    with tree.drawing({"intel-rapl:0": 50.0}):
        done = ipw(folder, "measure", "--idle", "0", "--json", "--out", str(folder / "runs"), "--", "sleep", "0.2")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_one_that_cannot_be_opened_is_told_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    install(tmp_path, code)
    monkeypatch.syspath_prepend(str(tmp_path))
    tree = Powercap(tmp_path / "powercap")
    tree.zone("intel-rapl:0", "package-0")
    monkeypatch.setenv("IPW_POWERCAP", str(tree.root))
    with tree.drawing({"intel-rapl:0": 50.0}):
        sensors = find("auto")
    sys.modules.pop("lab", None)
    channels = [channel for sensor in sensors for channel in sensor.channels]
    close(sensors)
    assert choose_basis(channels).channels == {"rapl/package-0"}
    assert [(loss.channel, loss.level) for loss in losses(channels)] == [("lab", "warning")]


def test_a_run_goes_on_without_it_and_says_so(tmp_path: Path) -> None:
    install(tmp_path, BROKEN["opening ends the program"])
    told = measure(tmp_path)
    assert (told["basis"], told["valid"]) == ("package", True)
    assert [c["detail"] for c in told["validity"] if c["check"] == "left out"] == ["lab: SystemExit: no licence"]


@pytest.mark.parametrize("broken", ["raise OSError('gone')", "return (1, 2)"])
def test_a_read_that_breaks_costs_its_own_channel(tmp_path: Path, broken: str) -> None:
    install(tmp_path, f"{AGAIN}def read(self, index): {broken}")
    told = measure(tmp_path)
    assert told["channels"].keys() >= {"rapl/package-0"}
    assert not told["valid"], "the basis holds a channel that told nothing"


def test_one_that_cannot_be_closed_keeps_nobody(tmp_path: Path) -> None:
    install(tmp_path, f"{AGAIN}def close(self): raise RuntimeError('stuck')")
    assert measure(tmp_path)["basis"] == "gpu+package"
    done = ipw(tmp_path, "doctor")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
