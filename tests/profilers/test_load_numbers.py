"""The numbers behind loads of CPUs: which columns of /proc count, how many processes and files, what a guess adds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from doubles.clock import Clock
from doubles.proc import Proc
from doubles.reading import failure, named, opened, value

from ipw.profilers import estimate, host_load
from ipw.profilers.discovery import find
from ipw.profilers.host_load import Files, host_cpu_s, newest_process, open_load, processes_cpu_s, tree

TICKS = os.sysconf("SC_CLK_TCK")
POWERS = [2**k for k in range(50)]


def files_open() -> set[str]:
    return {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}


def test_of_the_hosts_columns_user_nice_system_irq_and_softirq_are_work(tmp_path: Path) -> None:
    user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice = POWERS[:10]
    line = " ".join(map(str, (user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice)))
    (tmp_path / "stat").write_text(f"cpu  {line}\ncpu0 9 9 9 9 9 9 9 9 9 9\n")
    assert host_cpu_s(str(tmp_path), Files()) == (user + nice + system + irq + softirq) / TICKS


def test_of_a_processes_columns_its_own_time_and_that_of_whom_it_waited_for_are_work(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text(f"7 (a) 1 2) {' '.join(['S', *map(str, POWERS[1:49])])}\n")
    fields = POWERS[11:15]  # utime, stime, cutime, cstime: the 12th to the 15th behind the name, state first
    assert processes_cpu_s(str(tmp_path), [7, 8], Files()) == sum(fields) / TICKS


@pytest.mark.parametrize(
    ("text", "newest"),
    [
        ("0.5 0.4 0.3 2/345 777\n", b"777"),
        ("0.5 0.4 0.3 2/345 1\n", b"1"),
        ("0.5 0.4 0.3 2/345 0\n", None),
        ("x", None),
    ],
)
def test_the_newest_process_is_the_fifth_word(tmp_path: Path, text: str, newest: bytes | None) -> None:
    (tmp_path / "loadavg").write_text(text)
    assert newest_process(str(tmp_path), Files()) == newest


def test_a_family_is_followed_to_4096_processes(tmp_path: Path) -> None:
    proc = Proc(tmp_path / "proc")
    for count, found in ((4095, 4096), (4096, 4096), (6000, 4096)):
        proc.process(10, main=list(range(1_000_000, 1_000_000 + count)))
        assert len(list(tree(str(proc.root), [10]))) == found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_sixty_four_files_are_kept_open_and_none_of_a_process_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_load, "SHARED_NS", -1)
    proc = Proc(tmp_path / "proc")
    proc.process(10, main=list(range(20, 100)))
    for pid in range(20, 100):
        proc.process(pid, own_s=1.0)
    proc.newest(99)
    monkeypatch.setenv("IPW_PROC", str(proc.root))
    sensor = open_load([10, 10])
    assert sensor

    def ours() -> set[str]:
        return {Path(path).parent.name for path in files_open() if path.startswith(str(proc.root))}

    with opened(sensor):
        assert value(sensor, "load/own") == 80.0
        assert len(ours() - {"proc"}) + 2 == 64  # beside stat and loadavg of the host
        proc.process(10, main=[20])
        proc.newest(101)
        assert value(sensor, "load/own") == 80.0  # what the others worked stays counted
        assert ours() == {"proc", "10", "20"}
    assert ours() == set()


def test_a_file_that_fails_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, files = tmp_path / "stat", Files()
    path.write_text("one")
    assert files.read(str(path)) == b"one"
    path.unlink()
    path.write_text("two")
    assert files.read(str(path)) == b"one"
    reads = os.pread

    def fails(*_: int) -> bytes:
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(ProcessLookupError):
        files.read(str(path))
    monkeypatch.setattr(os, "pread", reads)
    assert files.read(str(path)) == b"two"
    files.close()


@pytest.mark.parametrize(("takes_s", "poll_s"), [(0.0, 1.0), (0.0002, 1.0), (0.0005, 2.5), (0.0008, 4.0), (1.0, 4.0)])
def test_a_look_costs_a_five_thousandth_of_a_core_or_comes_every_four_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_s: float, poll_s: float
) -> None:
    monkeypatch.setenv("IPW_PROC", str(Proc(tmp_path / "proc").root))
    moments = iter((7.0, 7.0 + takes_s))
    monkeypatch.setattr(host_load, "process_time", lambda: next(moments))
    sensor = open_load([10])
    assert sensor
    assert [channel.poll_s for channel in sensor.channels] == pytest.approx([poll_s, poll_s])
    sensor.close()


def times(user: float, idle: float = 5.0) -> Callable[[], SimpleNamespace]:
    return lambda: SimpleNamespace(user=user, nice=1.0, system=2.0, idle=idle, irq=0.5, softirq=0.5)


def test_where_there_is_no_proc_psutil_is_asked_every_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPW_PROC")
    monkeypatch.setattr(host_load, "PROC", "/nonexistent")
    monkeypatch.setattr(psutil, "cpu_times", times(10.0))
    sensor = open_load([os.getpid()])
    assert sensor
    assert [channel.poll_s for channel in sensor.channels] == [5.0, 5.0]
    assert value(sensor, "load/host") == 14.0
    sensor.close()


def test_a_proc_that_is_named_and_is_not_there_has_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPW_PROC", "/nonexistent")
    assert open_load([os.getpid()]) is None


def test_a_guess_is_ten_watts_and_four_for_each_busy_cpu_and_never_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0)
    monkeypatch.setattr(estimate, "now_ns", clock.now_ns)
    monkeypatch.setattr(psutil, "cpu_times", times(100.0))
    monkeypatch.setattr(psutil, "cpu_count", lambda **_: 8)
    (sensor,) = find("estimate")
    channel = named(sensor, "estimate/cpu")
    assert channel.max_power_w == 2 * (10 + 8 * 4)
    assert channel.device == "8 logical CPUs"
    assert channel.note
    assert channel.note.startswith(
        "estimated from CPU load, not measured: 10 W and 4 W for each of 8 busy logical CPUs"
    )
    assert value(sensor, "estimate/cpu") == 0.0
    clock.sleep(2.0)
    monkeypatch.setattr(psutil, "cpu_times", times(103.0, idle=99.0))
    assert value(sensor, "estimate/cpu") == pytest.approx(2 * 10 + 3 * 4)
    monkeypatch.setattr(psutil, "cpu_times", times(90.0))
    assert value(sensor, "estimate/cpu") == pytest.approx(32.0)
    monkeypatch.delattr(psutil, "cpu_times")
    assert failure(sensor, "estimate/cpu").reason == "the system does not tell how busy its CPUs are"


def test_a_system_that_tells_no_load_is_not_guessed_and_one_that_does_not_count_its_cpus_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda **_: None)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    channel = named(find("estimate")[0], "estimate/cpu")
    assert (channel.device, channel.max_power_w) == ("some logical CPUs", 1000.0)
    assert "for each of the busy" in (channel.note or "")
    monkeypatch.delattr(psutil, "cpu_times")
    (untold,) = estimate.open_sensor().channels
    assert (untold.status, untold.reason) == ("unsupported", "the system does not tell how busy its CPUs are")
