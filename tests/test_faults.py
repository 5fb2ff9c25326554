"""What goes wrong with sensors in the middle of a run: the data is kept, the reason told, and no joule is made up."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from doubles import nvml as double
from doubles import powermetrics
from doubles.machines import NOTHING
from doubles.nvml import FakeNvml
from doubles.patience import undisturbed, wait_for
from doubles.powercap import Powercap

import ipw
from ipw.errors import IpwError
from ipw.metering.meter import Meter
from ipw.pipeline import derive
from ipw.runs.directory import RunDir
from ipw.runs.readings import RECORD

WATTS = 200.0
ROUGHLY = 0.1
"""A busy machine may miss ticks, and a run here lasts a second: these tests are of faults, others of accuracy."""
UNSET = ("IPW_FAKE_NVML", "IPW_METER_URL", "IPW_REPLAY", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


class Outcome(NamedTuple):
    """A run after it has ended."""

    run: RunDir
    summary: dict[str, Any]

    @property
    def energy(self) -> dict[str, Any]:
        energy: dict[str, Any] = self.summary["metrics"]["energy_j"]
        return energy

    def told(self, check: str) -> str:
        """What a failed check says; empty where it passed."""
        return "; ".join(c["detail"] for c in self.summary["validity"] if c["check"] == check and not c["ok"])

    @property
    def complaints(self) -> set[str]:
        return {c["check"] for c in self.summary["validity"] if not c["ok"]}

    def good_ns(self) -> list[int]:
        """When something was read in the window."""
        (start, end), readings = self.window(), self.run.readings()
        good = readings[(readings["status"] == 0) & (readings["t_ns"] > start) & (readings["t_ns"] < end)]
        return [int(t_ns) for t_ns in good["t_ns"]]

    def window(self) -> tuple[int, int]:
        (span,) = (span for span in self.run.journal("span") if span["phase"] == "measure")
        return span["start_ns"], span["end_ns"]


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in UNSET:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in NOTHING.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml.create(tmp_path / "nvml")
    fake.gpu(0).counter_period_ns = fake.gpu(0).power_period_ns = 20_000_000
    fake.set_power(0, WATTS)
    be_in(monkeypatch, fake.environment())
    return fake


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Powercap:
    made = Powercap(tmp_path / "powercap")
    monkeypatch.setenv("IPW_POWERCAP", str(made.root))
    return made


def be_in(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)


def measured(
    folder: Path, sensors: str, seconds: float = 0.6, fault: Callable[[], object] | None = None, after_s: float = 0.3
) -> Outcome:
    """Measure a sleep into which a fault falls, after so many seconds or when something was read and written."""
    with ipw.measure("faulty", sensors=sensors, out=folder / "runs") as m:
        begun_ns = time.monotonic_ns()
        time.sleep(after_s)
        if fault is not None:
            wait_for(lambda: good_since(begun_ns, m.path / "power.bin") > 8)
            fault()
        time.sleep(seconds - after_s)
    assert m.summary is not None
    assert RunDir(m.path).summary() == m.summary
    return Outcome(RunDir(m.path), m.summary)


def good_since(t_ns: int, path: Path) -> int:
    """How many readings since then are on disk."""
    data = path.read_bytes()
    whole = RECORD.iter_unpack(data[: len(data) - len(data) % RECORD.size])
    return sum(at > t_ns and status == 0 for at, _, _, status, _ in whole)


def sampler_process() -> psutil.Process:
    (child,) = (c for c in psutil.Process().children() if "ipw.profilers.sampler.process" in c.cmdline())
    return child


def assert_kept_but_partial(outcome: Outcome) -> None:
    """Readings of the time before the fault are there, and are not called the energy of the whole."""
    assert len(outcome.good_ns()) > 3
    assert outcome.run.manifest()["status"] == "complete"
    assert not outcome.summary["valid"]
    assert outcome.energy["value"] is None
    assert outcome.energy["reason"].startswith("readings cover only ")
    assert outcome.energy["high"] is None
    assert outcome.summary["metrics"]["net_energy_j"]["value"] is None


# --- NVIDIA GPUs -----------------------------------------------------------------------------------------------------


def test_a_gpu_lost_midway_leaves_what_was_seen_and_the_reason(gpu: FakeNvml, tmp_path: Path) -> None:
    lost_ns: list[int] = []

    def lose() -> None:
        lost_ns.append(time.monotonic_ns())
        gpu.fail(0, double.ANY, double.GPU_IS_LOST)
        lost_ns.append(time.monotonic_ns())

    outcome = measured(tmp_path, "nvml", fault=lose)
    assert_kept_but_partial(outcome)
    assert outcome.told("sensor failures") == "nvml/gpu0: NVML: GPU is lost"
    assert outcome.told("coverage")
    start_ns, _ = outcome.window()
    last_ns = max(read_ns for read_ns in outcome.good_ns() if read_ns < lost_ns[1])
    assert (
        0.5 * gpu.energy_j(0, start_ns, last_ns) < outcome.energy["low"] < 1.1 * gpu.energy_j(0, start_ns, lost_ns[1])
    )
    power = outcome.summary["metrics"]["mean_power_w"]
    assert power["value"] == pytest.approx(WATTS, rel=ROUGHLY)  # of the part that was seen


def test_a_counter_that_is_reset_loses_that_interval_and_nothing_is_made_up_for_it(
    gpu: FakeNvml, tmp_path: Path
) -> None:
    def reset() -> None:
        gpu.gpu(0).reset_ns = time.monotonic_ns()

    def told() -> None:
        outcome = measured(tmp_path, "nvml", fault=reset)
        assert re.search(r"nvml/gpu0: reset at \d+\.\d s", outcome.told("losses"))
        assert_kept_but_partial(outcome)
        truth = gpu.energy_j(0, *outcome.window())
        assert 0.7 * truth < outcome.energy["low"] < truth
        assert outcome.summary["metrics"]["mean_power_w"]["value"] == pytest.approx(WATTS, rel=ROUGHLY)

    undisturbed(told)


def test_without_an_energy_counter_power_is_integrated_and_called_so(gpu: FakeNvml, tmp_path: Path) -> None:
    gpu.fail(0, double.ENERGY, double.NOT_SUPPORTED)

    def told() -> None:
        outcome = measured(tmp_path, "nvml")
        assert (outcome.summary["basis"], outcome.summary["method"]) == ("gpu", "integrated_power")
        assert outcome.energy["value"] == pytest.approx(gpu.energy_j(0, *outcome.window()), rel=ROUGHLY)
        counter = next(c for c in outcome.run.manifest()["sensors"] if c["name"] == "nvml/gpu0")
        assert (counter["status"], counter["reason"]) == ("unsupported", "NVML: Not Supported")
        assert outcome.summary["valid"]

    undisturbed(told)


def test_without_power_readings_the_counter_serves_alone(gpu: FakeNvml, tmp_path: Path) -> None:
    for call in (double.POWER_USAGE, double.POWER_INSTANT, double.POWER_AVERAGE):
        gpu.fail(0, call, double.NOT_SUPPORTED)

    def told() -> None:
        outcome = measured(tmp_path, "nvml")
        assert outcome.summary["method"] == "counter"
        assert outcome.energy["value"] == pytest.approx(gpu.energy_j(0, *outcome.window()), rel=ROUGHLY)
        assert outcome.summary["valid"]

    undisturbed(told)


def test_a_gpu_that_tells_nothing_gives_no_joules_and_says_why(gpu: FakeNvml, tmp_path: Path) -> None:
    gpu.fail(0, double.ANY, double.NOT_READY)
    outcome = measured(tmp_path, "nvml")
    assert outcome.energy["value"] is None
    assert "not in ready state" in outcome.energy["reason"]
    assert not outcome.summary["valid"]


def test_calls_of_2_ms_cost_certainty_and_not_truth(gpu: FakeNvml, tmp_path: Path) -> None:
    gpu.gpu(0).counter_period_ns, gpu.gpu(0).latency_ns = 100_000_000, 2_000_000

    def told() -> None:
        outcome = measured(tmp_path, "nvml", 1.0)
        truth = gpu.energy_j(0, *outcome.window())
        assert outcome.energy["low"] <= truth <= outcome.energy["high"]
        assert outcome.energy["value"] == pytest.approx(truth, rel=ROUGHLY)
        assert outcome.summary["valid"]

    undisturbed(told)


def test_a_counter_that_stands_still_is_not_believed_and_the_power_beside_it_is(gpu: FakeNvml, tmp_path: Path) -> None:
    gpu.gpu(0).counter_period_ns = double.FOREVER

    def told() -> None:
        outcome = measured(tmp_path, "nvml")
        assert (outcome.summary["basis"], outcome.summary["method"]) == ("gpu", "integrated_power")
        assert outcome.energy["value"] == pytest.approx(gpu.energy_j(0, *outcome.window()), rel=ROUGHLY)
        assert "nvml/gpu0: its energy counter stands still" in outcome.told("left out")
        assert outcome.summary["valid"]

    undisturbed(told)


def test_a_counter_that_disagrees_with_the_power_beside_it_is_told(gpu: FakeNvml, tmp_path: Path) -> None:
    gpu.gpu(0).gpu_share = 0.7  # of the power readings only

    def told() -> None:
        outcome = measured(tmp_path, "nvml", 1.0)
        name, _, differs = outcome.told("counter against power").partition(": ")
        assert name == "nvml/gpu0/power"
        assert float(differs.removesuffix(" %")) == pytest.approx(-30, abs=10)
        assert outcome.summary["valid"]

    undisturbed(told)


def test_a_gpu_held_back_by_heat_is_not_fit_to_compare(gpu: FakeNvml, tmp_path: Path) -> None:
    def heat() -> None:
        gpu.gpu(0).thermal_slowdown_ns = 400_000_000

    outcome = measured(tmp_path, "nvml", fault=heat)
    assert outcome.told("throttling") == "nvml/gpu0/thermal_slowdown: 0.4 s"
    assert not outcome.summary["valid"]


def test_other_processes_on_the_gpu_are_told_and_stay_in_the_manifest(gpu: FakeNvml, tmp_path: Path) -> None:
    gpu.preload()
    gpu.gpu(0).pids[0], gpu.gpu(0).pids[1] = os.getpid(), 1
    outcome = measured(tmp_path, "nvml")
    assert outcome.told("other processes").startswith("pid 1 (")
    for moment in ("start", "end"):
        assert [n["pid"] for n in outcome.run.manifest()["neighbours"][moment]] == [1]
    assert outcome.summary["valid"]


def test_a_measured_server_that_was_up_before_is_no_other_process(gpu: FakeNvml, tmp_path: Path) -> None:
    gpu.preload()
    orphan = ["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"]  # of nobody here, as a server in another terminal is
    server = int(subprocess.run(orphan, capture_output=True, check=True).stdout)
    gpu.gpu(0).pids[0], gpu.gpu(0).pids[1] = server, 1
    found = []
    try:
        for own in ([], [server]):
            with Meter(RunDir.create(tmp_path, "served"), {"workload": {}}, "nvml", own=own) as meter:
                found.append([each["pid"] for each in meter.run.manifest()["neighbours"]["start"]])
    finally:
        os.kill(server, signal.SIGKILL)
    assert found == [[server, 1], [1]]


# --- the library -----------------------------------------------------------------------------------------------------


def test_without_the_nvml_library_there_is_a_reason_and_no_joule(tmp_path: Path) -> None:
    outcome = measured(tmp_path, "nvml", 0.1, after_s=0)
    assert outcome.energy["value"] is None
    assert "libnvidia-ml.so.1 is not found" in outcome.energy["reason"]
    assert "libnvidia-ml.so.1 is not found" in outcome.told("sensors")
    assert not outcome.summary["valid"]


def test_an_nvml_too_old_for_the_counter_gives_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml.create(tmp_path / "nvml", driver="OLD_DRIVER")
    fake.gpu(0).power_period_ns = 20_000_000
    fake.set_power(0, WATTS, time.monotonic_ns() - 2_000_000_000)
    be_in(monkeypatch, fake.environment())

    def told() -> None:
        outcome = measured(tmp_path, "nvml")
        assert outcome.summary["method"] == "integrated_power"
        assert outcome.energy["value"] == pytest.approx(fake.energy_j(0, *outcome.window()), rel=ROUGHLY)
        assert "averaged" in next(c["note"] for c in outcome.run.manifest()["sensors"] if c["in_total"])

    undisturbed(told)


def test_a_package_that_hides_nvidias_is_named_with_the_way_out(
    gpu: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/pynvml.py").write_text("def nvmlInit():\n    pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    outcome = measured(tmp_path, "nvml", 0.1, after_s=0)
    assert "third-party package pynvml hides NVIDIA's own" in outcome.energy["reason"]
    assert "pip uninstall" in outcome.run.manifest()["sensors"][0]["hint"]
    assert not outcome.summary["valid"]


# --- RAPL ------------------------------------------------------------------------------------------------------------


def test_an_energy_file_that_stops_being_readable_is_lost_with_the_reason(tree: Powercap, tmp_path: Path) -> None:
    zone = tree.zone("intel-rapl:0", "package-0")
    ended = partial(os.truncate, zone / "energy_uj", 0)
    with tree.drawing({}):
        outcome = _drawing_until(tree, ended, tmp_path)
    assert_kept_but_partial(outcome)
    assert outcome.told("sensor failures") == "rapl/package-0: energy_uj holds no number"


def _drawing_until(tree: Powercap, ended: Callable[[], object], folder: Path) -> Outcome:
    """Let the package draw 100 W up to the fault, and nothing write to it afterwards."""
    drawing = tree.drawing({"intel-rapl:0": 100.0})
    drawing.__enter__()

    def fault() -> None:
        drawing.__exit__(None, None, None)
        ended()

    return measured(folder, "rapl", 0.8, fault, after_s=0.5)


def test_a_package_that_wraps_twice_in_a_run_is_exact(tree: Powercap, tmp_path: Path) -> None:
    tree.zone("intel-rapl:0", "package-0", range_uj=50_000_000, limit_uw=100_000_000)

    def told() -> None:
        with tree.drawing({"intel-rapl:0": 100.0}):
            outcome = measured(tmp_path, "rapl", 1.2)
        values = outcome.run.readings()["value"]
        assert (values[1:] < values[:-1]).sum() >= 2
        seconds = outcome.summary["metrics"]["duration_s"]["value"]
        assert outcome.energy["value"] == pytest.approx(100.0 * seconds, rel=ROUGHLY)
        assert outcome.summary["valid"]

    undisturbed(told)


def test_a_wrap_of_an_unreadable_range_is_a_loss_and_never_negative(tree: Powercap, tmp_path: Path) -> None:
    zone = tree.zone("intel-rapl:0", "package-0", range_uj=60_000_000, limit_uw=100_000_000)
    (zone / "max_energy_range_uj").write_text("")
    with tree.drawing({"intel-rapl:0": 100.0}):
        outcome = measured(tmp_path, "rapl", 1.0)
    seconds = outcome.summary["metrics"]["duration_s"]["value"]
    assert_kept_but_partial(outcome)
    assert "rapl/package-0: reset" in outcome.told("losses")
    assert 0 < outcome.energy["low"] < 100.0 * seconds
    assert "range cannot be read" in outcome.run.manifest()["sensors"][0]["note"]


# --- powermetrics ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"dies_after": 1}, "powermetrics has ended"),
        ({"truncates_after": 1}, "powermetrics has ended"),
        ({"garbles_after": 1, "garbles": 10**6}, "powermetrics writes a sample that cannot be read"),
    ],
    ids=["killed", "truncated", "garbled"],
)
def test_a_powermetrics_that_fails_midway_leaves_what_it_said(
    behaviour: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = powermetrics.install(tmp_path / "bin", interval_s=0.05)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def fail() -> None:
        (programs / "new.json").write_text(json.dumps(behaviour))
        (programs / "new.json").replace(programs / "behaviour.json")

    outcome = measured(tmp_path, "powermetrics", 1.2, fail)
    assert_kept_but_partial(outcome)
    assert outcome.told("sensor failures").startswith(f"powermetrics/soc: {reason}")


def test_without_powermetrics_there_is_a_reason_and_no_joule(tmp_path: Path) -> None:
    outcome = measured(tmp_path, "powermetrics", 0.1, after_s=0)
    assert outcome.energy["value"] is None
    assert "no program powermetrics" in outcome.energy["reason"]


# --- the sampler, the clock, the disk --------------------------------------------------------------------------------


def test_a_killed_sampler_makes_the_run_invalid_for_what_it_did_not_see(gpu: FakeNvml, tmp_path: Path) -> None:
    outcome = measured(tmp_path, "nvml", 1.6, lambda: sampler_process().send_signal(signal.SIGKILL))
    assert_kept_but_partial(outcome)
    assert outcome.told("sampler") == "it was killed by SIGKILL"


def test_a_wall_clock_that_steps_changes_no_joule_and_is_told(gpu: FakeNvml, tmp_path: Path) -> None:
    outcome = measured(tmp_path, "nvml")
    (start, wall), (end, later) = outcome.run.manifest()["anchors"]
    outcome.run.update_manifest(anchors=[[start, wall], [end, later - 3600 * 10**9]])
    again = Outcome(outcome.run, derive(outcome.run))
    assert again.told("wall clock") == "stepped by -3600.000 s during the run"
    assert again.energy == outcome.energy


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit another process")
def test_a_disk_that_fills_up_under_the_sampler_keeps_what_was_written(gpu: FakeNvml, tmp_path: Path) -> None:
    def fill() -> None:
        (path,) = tmp_path.glob("runs/*/power.bin")
        limit = path.stat().st_size + 10
        resource.prlimit(sampler_process().pid, resource.RLIMIT_FSIZE, (limit, limit))

    outcome = measured(tmp_path, "nvml", 2.0, fill)
    assert_kept_but_partial(outcome)
    assert "cannot write" in outcome.told("sampler")
    assert "File too large" in outcome.told("sampler")


def test_a_full_disk_ends_a_run_with_one_line_and_a_later_report_finds_what_fitted(
    gpu: FakeNvml, tmp_path: Path
) -> None:
    limit = 20_000  # the page is larger, all else is smaller

    def ipw_(*arguments: str, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ipw.cli", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
            preexec_fn=before,
        )

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = ipw_("measure", "--sensors", "nvml", "--idle", "0", "--", "sleep", "0.6", before=fill)
    assert done.returncode == 5
    assert len(done.stderr.strip().splitlines()) == 2
    assert "report.html: File too large" in done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert not [path for path in run.iterdir() if path.suffix == ".part"]
    summary = json.loads(ipw_("report", "--recompute", "--json", str(run)).stdout)
    metrics = summary["metrics"]
    truth_j = metrics["duration_s"]["value"] * WATTS
    assert metrics["energy_j"]["low"] * (1 - ROUGHLY) <= truth_j <= metrics["energy_j"]["high"] * (1 + ROUGHLY)


def test_a_table_that_does_not_fit_on_the_disk_is_told_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    import pyarrow as pa

    run = RunDir.create(tmp_path, "full")
    numbers = pa.table({"x": list(range(100_000))})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(IpwError, match=r"cannot write .*numbers\.parquet: File too large"):
            run.write_table("numbers", numbers)
        with pytest.raises(IpwError, match=r"cannot write .*numbers\.parquet: File too large"):
            run.write_parts("numbers", [numbers, numbers])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(run.path.iterdir()) == []
