"""What was found, or asked for, and is not in the total is told, and as gravely as it deserves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles import nvml as double
from doubles.machines import NOTHING
from doubles.nvml import FakeNvml
from doubles.powercap import Powercap

from ipw.profilers.base import Channel, Scope, absent
from ipw.profilers.losses import losses
from ipw.profilers.opening import STILL, ZERO

ROOT = Path(__file__).parents[3]


def counter(name: str, scope: Scope, included_in: str | None = None) -> Channel:
    return Channel(name=name, kind="counter", scope=scope, method="counter", included_in=included_in)


def lost(channel: Channel, **changes: Any) -> Channel:
    return replace(channel, **({"status": "lost", "reason": "gone"} | changes))


GPU0, GPU1 = counter("nvml/gpu0", "gpu"), counter("nvml/gpu1", "gpu")
POWER1 = replace(counter("nvml/gpu1/power", "gpu"), kind="power")
PACKAGE0, PACKAGE1 = counter("rapl/package-0", "package"), counter("rapl/package-1", "package")
DRAM0, DRAM1 = counter("rapl/dram-0", "dram"), counter("rapl/dram-1", "dram")
PERF = counter("perf/package-0", "package")
PSYS, SOC = counter("rapl/psys", "system"), counter("hwmon/vdd-in", "soc")
ESTIMATE = replace(counter("estimate/cpu", "package"), method="model_estimate")
NO_RAPL, NO_NVML = absent("rapl", "package", "absent", "no zones"), absent("nvml", "gpu", "absent", "no driver")
BROKEN_NVML = absent("nvml", "gpu", "lost", "does not start")
BATTERY = lost(counter("battery/BAT0", "system"), status="unsupported")

CASES: dict[str, tuple[list[Channel], str, dict[str, str]]] = {
    "all is well": ([GPU0, GPU1, PACKAGE0, DRAM0], "auto", {}),
    "what is not there is not lost": ([GPU0, NO_RAPL], "auto", {}),
    "a dead GPU of two": ([GPU0, lost(GPU1), PACKAGE0], "auto", {"nvml/gpu1": "warning"}),
    "a dead GPU that was named": ([GPU0, lost(GPU1, asked=True)], "auto", {"nvml/gpu1": "error"}),
    "a GPU of two that stands still": ([GPU0, lost(GPU1, reason=STILL)], "auto", {"nvml/gpu1": "error"}),
    "a GPU of two that answers 0 W": ([GPU0, lost(GPU1), lost(POWER1, reason=ZERO)], "auto", {POWER1.name: "error"}),
    "the only GPU, and it stands still": ([PACKAGE0, lost(GPU0, reason=STILL)], "auto", {"nvml/gpu0": "warning"}),
    "a GPU's counter, not its power": ([GPU0, lost(GPU1), POWER1], "auto", {}),
    "a driver that does not start": ([BROKEN_NVML, PACKAGE0], "auto", {"nvml": "warning"}),
    "a socket of two": ([PACKAGE0, lost(PACKAGE1)], "auto", {"rapl/package-1": "error"}),
    "memory of one socket": ([PACKAGE0, DRAM0, PACKAGE1, lost(DRAM1)], "auto", {"rapl/dram-1": "error"}),
    "all memory": ([PACKAGE0, lost(DRAM0)], "auto", {"rapl/dram-0": "warning"}),
    "packages, but not memory": ([lost(PACKAGE0), DRAM0], "auto", {"rapl/package-0": "error"}),
    "all of the CPU": ([GPU0, lost(PACKAGE0), lost(DRAM0)], "auto", {PACKAGE0.name: "warning", DRAM0.name: "warning"}),
    "a second way is open": ([lost(PACKAGE0), PERF], "auto", {}),
    "an estimate is no second way": ([lost(PACKAGE0), ESTIMATE], "auto", {"rapl/package-0": "warning"}),
    "a part that is never added": ([PACKAGE0, lost(counter("rapl/core-0", "core"))], "auto", {}),
    "the platform beside packages": ([PACKAGE0, lost(PSYS)], "auto", {}),
    "the platform alone": ([lost(PSYS), ESTIMATE], "auto", {"rapl/psys": "warning"}),
    "a GPU within its SoC that was named": ([lost(GPU0, asked=True), SOC], "auto", {"nvml/gpu0": "info"}),
    "a GPU within its SoC": ([lost(GPU0, status="unsupported"), SOC], "auto", {"nvml/gpu0": "info"}),
    "a rail of several": ([counter("hwmon/a", "soc"), lost(counter("hwmon/b", "soc"))], "auto", {"hwmon/b": "error"}),
    "a battery that is charged": ([PACKAGE0, BATTERY], "auto", {}),
    "a plug that was set up and is silent": ([PACKAGE0, absent("meter", "wall", "lost", "refused")], "auto", {"meter": "warning"}),  # noqa: E501
    "a gauge": ([GPU0, lost(replace(GPU1, kind="gauge"))], "auto", {}),
    "asked for and there": ([GPU0, PACKAGE0], "nvml,rapl", {}),
    "asked for and not there": ([NO_NVML, PACKAGE0], "nvml, rapl", {"nvml": "error"}),
    "asked for and broken": ([BROKEN_NVML, PACKAGE0], "nvml,rapl", {"nvml": "error"}),
    "asked for, a second way though": ([lost(PACKAGE0), PERF], "rapl,perf", {"rapl": "error"}),
    "asked for, only gauges": ([PACKAGE0, replace(counter("lab/heat", "gpu"), kind="gauge")], "rapl,lab", {}),
    "asked for and integrated": ([lost(GPU0, status="unsupported"), SOC], "nvml,hwmon", {"nvml": "error"}),
}  # fmt: skip


@pytest.mark.parametrize(("channels", "selection", "expected"), CASES.values(), ids=CASES)
def test_a_loss_is_told_as_gravely_as_it_deserves(
    channels: list[Channel], selection: str, expected: dict[str, str]
) -> None:
    found = {loss.channel: loss.level for loss in losses(channels, selection)}
    assert {name: found.get(name) for name in expected} == expected
    assert found.keys() == expected.keys()


def measure(folder: Path, sensors: str, **environment: str) -> dict[str, Any]:
    code = "from ipw.cli import main; raise SystemExit(main())"
    words = ["measure", "--sensors", sensors, "--idle", "0", "--json", "--out", str(folder / "runs"), "--"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *words, "sleep", "0.2"],
        env=os.environ | NOTHING | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    answer["left out"] = {c["level"]: c["detail"] for c in answer["validity"] if c["check"] == "left out"}
    return answer


def test_a_run_on_a_machine_with_a_dead_gpu_of_eight_is_valid_and_says_so(tmp_path: Path) -> None:
    fake = FakeNvml.create(tmp_path / "nvml", 8)
    fake.fail(1, double.HANDLE, double.GPU_IS_LOST)
    told = measure(tmp_path, "auto", **fake.environment())
    assert (told["basis"], told["valid"]) == ("gpu", True)
    assert told["left out"] == {"warning": "nvml/gpu1: NVML: GPU is lost"}
    assert {name for name in told["channels"] if name.count("/") == 1} == {f"nvml/gpu{i}" for i in (0, *range(2, 8))}
    named = measure(tmp_path, "auto", CUDA_VISIBLE_DEVICES="0,1", **fake.environment())
    assert not named["valid"]
    assert named["left out"] == {"error": "nvml/gpu1: NVML: GPU is lost"}


def test_a_sensor_that_was_asked_for_and_is_gone_is_never_replaced_in_silence(tmp_path: Path) -> None:
    tree = Powercap(tmp_path / "powercap")
    tree.zone("intel-rapl:0", "package-0")
    fake = FakeNvml.create(tmp_path / "nvml")
    fake.fail_init(double.VERSION_MISMATCH)
    with tree.drawing({"intel-rapl:0": 50.0}):
        told = measure(tmp_path, "nvml,rapl", IPW_POWERCAP=str(tree.root), **fake.environment())
        found = measure(tmp_path, "auto", IPW_POWERCAP=str(tree.root), **fake.environment())
    assert (told["basis"], told["valid"]) == ("package", False)
    assert "nvml: it was asked for and measures nothing: NVML does not start" in told["left out"]["error"]
    assert (found["basis"], found["valid"]) == ("package", True)
    assert "nvml: NVML does not start" in found["left out"]["warning"]


def test_a_tree_of_zeros_is_told_beside_the_estimate_that_takes_its_place(tmp_path: Path) -> None:
    Powercap.server(tmp_path / "powercap")
    told = measure(tmp_path, "auto", IPW_POWERCAP=str(tmp_path / "powercap"))
    assert told["basis"] == "estimate"
    assert "rapl/package-0: its energy counter stands still" in told["left out"]["warning"]


def test_a_frozen_socket_of_two_makes_a_run_not_valid(tmp_path: Path) -> None:
    tree = Powercap(tmp_path / "powercap")
    for package in (0, 1):
        tree.zone(f"intel-rapl:{package}", f"package-{package}", energy_uj=123_456)
    with tree.drawing({"intel-rapl:0": 50.0}):
        told = measure(tmp_path, "auto", IPW_POWERCAP=str(tree.root))
    assert (told["basis"], told["valid"]) == ("package", False)
    assert told["left out"] == {"error": "rapl/package-1: its energy counter stands still"}


def test_an_integrated_gpu_leaves_the_way_to_the_boards_rails_and_is_told(tmp_path: Path) -> None:
    fake = FakeNvml.create(tmp_path / "nvml", name="Orin (nvgpu)")
    for call in (double.PCI, double.UUID, double.ANY, double.LIMITS):
        fake.fail(0, call, double.NOT_SUPPORTED)
    rails = tmp_path / "hwmon/hwmon0"
    rails.mkdir(parents=True)
    files = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "3000"}
    for file, content in files.items():
        (rails / file).write_text(f"{content}\n")
    told = measure(tmp_path, "auto", IPW_HWMON=str(rails.parent), **fake.environment())
    assert (told["basis"], told["valid"], told["left out"]) == ("soc", True, {})
    manifest = json.loads((Path(told["run"]) / "manifest.json").read_text())
    assert {each["channel"]: each["level"] for each in manifest["left_out"]} == {"nvml/gpu0": "info"}


def test_the_doctor_and_a_language_model_end_well_with_a_driver_of_2020_and_odd_gpus(tmp_path: Path) -> None:
    """Takes seconds: it is the whole of a run, with its model and its page."""
    fake = FakeNvml.create(tmp_path / "nvml", 8, driver="DRIVER_2020")
    fake.fail(1, double.HANDLE, double.GPU_IS_LOST)
    fake.gpu(2).name = b"\xff\xfeGPU"
    fake.fail(3, double.PCI, double.NOT_SUPPORTED)
    fake.fail(4, double.UUID, 999)
    fake.fail(5, double.PROCESSES, double.NO_PERMISSION)
    fake.gpu(6).no_limit = 1
    environment = os.environ | NOTHING | {"PYTHONPATH": str(ROOT)} | fake.environment()
    code = "from ipw.cli import main; raise SystemExit(main())"
    told = []
    lm = "run lm --model dense --limit 4 --warmup 1 --idle 0 --sensors auto --json --out"
    for words in (["doctor", "--json"], [*lm.split(), str(tmp_path)]):
        command = [sys.executable, "-P", "-c", code, *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        told.append(json.loads(done.stdout))
    doctor, run = told
    lost = [{"channel": "nvml/gpu1", "level": "warning"}]
    assert doctor["basis"] == "gpu"
    assert [{key: each[key] for key in ("channel", "level")} for each in doctor["left_out"]] == lost
    assert any(c["check"] == "left out" and "GPU is lost" in c["detail"] for c in run["validity"])
