"""Load by others, from /proc to the verdict on the joules: a run of its own, which takes three seconds of load."""

from __future__ import annotations

import os
import re
from itertools import count
from pathlib import Path

import pytest
from doubles.machines import one_package
from doubles.patience import undisturbed
from doubles.proc import Proc

from ipw.metering.meter import Meter
from ipw.pipeline import finish
from ipw.runs.directory import RunDir
from ipw.workloads.command import measure_command


def test_a_busy_neighbour_is_told_with_what_it_used_and_the_run_is_not_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc, machines, number = Proc(tmp_path / "proc"), tmp_path / "machines", count()

    def told() -> None:
        with one_package(machines / str(next(number)), watts=30.0), proc.busy(others=4.0, own={os.getpid(): 0.5}):
            monkeypatch.setenv("IPW_PROC", str(proc.root))
            run, _ = measure_command(["sleep", "1.2"], "rapl", 1.1, tmp_path, quiet=True)
        summary = finish(run)
        (check,) = [each for each in summary["validity"] if each["check"] == "other load"]
        cpus = run.manifest()["host"]["threads"]
        form = rf"others used ([\d.]+) of {cpus} CPUs while idle and ([\d.]+) in the window"
        said = re.search(form, check["detail"])
        assert said is not None
        assert [float(each) for each in said.groups()] == pytest.approx([4.0, 4.0], rel=0.15)
        assert "% of these joules are theirs, at most" in check["detail"]
        assert check["level"] == "error"
        assert not summary["valid"]
        assert summary["other_load"]["own"] == pytest.approx(0.5, abs=0.1)
        idle = summary["metrics"]["idle_power_w"]
        assert idle["low"] < 0.5 * idle["value"]

    undisturbed(told)


def test_a_run_that_began_without_its_load_is_gone_on_with_and_the_other_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = Proc(tmp_path / "proc")
    for first, second in ((str(proc.root), "/nonexistent"), ("/nonexistent", str(proc.root))):
        monkeypatch.setenv("IPW_PROC", first)
        with Meter(RunDir.create(tmp_path, "parts"), {"workload": {}}, "estimate") as meter:
            run = meter.run
        monkeypatch.setenv("IPW_PROC", second)
        with Meter(run, run.manifest(), "estimate") as meter:
            names = [channel["name"] for channel in meter.channels if "index" in channel]
        assert names[0] == "estimate/cpu"
        assert len(names) == (3 if second == str(proc.root) else 1)
