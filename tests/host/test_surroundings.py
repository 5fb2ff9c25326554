"""Measuring goes on whatever people's programs do around it: folders of any name, threads, frozen time, `chdir`."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles.machines import one_package
from doubles.patience import undisturbed

import ipw
from ipw.errors import IpwError, UsageError

WATTS = 120.0


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with one_package(tmp_path / "machine", 100.0, 20.0):
        yield


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    "name",
    ["run-12:30:05", "~", "-x", "s3:bucket", "file:x", "two words\nand a line", os.fsdecode(b"caf\xe9"), "%41{x}*?"],
)
def test_a_folder_of_any_name_holds_a_whole_run(name: str, tmp_path: Path) -> None:

    def measured() -> ipw.Measurement:
        with ipw.measure("work", sensors="rapl", out=name) as block:
            time.sleep(0.3)
        assert block.energy_j == pytest.approx((block.duration_s or 0) * WATTS, rel=0.3)
        return block

    block = undisturbed(measured)
    assert block.path.parent == tmp_path / name
    assert (block.path / "report.html").is_file()
    command = [sys.executable, "-m", "ipw.cli", "report", "--recompute", "--json", "--"]
    shown = subprocess.run([*command, block.path.relative_to(tmp_path)], capture_output=True, check=False)
    assert shown.returncode == 0, shown.stderr


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "gone" / "x")
    with pytest.raises(IpwError, match="dangling is a link to "), ipw.measure(out="dangling"):
        pass


def test_a_block_may_change_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()

    def measured() -> ipw.Measurement:
        os.chdir(tmp_path)
        with ipw.measure("work", sensors="rapl") as block:
            os.chdir("elsewhere")
            time.sleep(0.2)
        assert block.energy_j is not None
        return block

    block = undisturbed(measured)
    assert block.path.parent == tmp_path / "runs"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_working_directory_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    os.chdir("gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="current folder does not exist"), ipw.measure("work", sensors="rapl"):
        pass


@pytest.mark.parametrize("late", [False, True])
def test_a_thread_that_outlives_the_main_thread_is_measured(late: bool) -> None:
    program = f"""
        import threading, time, ipw
        def work():
            time.sleep(0.3 * {late})
            with ipw.measure("background", sensors="rapl") as block:
                time.sleep(0.5)
            print(block.energy_j, block.duration_s, block.summary["basis"])
        threading.Thread(target=work).start()
    """

    def told() -> None:
        result = python(program)
        assert result.stderr == ""
        joules, seconds, basis = result.stdout.split()
        assert basis == "package+dram"
        assert joules != "None"
        assert float(joules) == pytest.approx(float(seconds) * WATTS, rel=0.3)

    undisturbed(told)


@pytest.mark.parametrize("first", ["ipw", "freezegun"])
def test_a_test_that_freezes_time_does_not_freeze_the_measurement(first: str) -> None:
    program = f"""
        import {first}
        import time, freezegun
        with freezegun.freeze_time("2020-01-01"):
            import ipw
            with ipw.measure("frozen", sensors="rapl") as block:
                time.sleep(0.5)
            print(block.duration_s, block.energy_j, block.path.name)
    """

    def told() -> None:
        result = python(program)
        assert result.returncode == 0, result.stderr
        duration_s, joules, name = result.stdout.split()
        assert not name.startswith("2020")
        assert 0.4 < float(duration_s) < 60
        assert joules != "None"
        assert float(joules) == pytest.approx(float(duration_s) * WATTS, rel=0.2)

    undisturbed(told)


def test_ending_a_block_that_was_not_begun_or_twice_is_an_error_of_its_own() -> None:
    with ipw.Meter("tests", sensors="rapl") as meter:
        never = meter.measure("never")
        with pytest.raises(UsageError, match="'never' was not begun"):
            never.end()
        twice = meter.measure("twice").begin()
        with pytest.raises(UsageError, match="'twice' has begun already"):
            twice.begin()
        twice.end()
        with pytest.raises(UsageError, match="'twice' has ended already"):
            twice.end()
    assert list(ipw.load_run(meter.path).spans["name"]) == ["twice", "tests"]
    assert meter.summary is not None
    assert meter.summary["metrics"]["duration_s"]["value"] < 60


def test_what_was_written_without_any_idle_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPW_PROC", raising=False)  # the load of this machine is seen, and none while idle
    with ipw.measure("work", sensors="rapl") as block:
        time.sleep(2.5)
    written = ipw.load_run(block.path).summary
    assert written["other_load"] is not None
    assert written["other_load"]["idle"] is None


def test_a_block_can_be_used_again_and_is_kept_each_time() -> None:
    with ipw.Meter("tests", sensors="rapl") as meter:
        again = meter.measure("again")
        for _ in range(2):
            with again:
                time.sleep(0.1)
    assert list(ipw.load_run(meter.path).spans["name"]) == ["again", "again", "tests"]
